package confine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	childEnv   = "SHEAF_TEST_CONFINED" // the directory of the test's files
	nothingEnv = "SHEAF_TEST_NOTHING"  // whether the process is left none of them
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		test := inside
		if os.Getenv(nothingEnv) != "" {
			test = leftNothing
		}
		if err := test(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attempts are what a confined process tries, and whether it may. landlock is the version
// of Landlock that it takes to refuse it; 0 where seccomp does.
func attempts(dir string) []attempt {
	open := func(path string, flags int) func() error {
		return func() error {
			f, err := os.OpenFile(path, flags, 0o600)
			if err == nil {
				f.Close()
			}
			return err
		}
	}
	return []attempt{
		{"read a file that was given", open(filepath.Join(dir, "given"), os.O_RDONLY), true, 0},
		{"read in a directory that was given", open(filepath.Join(dir, "lib/a.so"), os.O_RDONLY), true, 0},
		{"read another file", open(filepath.Join(dir, "secret"), os.O_RDONLY), false, 1},
		{"read a link to another file", open(filepath.Join(dir, "lib/link"), os.O_RDONLY), false, 1},
		{"list the directory above", func() error { _, err := os.ReadDir(dir); return err }, false, 1},
		{"read /etc/passwd", open("/etc/passwd", os.O_RDONLY), false, 1},
		{"write what was given", open(filepath.Join(dir, "given"), os.O_WRONLY), false, 0},
		{"make a file there", open(filepath.Join(dir, "lib/new"), os.O_WRONLY|os.O_CREATE), false, 0},
		{"make a file elsewhere", open(filepath.Join(os.TempDir(), "sheaf-confined"), os.O_WRONLY|os.O_CREATE), false, 0},
		{"truncate what was given", func() error { return os.Truncate(filepath.Join(dir, "given"), 0) }, false, 0},
		{"remove what was given", func() error { return os.Remove(filepath.Join(dir, "given")) }, false, 0},
		{"read another process' memory", open(fmt.Sprintf("/proc/%d/mem", os.Getppid()), os.O_RDONLY), false, 1},
		{"open a socket", func() error { _, err := net.Dial("udp", "127.0.0.1:9"); return err }, false, 0},
		{"run a program", func() error { return unix.Exec("/bin/false", nil, nil) }, false, 0},
		{"change the mode of what was given", func() error { return os.Chmod(filepath.Join(dir, "given"), 0o777) }, false, 0},
		{"rename what was given", func() error { return os.Rename(filepath.Join(dir, "given"), filepath.Join(dir, "x")) }, false, 0},
		{"make a directory", func() error { return os.Mkdir(filepath.Join(dir, "lib/d"), 0o700) }, false, 0},
		{"share memory", func() error { _, err := unix.SysvShmGet(7, 4096, unix.IPC_CREAT|0o600); return err }, false, 0},
		{"ask for a key", func() error { _, err := unix.RequestKey("user", "x", "", 0); return err }, false, 0},
		{"load a module", func() error { return unix.InitModule([]byte("no module"), "") }, false, 0},
		{"leave for another namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }, false, 0},
		{"signal another process", func() error { return syscall.Kill(os.Getppid(), syscall.SIGCONT) }, false, 6},
		{"look into another process", func() error {
			var b [1]byte
			local := []unix.Iovec{{Base: &b[0], Len: 1}}
			_, err := unix.ProcessVMReadv(os.Getppid(), local, []unix.RemoteIovec{{Base: 0, Len: 1}}, 0)
			return err
		}, false, 0},
	}
}

type attempt struct {
	what     string
	do       func() error
	may      bool
	landlock int
}

// inside is the confined process: it tries everything on threads that were there before
// and on those that came later, and says what is not as it should be.
func inside(dir string) error {
	n := 4
	start := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	wrong := map[string]bool{}
	try := func() {
		runtime.LockOSThread() // for good: the thread is this goroutine's
		for _, a := range attempts(dir) {
			err := a.do()
			refused := errors.Is(err, unix.EPERM) || a.landlock > 0 && errors.Is(err, unix.EACCES)
			if a.may && err != nil || !a.may && !refused && a.landlock <= landlockVersion() {
				mu.Lock()
				wrong[fmt.Sprintf("%s: %v", a.what, err)] = true
				mu.Unlock()
			}
		}
	}
	for range n {
		ready := make(chan struct{})
		wg.Go(func() {
			runtime.LockOSThread()
			close(ready)
			<-start
			try()
		})
		<-ready
	}
	if err := To(filepath.Join(dir, "given"), filepath.Join(dir, "lib"), filepath.Join(dir, "missing")); err != nil {
		return err
	}
	close(start)
	for range n {
		wg.Go(try)
	}
	wg.Wait()
	if len(wrong) == 0 {
		return nil
	}
	var list []string
	for w := range wrong {
		list = append(list, w)
	}
	slices.Sort(list)
	return errors.New(strings.Join(list, "\n"))
}

// leftNothing is a process that is left no file: system calls are refused, so that it needs no
// Landlock.
func leftNothing(dir string) error {
	if err := To(); err != nil {
		return err
	}
	if _, err := os.Open(filepath.Join(dir, "given")); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("open a file: %v", err)
	}
	return nil
}

func landlockVersion() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

func confined(t *testing.T, env ...string) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"given", "secret", "lib/a.so"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "lib/link")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, childEnv+"="+dir)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "given")); err != nil || string(b) != "given" {
		return fmt.Errorf("the file that was given: %q, %v", b, err)
	}
	return nil
}

func TestConfined(t *testing.T) {
	if landlockVersion() == 0 {
		t.Log("without Landlock: only system calls are refused")
	}
	if err := confined(t); err != nil {
		t.Error(err)
	}
	if err := confined(t, nothingEnv+"=1"); err != nil {
		t.Errorf("left nothing: %v", err)
	}
}
