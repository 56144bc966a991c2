package integration

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// burst has A make files, and append to one, for as long as it takes; it returns what B has
// to hear in the end and a function that waits for A.
func burst(t *testing.T, a *rig.Device, files int) (names []string, wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := a.TryShell("", `for i in $(seq "$1"); do echo $i > new$i; echo $i >> log; sleep 0.01; done`, fmt.Sprint(files))
		done <- err
	}()
	for i := range files {
		names = append(names, fmt.Sprint("new", i+1))
	}
	return names, func() {
		t.Helper()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// lines waits until a watcher has said so much.
func lines(t *testing.T, b *book, n int) {
	t.Helper()
	rig.Until(t, fmt.Sprint(n, " lines are heard"), func() error {
		if got := b.mark(); got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}

// after puts a word before each of the names.
func after(word string, names []string) (all []string) {
	for _, n := range names {
		all = append(all, word+n)
	}
	return all
}

// TestKilledInBurst: the guardian or the daemon of B is killed in the middle of many changes
// of A, while programs on B watch and read.
func TestKilledInBurst(t *testing.T) {
	need(t, "inotifywait", "tail")
	files := 200
	if rig.Small() {
		files = 100
	}
	// Programs see the mount all the while, and are told of every change.
	t.Run("guardian", func(t *testing.T) {
		t.Parallel()
		a, b := rig.Pair(t, nil)
		a.Shell(`echo begin > log`)
		sameTrees(t, a, b)
		inotify, notify := watchAll(t, b), notified(t, b, ".")
		listen(t, b, "sh", "-c", `while ls -l > /dev/null; do :; done`)
		names, wait := burst(t, a, files)
		for round := range 3 {
			lines(t, inotify, (round+1)*files/2)
			if err := syscall.Kill(guardianOf(t, b), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			back := strings.Count(b.Logged(0), "guardian died and was started again")
			rig.Until(t, "another guardian", func() error {
				if strings.Count(b.Logged(0), "guardian died and was started again") == back {
					return fmt.Errorf("the log does not say so")
				}
				return nil
			})
		}
		wait()
		inotify.heard(t, "inotifywait", 0, append(after("CREATE ", names), after("CLOSE_WRITE,CLOSE ", names)...)...)
		notify.heard(t, "fsnotify", 0, after("CREATE ", names)...)
		sameTrees(t, a, b)
		from := inotify.mark()
		a.Shell(`echo end >> log; rm new1; mv new2 moved`)
		inotify.heard(t, "inotifywait", from, "MODIFY log", "DELETE new1", "MOVED_FROM new2", "MOVED_TO moved")
		sameTrees(t, a, b)
	})
	// The mount is replaced. Who watched the old one is told that it ended, once no program
	// stands in it any more.
	t.Run("daemon", func(t *testing.T) {
		t.Parallel()
		a, b := rig.Pair(t, nil)
		a.Shell(`echo begin > log`)
		sameTrees(t, a, b)
		outside := *b
		outside.Point = rig.Scratch(t, "outside")
		watch := func() *book {
			w := listen(t, &outside, "inotifywait", "-m", "-e", "create,close_write,unmount", "--format", "%e %f", b.Point)
			w.heard(t, "inotifywait", 0, "Watches established.")
			return w
		}
		inotify := watch()
		inside := b.Command(context.Background(), "tail", "-f", "log")
		inside.Dir = b.Point
		if err := inside.Start(); err != nil {
			t.Fatal(err)
		}
		pid, files := b.PID(), 2*files
		names, wait := burst(t, a, files)
		lines(t, inotify, files/4)
		b.Kill(pid)
		pid = back(t, b, pid)
		again := watch()
		lines(t, again, files/8) // or it was over before the daemon died
		wait()
		sameTrees(t, a, b)
		if n := mountsOn(t, b.Point); n != 1 {
			t.Errorf("%d mounts on the mount point", n)
		}
		for _, name := range names {
			if _, err := os.Stat(b.Path(name)); err != nil {
				t.Error(err)
			}
		}
		// No program is stuck in what is gone.
		_ = inside.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- inside.Wait() }()
		select {
		case <-ended:
		case <-time.After(rig.Deadline()):
			t.Fatal("a program that stood in the old mount does not end")
		}
		inotify.heard(t, "inotifywait", 0, "UNMOUNT,ISDIR ")
		from := again.mark()
		a.Shell(`echo end > end`)
		again.heard(t, "inotifywait", from, "CREATE end", "CLOSE_WRITE,CLOSE end")
		if now := b.PID(); now != pid {
			t.Errorf("the daemon died again: %d, now %d", pid, now)
		}
	})
}

// mountsOn counts what is mounted on a directory.
func mountsOn(t *testing.T, point string) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 4 && f[4] == point {
			n++
		}
	}
	return n
}
