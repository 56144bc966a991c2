package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// The scripts drive the program itself: real homes, real daemons, real mounts. They find
// it in PATH as sheaf.
//
// Each script has the homes $A and $B, the mount points $WORK/a and $WORK/b, and commands
// of its own, the cmd functions below.
func TestScripts(t *testing.T) {
	bin := binary(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(bin)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("A", filepath.Join(env.WorkDir, "homes", "a"))
			env.Setenv("B", filepath.Join(env.WorkDir, "homes", "b"))
			env.Setenv("SHEAF_LAN", "off")
			env.Setenv("SHEAF_SERVERS", "off")
			env.Setenv("HOME", env.WorkDir)
			if os.Geteuid() == 0 { // temporary directories are for their owner alone; so are we
				env.Setenv("USER", "root")
			}
			env.Defer(func() { clean(t, bin, env.WorkDir) })
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "fuse":
				f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
				if err == nil {
					f.Close()
				}
				return err == nil, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails":       cmdFails,
			"await":       cmdAwait,
			"gone":        cmdGone,
			"killdaemon":  cmdKillDaemon,
			"awaitstatus": cmdAwaitStatus,
			"server":      cmdServer,
		},
	})
}

// binary is the program under test, under the name sheaf: what make built, else built now.
func binary(t *testing.T) string {
	bin := filepath.Join(t.TempDir(), "sheaf")
	if built := os.Getenv("SHEAF_BIN"); built != "" {
		if err := os.Symlink(built, bin); err != nil {
			t.Fatal(err)
		}
		return bin
	}
	cmd := exec.Command("go", "build", "-o", bin, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// clean ends what a script started: the daemons of all homes below dir, and all mounts.
func clean(t *testing.T, bin, dir string) {
	homes := []string{}
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		if _, ok := mountinfo.At(path); ok {
			return filepath.SkipDir
		}
		if _, err := os.Lstat(filepath.Join(path, "key")); err == nil {
			homes = append(homes, path)
			return filepath.SkipDir
		}
		return nil
	})
	for _, home := range homes {
		if out, err := exec.Command(bin, "--home", home, "down").CombinedOutput(); err != nil {
			t.Logf("down %s: %v: %s", home, err, out)
		}
		if log, err := os.ReadFile(filepath.Join(home, "log")); err == nil && t.Failed() {
			t.Logf("log of %s:\n%s", home, log)
		}
	}
	for _, point := range []string{"a", "b"} {
		if err := mountinfo.Detach(filepath.Join(dir, point)); err != nil {
			t.Log(err)
		}
	}
}

// cmdFails is: fails CODE COMMAND ARGS... The command has to end with this exit code, and
// say something on stderr: one line, with or without a hint.
func cmdFails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		ts.Fatalf("%v succeeded, want exit code %d", args[1:], want)
	case !errors.As(err, &exit):
		ts.Fatalf("%v: %v", args[1:], err)
	case exit.ExitCode() != want:
		ts.Fatalf("%v: exit code %d, want %d", args[1:], exit.ExitCode(), want)
	}
	said := strings.Split(strings.TrimSuffix(ts.ReadFile("stderr"), "\n"), "\n")
	last := said[len(said)-1]
	if strings.HasPrefix(last, "hint: ") {
		last = said[max(0, len(said)-2)]
	}
	if !strings.HasPrefix(last, "sheaf: ") {
		ts.Fatalf("%v: stderr does not end with an error: %q", args[1:], said)
	}
}

const awaitWithin = 30 * time.Second

// cmdAwait is: await FILE PATTERN. It waits until the file's content matches.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await FILE PATTERN")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	var last []byte
	for end := time.Now().Add(awaitWithin); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		// Not our own descriptor: Go's poller and a FUSE mount do not go well together.
		last, err = exec.Command("cat", path).Output()
		if (err == nil && re.Match(last)) != neg {
			return
		}
	}
	ts.Fatalf("%s: no match for %q in %v: %q (%v)", args[0], args[1], awaitWithin, last, err)
}

// cmdAwaitStatus is: awaitstatus HOME PATTERN. It waits until sheaf status says it.
func cmdAwaitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: awaitstatus HOME PATTERN")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	for end := time.Now().Add(awaitWithin); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ts.Exec("sheaf", "--home", ts.MkAbs(args[0]), "status") == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("status does not match %q in %v: %s", args[1], awaitWithin, ts.ReadFile("stdout"))
}

// cmdGone is: gone PATH. It waits until a path is not there.
func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone PATH")
	}
	for end := time.Now().Add(awaitWithin); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Lstat(ts.MkAbs(args[0])); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	ts.Fatalf("%s is still there", args[0])
}

// cmdKillDaemon is: killdaemon HOME. It ends the home's daemon with SIGKILL; its guardian
// starts the next one. With ! the guardian is killed too.
func cmdKillDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] killdaemon HOME")
	}
	ts.Check(ts.Exec("sheaf", "--home", ts.MkAbs(args[0]), "status", "--json"))
	m := regexp.MustCompile(`"pid": (\d+)`).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("status names no daemon")
	}
	pid, err := strconv.Atoi(m[1])
	ts.Check(err)
	var guardians []int
	if neg {
		guardians = children(pid, "guardian")
		if len(guardians) != 1 {
			ts.Fatalf("daemon %d has guardians %v", pid, guardians)
		}
		// Stopped first, so that it cannot do its duty in between.
		ts.Check(syscall.Kill(guardians[0], syscall.SIGSTOP))
	}
	if !isSheaf(pid, "daemon") {
		ts.Fatalf("process %d is no daemon", pid)
	}
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	for _, g := range guardians {
		ts.Check(syscall.Kill(g, syscall.SIGKILL))
	}
	for isSheaf(pid, "daemon") { // a killed process takes a moment to let go of its socket
		time.Sleep(time.Millisecond)
	}
	if neg {
		mountinfo.Detach(ts.MkAbs("a"))
	}
}

// isSheaf reports whether a process is a sheaf of this part.
func isSheaf(pid int, part string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(line, []byte("\x00"+part+"\x00"))
}

// children lists the sheaf processes of this part whose parent is pid.
func children(pid int, part string) (pids []int) {
	procs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range procs {
		stat, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(pid) && isSheaf(child, part) {
			pids = append(pids, child)
		}
	}
	return pids
}
