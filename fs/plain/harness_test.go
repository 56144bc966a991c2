package plain

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/crdttest"
)

// device is a home with a folder and a directory in step with it.
type device struct {
	t    testing.TB
	home *crdt.Home
	f    *crdt.Folder
	root string
	dir  *Dir
	sent crdttest.Sent

	clock func() time.Time // nil: time.Now
}

func newDevice(t testing.TB, name string) *device {
	t.Helper()
	h, err := crdt.Init(filepath.Join(t.TempDir(), name), crdt.Options{DeviceName: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &device{t: t, home: h, root: t.TempDir()}
}

// pair returns two devices with one folder, both attached.
func pair(t testing.TB) (a, b *device) {
	t.Helper()
	a, b = newDevice(t, "a"), newDevice(t, "b")
	var err error
	if a.f, err = a.home.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	b.f = crdttest.Share(t, a.f, b.home)
	a.send(b)
	a.attach()
	b.attach()
	return a, b
}

func (d *device) attach() {
	d.t.Helper()
	o := Options{clock: d.clock}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	var err error
	if d.dir, err = Attach(d.f, d.home, d.root, o); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(d.detach)
	d.flush()
}

func (d *device) detach() {
	d.t.Helper()
	if d.dir == nil {
		return
	}
	if err := d.dir.Close(context.Background()); err != nil {
		d.t.Error(err)
	}
	d.dir = nil
}

// send gives o what it lacks of d's entries, and objects.
func (d *device) send(o *device) {
	d.t.Helper()
	d.sent.Send(d.t, d.end(), o.end())
}

func (d *device) end() crdttest.End { return crdttest.End{Home: d.home, Folder: d.f} }

func (d *device) flush() {
	d.t.Helper()
	if err := d.dir.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) path(name string) string { return filepath.Join(d.root, name) }

func (d *device) write(name, text string) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.path(name), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) read(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		return "-"
	}
	return string(b)
}

// peek reads a file as sheaf does, so that nobody has read it.
func (d *device) peek(name string) string {
	f, err := openQuietly(d.path(name))
	if err != nil {
		return "-"
	}
	defer f.Close()
	var b strings.Builder
	_, _ = f.WriteTo(&b)
	return b.String()
}

func (d *device) run(script string) {
	d.t.Helper()
	c := exec.Command("sh", "-ec", script)
	c.Dir = d.root
	if out, err := c.CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// disk lists what is on the disk, with contents.
func (d *device) disk() string {
	var b strings.Builder
	_ = filepath.WalkDir(d.root, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(d.root, p)
		if err != nil || rel == "." {
			return nil
		}
		switch {
		case rel == Own, e.Name() == ".git":
			return fs.SkipDir
		case e.IsDir():
			fmt.Fprintf(&b, "%s/\n", rel)
		case e.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(p)
			fmt.Fprintf(&b, "%s -> %s\n", rel, target)
		default:
			fmt.Fprintf(&b, "%s %q\n", rel, d.peek(rel))
		}
		return nil
	})
	return b.String()
}

// shown lists what the folder shows, in the same way.
func (d *device) shown() string {
	var b strings.Builder
	var walk func(dir crdt.NodeID, at string)
	walk = func(dir crdt.NodeID, at string) {
		list, err := d.f.ReadDir(dir)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, i := range list {
			p := filepath.Join(at, i.Name)
			switch i.Kind {
			case crdt.Dir:
				fmt.Fprintf(&b, "%s/\n", p)
				walk(i.Node, p)
			case crdt.Symlink:
				fmt.Fprintf(&b, "%s -> %s\n", p, i.Target)
			default:
				c, err := d.f.ContentAt(i.Node, i.Version)
				if err != nil {
					d.t.Fatal(err)
				}
				if c.Object != nil {
					o, _ := os.ReadFile(d.home.Objects().Path(hash(c.Object)))
					c.Text = string(o)
				}
				fmt.Fprintf(&b, "%s %q\n", p, c.Text)
			}
		}
	}
	walk(crdt.Root, "")
	return b.String()
}

// meet brings folders and directories in step.
func meet(t testing.TB, a, b *device) {
	t.Helper()
	var last [4]string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		a.flush()
		b.flush()
		a.send(b)
		b.send(a)
		last = [4]string{a.disk(), a.shown(), b.shown(), b.disk()}
		if last[0] == last[1] && last[1] == last[2] && last[2] == last[3] {
			return
		}
	}
	t.Fatalf("never in step:\ndisk a\n%s\nfolder a\n%s\nfolder b\n%s\ndisk b\n%s", last[0], last[1], last[2], last[3])
}

func equal(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
