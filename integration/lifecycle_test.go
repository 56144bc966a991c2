package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// guardianOf is the process id of a device's guardian.
func guardianOf(t *testing.T, d *rig.Device) int {
	t.Helper()
	for _, pid := range d.Processes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), "guardian") {
			return pid
		}
	}
	t.Fatalf("%s has no guardian", d.Name)
	return 0
}

// answersIn is how long a call on the mount may wait for a daemon that hangs.
const answersIn = 15 * time.Second

// calls makes a call that only the daemon can answer, and says how long it took.
func calls(t *testing.T, d *rig.Device) {
	t.Helper()
	cmd := d.Command(context.Background(), "touch", d.Path("called"))
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // at the latest when the daemon is ended
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("a call on the mount: %v", err)
		}
	case <-time.After(answersIn):
		t.Fatalf("a call on the mount did not return within %v", answersIn)
	}
	t.Logf("%s: a call returned after %v", d.Name, time.Since(start).Round(10*time.Millisecond))
}

// TestHungDaemon: a daemon that does not go on does not keep programs waiting for long, and
// one that stood still together with everything else is left alone.
func TestHungDaemon(t *testing.T) {
	rig.Seed(t)
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		a := rig.NewDevice(t, "a", nil)
		a.Init()
		a.Write("f.txt", "mine\n")
		pid := a.PID()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		calls(t, a)
		if now := a.PID(); now != pid {
			t.Errorf("a daemon that was only stopped was ended: process %d, now %d", pid, now)
		}
		rig.Sees(t, "f.txt", "mine\n", a)
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		a := rig.NewDevice(t, "a", nil).Faulty("daemon-hangs") // no heartbeat, and nothing to do
		a.Init()
		a.Write("f.txt", "mine\n")
		pid := a.PID()
		rig.Until(t, "the hung daemon is ended", func() error {
			if !isZombie(pid) {
				return fmt.Errorf("process %d runs", pid)
			}
			return nil
		})
		back(t, a, pid)
		calls(t, a)
		rig.Sees(t, "f.txt", "mine\n", a)
	})
	t.Run("everything stood still", func(t *testing.T) {
		t.Parallel()
		a := rig.NewDevice(t, "a", nil)
		a.Init()
		pid, guardian := a.PID(), guardianOf(t, a)
		// As a virtual machine or a container that is frozen for longer than a hang may last.
		for _, p := range []int{guardian, pid} {
			if err := syscall.Kill(p, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(7 * time.Second)
		for _, p := range []int{guardian, pid} {
			if err := syscall.Kill(p, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
		calls(t, a)
		if now := a.PID(); now != pid {
			t.Errorf("a daemon that stood still with its guardian was ended: process %d, now %d", pid, now)
		}
	})
	t.Run("guardian killed", func(t *testing.T) {
		t.Parallel()
		a := rig.NewDevice(t, "a", nil)
		a.Init()
		a.Write("f.txt", "mine\n")
		pid, guardian := a.PID(), guardianOf(t, a)
		if err := syscall.Kill(guardian, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		rig.Until(t, "another guardian", func() error {
			for _, p := range a.Processes() {
				b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p))
				if p != guardian && slices.Contains(strings.Split(string(b), "\x00"), "guardian") {
					return nil
				}
			}
			return fmt.Errorf("there is none")
		})
		// The new one does the old one's work.
		rig.Until(t, "the new guardian has taken over", func() error {
			if !strings.Contains(a.Logged(0), "guardian died and was started again") {
				return fmt.Errorf("the log does not say so")
			}
			return nil
		})
		a.Kill(pid)
		back(t, a, pid)
		rig.Sees(t, "f.txt", "mine\n", a)
	})
	t.Run("both killed", func(t *testing.T) {
		t.Parallel()
		a := rig.NewDevice(t, "a", nil)
		a.Init()
		a.Write("f.txt", "mine\n")
		pid := a.PID()
		a.KillAll()
		// Nobody is left to do anything; the first command sets it right.
		back(t, a, pid)
		rig.Sees(t, "f.txt", "mine\n", a)
	})
}

// isZombie tells whether a process has ended and waits for its parent to notice.
func isZombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(after, "Z")
}

// TestImport: a directory in use becomes a folder. What its rules keep here stays here and
// is said, and an import that does not come to its end leaves everything as it was.
func TestImport(t *testing.T) {
	rig.Seed(t)
	a := rig.NewDevice(t, "a", nil)
	a.Shell(`mkdir -p .git src/out node_modules/x; echo ref >.git/HEAD; echo '*.log
out/' >.sheafignore; echo '{}' >package.json; echo x >node_modules/x/i.js; echo mine >src/a.txt; echo log >src/a.log
		echo o >src/out/o; i=0; while [ $i -lt 300 ]; do echo "file $i" >src/f$i.txt; i=$((i+1)); done`)
	before := a.Shell(`find . -type f | sort | xargs sha256sum`)
	same := func(why string) {
		t.Helper()
		if now := a.Shell(`find . -type f | sort | xargs sha256sum`); now != before {
			t.Errorf("%s: the directory is not what it was:\n%s", why, now)
		}
	}

	// Killed in the middle, with the daemon: found by the next start.
	t.Cleanup(func() { rig.Detach(a.Point + ".other") })
	a.Sheaf("init", "--device", "a", a.Point+".other")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a.Shell(`head -c 300000000 /dev/zero >src/large.bin`) // takes a while to copy
	cmd := a.Command(ctx, os.Getenv("SHEAF_BIN"), "init", "--import", a.Point)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, "the import is under way", func() error {
		if n := folders(t, a); n != 2 {
			return fmt.Errorf("%d folders", n)
		}
		return nil
	})
	a.KillAll()
	_ = cmd.Wait()
	if n := folders(t, a); n != 1 {
		t.Errorf("%d folders after a killed import", n)
	}
	// Interrupted by Ctrl-C.
	cmd = a.Command(ctx, os.Getenv("SHEAF_BIN"), "init", "--import", a.Point)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, "the import is under way", func() error {
		if n := folders(t, a); n != 2 {
			return fmt.Errorf("%d folders", n)
		}
		return nil
	})
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("an interrupted import: %v", err)
	}
	rig.Until(t, "its folder is gone", func() error {
		if n := folders(t, a); n != 1 {
			return fmt.Errorf("%d folders", n)
		}
		return nil
	})
	a.Shell(`rm src/large.bin`)
	same("after two tries")

	// A database that a program has open would be torn.
	a.Shell(`printf 'SQLite format 3\000' >src/x.db; printf 'frames of it' >src/x.db-wal`)
	r := a.Try("init", "--import", a.Point)
	if r.Code != 9 || !strings.Contains(r.Stderr, a.Path("src/x.db")) || !strings.Contains(r.Stderr, "hint:") {
		t.Errorf("import of a database in use: %v", r)
	}
	a.Shell(`rm src/x.db src/x.db-wal`)
	same("after an import of a database in use")

	r = a.Try("init", "--import", a.Point)
	if r.Code != 0 {
		t.Fatal(r)
	}
	for _, kept := range []string{".git", "node_modules", "src/a.log", "src/out"} {
		if !strings.Contains(r.Stderr, "kept on this device, not shared: "+kept+"\n") {
			t.Errorf("it does not say that %s is kept here:\n%s", kept, r.Stderr)
		}
	}
	same("in the folder")
	b := rig.NewDevice(t, "b", nil)
	b.Join(a.Invite())
	rig.Sees(t, "src/a.txt", "mine\n", a, b)
	if out := b.Shell(`ls -A . src | grep -E 'git$|node_modules|a.log|out' || true`); out != "" {
		t.Errorf("shared although the rules keep it:\n%s", out)
	}
}

// folders counts the folders of a device.
func folders(t *testing.T, d *rig.Device) int {
	t.Helper()
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	return len(s.Folders)
}
