package fs

import (
	"encoding/binary"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs/guardian"
)

// watch collects what inotify tells of a directory.
type watch struct {
	mu   sync.Mutex
	seen []string
}

var events = map[uint32]string{
	unix.IN_CREATE: "create", unix.IN_DELETE: "delete", unix.IN_MODIFY: "modify", unix.IN_CLOSE_WRITE: "close",
	unix.IN_MOVED_FROM: "from", unix.IN_MOVED_TO: "to",
}

func startWatch(t *testing.T, dir string) *watch {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Skip(err)
	}
	var mask uint32
	for m := range events {
		mask |= m
	}
	id, err := unix.InotifyAddWatch(fd, dir, mask)
	if err != nil {
		t.Fatal(err)
	}
	w, done := &watch{}, make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, err := unix.Read(fd, buf)
			if err != nil || n < unix.SizeofInotifyEvent {
				return
			}
			for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
				m, size := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
				name := strings.TrimRight(string(b[16:16+size]), "\x00")
				if m&unix.IN_IGNORED != 0 {
					return
				}
				w.mu.Lock()
				w.seen = append(w.seen, events[m&^unix.IN_ISDIR]+" "+name)
				w.mu.Unlock()
				b = b[16+size:]
			}
		}
	}()
	t.Cleanup(func() {
		unix.InotifyRmWatch(fd, uint32(id))
		<-done
		unix.Close(fd)
	})
	return w
}

func (w *watch) heard(event string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.seen {
		if e == event {
			return true
		}
	}
	return false
}

// TestWatchers: inotify tells of what another device did, and nothing of it
// comes back into the folder.
func TestWatchers(t *testing.T) {
	here, far := pair(t)
	here.unmount()
	g, err := guardian.Start(guardian.Options{Exe: os.Args[0], Args: []string{guardianArg}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	here.watch = func(point string) Watcher { return g.Mount(point) }
	here.mount()
	here.write("f", poem)
	here.flush()
	exchange(t, here, far)
	time.Sleep(holdSave)
	w := startWatch(t, here.point)

	here.arrives(far, prepend("far\n"))
	eventually(t, "the edit is heard", func() bool { return w.heard("modify f") && w.heard("close f") })
	equal(t, "and seen", here.read("f"), "far\n"+poem)

	var dir, file crdt.NodeID
	err = far.f.Update(func(tx *crdt.Tx) (err error) {
		if dir, err = tx.Mkdir(crdt.Root, "dir", 0o755); err != nil {
			return err
		}
		if _, err = tx.Symlink(crdt.Root, "link", "f"); err != nil {
			return err
		}
		file, _, err = tx.Create(crdt.Root, "new", 0o644, crdt.NewContent{Text: "new\n"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	far.send(here)
	eventually(t, "new names are heard", func() bool {
		return w.heard("create dir") && w.heard("create link") && w.heard("create new") && w.heard("close new")
	})
	equal(t, "ls", here.run("ls -F; cat new; readlink link"), "dir/\nf\nlink@\nnew\nnew\nf\n")

	if err := far.f.Update(func(tx *crdt.Tx) error { return tx.Move(file, crdt.Root, "newer") }); err != nil {
		t.Fatal(err)
	}
	far.send(here)
	eventually(t, "a rename is heard", func() bool { return w.heard("from new") && w.heard("to newer") })
	if err := far.f.Update(func(tx *crdt.Tx) error {
		if err := tx.Remove(file); err != nil {
			return err
		}
		return tx.Remove(dir)
	}); err != nil {
		t.Fatal(err)
	}
	far.send(here)
	eventually(t, "removals are heard", func() bool { return w.heard("delete newer") && w.heard("delete dir") })
	equal(t, "ls", here.run("ls -F"), "f\nlink@\n")

	here.flush()
	equal(t, "names", here.names(), "f link")
	equal(t, "text", here.text("f"), "far\n"+poem)
	if info, _ := here.f.Resolve("f"); here.f.Path(info.Node) != "f" || len(far.names()) == 0 {
		t.Error("the file is not where it was")
	}
	last := far.f.Last()
	exchange(t, here, far)
	if far.f.Last() != last {
		t.Error("pokes made entries")
	}
}
