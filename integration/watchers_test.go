package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// book keeps the lines of what a watcher says, in order.
type book struct {
	mu    sync.Mutex
	lines []string
	part  string // of a line that is not whole yet
}

func (b *book) add(l string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, l)
}

// Write takes what a program prints.
func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.part += string(p)
	for {
		line, rest, whole := strings.Cut(b.part, "\n")
		if !whole {
			return len(p), nil
		}
		b.lines, b.part = append(b.lines, strings.Replace(line, " ./", " ", 1)), rest
	}
}

// since gives the lines after a mark.
func (b *book) since(from int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines[from:])
}

// mark is where the book ends now.
func (b *book) mark() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lines)
}

// heard waits until each of the lines was written after the mark.
func (b *book) heard(t *testing.T, who string, from int, want ...string) {
	t.Helper()
	rig.Until(t, who+" heard of it", func() error {
		got := strings.Join(b.since(from), "\n") + "\n"
		for _, w := range want {
			if !strings.Contains(got, w+"\n") {
				return fmt.Errorf("%s has not heard %q; it heard:\n%s", who, w, got)
			}
		}
		return nil
	})
}

// listen starts a program in the device's folder that says what it notices. It is ended
// with the test.
func listen(t *testing.T, d *rig.Device, argv ...string) *book {
	t.Helper()
	b := &book{}
	cmd := d.Command(context.Background(), argv...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.Point, b, b
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return b
}

// notified starts a watcher of directories of the device's folder that uses fsnotify. It is
// ended with the test.
func notified(t *testing.T, d *rig.Device, dirs ...string) *book {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if err := w.Add(d.Path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	b, ended := &book{}, make(chan struct{})
	go func() {
		defer close(ended)
		for e := range w.Events {
			for _, op := range []fsnotify.Op{fsnotify.Create, fsnotify.Write, fsnotify.Remove, fsnotify.Rename, fsnotify.Chmod} {
				if e.Has(op) {
					b.add(op.String() + " " + strings.TrimPrefix(e.Name, d.Point+"/"))
				}
			}
		}
	}()
	t.Cleanup(func() { w.Close(); <-ended })
	return b
}

// TestWatchers: programs on B that watch the folder hear of what is done on A, as if it
// had been done here.
func TestWatchers(t *testing.T) {
	need(t, "inotifywait")
	a, b := rig.Pair(t, nil)
	a.Shell(`mkdir dir; echo one > f.txt; echo one > dir/g.txt; echo '#!/bin/sh' > run; chmod 755 run; echo 1 > dir/unseen; echo 2 > dir/unseen2; mkdir dir/unseen3`)
	sameTrees(t, a, b)
	// From here on B's kernel knows nothing of what is in the directories.
	b.Sheaf("down")
	b.Sheaf("up")
	connected(t, b, 1)

	inotify := listen(t, b, "inotifywait", "--monitor", "--format", "%e %w%f", ".", "dir")
	inotify.heard(t, "inotifywait", 0, "Watches established.")
	notify := notified(t, b, ".", "dir")

	for _, step := range []struct {
		do                string
		inotify, fsnotify []string
	}{
		{`echo two >> f.txt`, []string{"MODIFY f.txt", "CLOSE_WRITE,CLOSE f.txt"}, []string{"WRITE f.txt"}},
		{`echo two >> dir/g.txt`, []string{"MODIFY dir/g.txt"}, []string{"WRITE dir/g.txt"}},
		{`echo new > new.txt`, []string{"CREATE new.txt", "CLOSE_WRITE,CLOSE new.txt"}, []string{"CREATE new.txt"}},
		{`head -c 100000 /dev/urandom > new.bin`, []string{"CREATE new.bin", "CLOSE_WRITE,CLOSE new.bin"}, []string{"CREATE new.bin"}},
		{`mkdir deep`, []string{"CREATE,ISDIR deep"}, []string{"CREATE deep"}},
		{`ln -s f.txt link`, []string{"CREATE link"}, []string{"CREATE link"}},
		{`echo 'exit 0' >> run`, []string{"MODIFY run"}, []string{"WRITE run"}},
		{`mv new.txt newer.txt`, []string{"MOVED_FROM new.txt", "MOVED_TO newer.txt"}, []string{"RENAME new.txt", "CREATE newer.txt"}},
		{`mv newer.txt dir/`, []string{"MOVED_FROM newer.txt", "MOVED_TO dir/newer.txt"}, []string{"RENAME newer.txt", "CREATE dir/newer.txt"}},
		{`rm dir/newer.txt link`, []string{"DELETE dir/newer.txt", "DELETE link"}, []string{"REMOVE dir/newer.txt", "REMOVE link"}},
		{`chmod 600 f.txt`, []string{"ATTRIB f.txt"}, []string{"CHMOD f.txt"}},
		{`mkdir box && mv f.txt box/`, []string{"CREATE,ISDIR box", "MOVED_FROM f.txt"}, []string{"CREATE box", "RENAME f.txt"}},
		{`mv box/f.txt .`, []string{"MOVED_TO f.txt"}, []string{"CREATE f.txt"}},
		{`mv box dir/`, []string{"MOVED_FROM,ISDIR box", "MOVED_TO,ISDIR dir/box"}, []string{"RENAME box", "CREATE dir/box"}},
		{`mkdir -p tree/a/b && echo x > tree/a/b/c`, []string{"CREATE,ISDIR tree"}, []string{"CREATE tree"}},
		{`rm dir/unseen`, []string{"DELETE dir/unseen"}, []string{"REMOVE dir/unseen"}},
		{`mv dir/unseen2 .`, []string{"MOVED_FROM dir/unseen2", "MOVED_TO unseen2"}, []string{"RENAME dir/unseen2", "CREATE unseen2"}},
		{`rmdir dir/unseen3`, []string{"DELETE,ISDIR dir/unseen3"}, []string{"REMOVE dir/unseen3"}},
		{`rmdir deep`, []string{"DELETE,ISDIR deep"}, []string{"REMOVE deep"}},
	} {
		t.Run(step.do, func(t *testing.T) {
			i, n := inotify.mark(), notify.mark()
			a.On(t).Shell(step.do)
			inotify.heard(t, "inotifywait", i, step.inotify...)
			notify.heard(t, "fsnotify", n, step.fsnotify...)
		})
		if rig.Small() && t.Failed() {
			return
		}
	}
	// What was heard is also so.
	sameTrees(t, a, b)
}
