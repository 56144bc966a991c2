package fs

import (
	"context"
	"errors"
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

// device is a home with a folder, mounted or not.
type device struct {
	t     testing.TB
	home  *crdt.Home
	f     *crdt.Folder
	s     *Server
	point string
	sent  crdttest.Sent
	watch func(point string) Watcher
}

func newDevice(t testing.TB, name string) *device {
	t.Helper()
	h, err := crdt.Init(filepath.Join(t.TempDir(), name), crdt.Options{DeviceName: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &device{t: t, home: h}
}

// mounted returns a device with a mounted folder.
func mounted(t testing.TB) *device {
	t.Helper()
	d := newDevice(t, "here")
	f, err := d.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	d.f = f
	d.mount()
	return d
}

// pair returns a mounted device and one without a mount that shares its folder.
func pair(t testing.TB) (here, far *device) {
	t.Helper()
	here, far = mounted(t), newDevice(t, "far")
	far.f = crdttest.Share(t, here.f, far.home)
	exchange(t, here, far)
	return here, far
}

func (d *device) mount() {
	d.t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		d.t.Skip("no /dev/fuse here")
	}
	d.point = d.t.TempDir()
	o := Options{Debug: os.Getenv("SHEAF_FS_DEBUG") != ""}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if d.watch != nil {
		o.Watcher = d.watch(d.point)
	}
	s, err := Mount(d.f, d.home, d.point, o)
	if errors.Is(err, ErrPermission) || errors.Is(err, ErrNoFUSE) {
		d.t.Skip(err)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.s = s
	d.t.Cleanup(d.unmount)
}

func (d *device) unmount() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if d.s == nil {
		return
	}
	if err := d.s.Unmount(ctx); err != nil {
		d.t.Error(err)
		exec.Command("umount", "-l", d.point).Run()
	}
	d.s = nil
}

// send gives o what it lacks of d's entries, and objects.
func (d *device) send(o *device) {
	d.t.Helper()
	d.sent.Send(d.t, d.end(), o.end())
}

func (d *device) end() crdttest.End { return crdttest.End{Home: d.home, Folder: d.f} }

func collect[A, B any](in []A, f func(A) B) (out []B) {
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}

func exchange(t testing.TB, a, b *device) {
	t.Helper()
	a.send(b)
	b.send(a)
	a.send(b)
}

func (d *device) path(name string) string { return filepath.Join(d.point, name) }

// write writes a file through the mount as a program would.
func (d *device) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) read(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// patient has what this device waits for before it tells the folder of a removal, a
// rename or a new file come in time, however slow the machine is: flush ends the wait.
func (d *device) patient() {
	fs := d.s.fs
	fs.mu.Lock()
	fs.dance = time.Minute
	fs.mu.Unlock()
	fs.ripeMu.Lock()
	fs.ripe = time.Minute
	fs.ripeMu.Unlock()
}

// entries counts what the folder consists of, with what is not sealed yet.
func (d *device) entries() int {
	d.t.Helper()
	list, err := d.f.Since(0, 1000)
	if err != nil {
		d.t.Fatal(err)
	}
	return len(list)
}

// flush publishes everything.
func (d *device) flush() {
	d.t.Helper()
	if err := d.s.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

// text is what the folder holds at a path, past the mount; "-" for nothing.
func (d *device) text(path string) string {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if errors.Is(err, crdt.ErrNotExist) {
		return "-"
	}
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := d.f.Content(info.Node)
	if err != nil {
		d.t.Fatal(err)
	}
	if c.Object != nil {
		b, err := os.ReadFile(d.home.Objects().Path([32]byte(c.Object.Hash)))
		if err != nil {
			d.t.Fatal(err)
		}
		return string(b)
	}
	return c.Text
}

// edit changes a file of a device without its mount, as its user does.
func (d *device) edit(path string, f func(string) string) {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := d.f.Content(info.Node)
	if err != nil {
		d.t.Fatal(err)
	}
	err = d.f.Update(func(tx *crdt.Tx) error {
		_, err := tx.Write(info.Node, c.Version, crdt.NewContent{Text: f(c.Text)})
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// names lists what the folder shows in its root.
func (d *device) names() string {
	d.t.Helper()
	list, err := d.f.ReadDir(crdt.Root)
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.Join(collect(list, func(i crdt.Info) string { return i.Name }), " ")
}

// command is a program that runs in the mount. It goes there itself, after it
// was executed: a child that is still part of this process, which serves the
// mount, must not wait for it.
func (d *device) command(name string, args ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", `cd "$0" && exec "$@"`, d.point, name}, args...)...)
}

// run runs a shell script in the mount.
func (d *device) run(script string) string {
	d.t.Helper()
	out, err := d.command("sh", "-c", script).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func equal(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		got, want = got[:min(len(got), 500)], want[:min(len(want), 500)]
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func prepend(s string) func(string) string { return func(t string) string { return s + t } }

func moveTo(node crdt.NodeID, name string) func(*crdt.Tx) error {
	return func(tx *crdt.Tx) error { return tx.Move(node, crdt.Root, name) }
}

func removeNode(node crdt.NodeID) func(*crdt.Tx) error {
	return func(tx *crdt.Tx) error { return tx.Remove(node) }
}
