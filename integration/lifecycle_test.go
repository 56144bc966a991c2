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
	ctx, cancel := context.WithTimeout(context.Background(), answersIn)
	defer cancel()
	start := time.Now()
	if out, err := d.Command(ctx, "touch", d.Path("called")).CombinedOutput(); err != nil {
		t.Fatalf("a call on the mount did not return well within %v: %v: %s", answersIn, err, out)
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
		a := rig.NewDevice(t, "a", nil)
		a.Init()
		a.Write("f.txt", "mine\n")
		pid := a.PID()
		// Continued, it is stopped again: it never gets far enough to say that it lives.
		until := time.Now().Add(rig.Deadline())
		for syscall.Kill(pid, syscall.SIGSTOP) == nil && time.Now().Before(until) && !isZombie(pid) {
			time.Sleep(time.Millisecond)
		}
		if time.Now().After(until) {
			_ = syscall.Kill(pid, syscall.SIGCONT)
			t.Fatalf("a daemon that hangs was left alone for %v", rig.Deadline())
		}
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
