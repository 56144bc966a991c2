package rig

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	stageEnv = "SHEAF_RIG_STAGE" // which of Main's processes this is
	dirEnv   = "SHEAF_RIG_DIR"   // scratch directory, removed by the first process
	binEnv   = "SHEAF_BIN"
	faultEnv = "SHEAF_FAULT_BIN" // the same program, built with fault injection
)

// A Role is another program that the test program can be: it is run with the
// arguments that followed the role's name.
type Role func(args []string) int

// roleEnv names the role of a process started by StartRole.
const roleEnv = "SHEAF_RIG_ROLE"

// Main runs the tests of m and exits. It needs root, or user namespaces.
//
// Three processes take part. The first builds the binaries, makes the scratch
// directory and starts the second in new namespaces; the second is process 1 there
// and only reaps; the third is the tests. When the first dies, so does everything.
func Main(m *testing.M, roles map[string]Role) {
	if role := roles[os.Getenv(roleEnv)]; role != nil {
		os.Exit(role(os.Args[1:]))
	}
	flag.Parse()
	switch os.Getenv(stageEnv) {
	case "init":
		os.Exit(reap())
	case "tests":
		code := m.Run()
		if n := skipped.Load(); n > 0 {
			fmt.Fprintf(os.Stderr, "rig: %d skipped\n", n)
			if code == 0 && os.Getenv("CI") != "" {
				code = 1
			}
		}
		os.Exit(code)
	}
	code, err := enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
	}
	os.Exit(code)
}

// enter builds what is needed and runs this program again in its namespaces.
func enter() (int, error) {
	dir, err := os.MkdirTemp("", "rig")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir) // everything that was mounted in it is gone with the namespace
	env := append(os.Environ(), stageEnv+"=init", dirEnv+"="+dir)
	for _, b := range []struct{ env, tags string }{{binEnv, ""}, {faultEnv, "sheaffault"}} {
		if os.Getenv(b.env) != "" {
			continue
		}
		bin := filepath.Join(dir, "bin"+b.tags, "sheaf")
		if err := build(bin, b.tags); err != nil {
			return 1, err
		}
		env = append(env, b.env+"="+bin)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:    syscall.SIGKILL,
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Unshareflags: syscall.CLONE_NEWNS, // Go makes the mounts private with it
	}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		cmd.SysProcAttr.Unshareflags = 0
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	// The parent-death signal is tied to the thread that starts the child.
	done := make(chan error)
	go func() {
		lockThread()
		done <- cmd.Run()
	}()
	return exitCode(<-done)
}

// build compiles the sheaf command, and what stands beside it, from the module of the working
// directory.
func build(bin, tags string) error {
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-tags", tags, "-o", filepath.Dir(bin)+"/", "github.com/sheaf-fs/sheaf/cmd/...")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build sheaf: %w\n%s", err, out)
	}
	return nil
}

// reap is process 1 of the namespace: it prepares it, starts the tests and reaps
// what they leave.
func reap() int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "rig: prepare namespaces:", err)
		return 1
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), stageEnv+"=tests")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		return 1
	}
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 1
		}
		if pid == cmd.Process.Pid {
			if st.Signaled() {
				fmt.Fprintln(os.Stderr, "rig: tests ended by", st.Signal())
				return 1
			}
			return st.ExitStatus()
		}
	}
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return run("ip", "link", "set", "lo", "up")
}

func run(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.Exited() {
		return e.ExitCode(), nil
	}
	return 1, err
}
