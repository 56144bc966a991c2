package crdt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/crdttest"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// device is a home that a test can close, copy and open again.
type device struct {
	t       testing.TB
	dir     string
	scratch string // where copies of the home go
	home    *crdt.Home
	f       *crdt.Folder
	sent    map[*device]uint64
	options crdt.Options
}

func newDevice(t testing.TB, name string) *device {
	t.Helper()
	scratch := memoryDir(t)
	d := &device{t: t, dir: filepath.Join(scratch, name), scratch: scratch, sent: map[*device]uint64{}}
	h, err := crdt.Init(d.dir, crdt.Options{DeviceName: name})
	if err != nil {
		t.Fatal(err)
	}
	d.home = h
	t.Cleanup(func() {
		if d.home != nil { // nil if opening it again failed
			d.home.Close()
		}
	})
	return d
}

// memoryDir is a directory for a test, in memory where the machine has such a
// place: what these tests are about is not the disk.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "sheaf-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// pair returns two devices that share a folder.
func pair(t testing.TB) (a, b *device) {
	t.Helper()
	a, b = newDevice(t, "anna"), newDevice(t, "bert")
	f, err := a.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	a.f = f
	a.invite(b)
	sync(t, a, b)
	return a, b
}

func (d *device) invite(o *device) {
	d.t.Helper()
	o.f = crdttest.Share(d.t, d.f, o.home)
}

// send gives o what it lacks of d's entries, and the objects.
func (d *device) send(o *device) {
	d.t.Helper()
	for {
		ls, err := d.f.Since(d.sent[o], 100)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(ls) == 0 {
			break
		}
		es := make([]*feed.Entry, len(ls))
		for i, l := range ls {
			es[i] = l.Entry
			d.sent[o] = l.Order
		}
		if _, err := o.f.Receive(es); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, w := range o.f.Wanted() {
		if !d.home.Objects().Has(blob.Hash(w.Hash)) {
			continue
		}
		r, err := d.home.Objects().Open(blob.Hash(w.Hash))
		if err != nil {
			d.t.Fatal(err)
		}
		if _, _, err := o.home.Objects().Put(r); err != nil {
			d.t.Fatal(err)
		}
		r.Close()
		o.f.ObjectArrived(w.Hash)
	}
}

func sync(t testing.TB, ds ...*device) {
	t.Helper()
	for range 2 {
		for _, a := range ds {
			for _, b := range ds {
				if a != b {
					a.send(b)
				}
			}
		}
	}
}

// reopen closes the home in order and opens it again.
func (d *device) reopen() {
	d.t.Helper()
	id := d.f.ID()
	if err := d.home.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.open(id)
}

func (d *device) open(id crdt.FolderID) {
	d.t.Helper()
	var err error
	if d.home, err = crdt.Open(d.dir, d.options); err != nil {
		d.t.Fatal(err)
	}
	if d.f, err = d.home.Folder(id); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) node(path string) crdt.Info {
	d.t.Helper()
	i, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return i
}

func (d *device) create(path, text string) crdt.NodeID {
	d.t.Helper()
	dir, name := filepath.Split(path)
	parent := d.node(dir)
	var n crdt.NodeID
	d.update(func(tx *crdt.Tx) (err error) {
		n, _, err = tx.Create(parent.Node, name, 0o644, crdt.NewContent{Text: text})
		return err
	})
	return n
}

func (d *device) update(fn func(*crdt.Tx) error) {
	d.t.Helper()
	if err := d.f.Update(fn); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) write(path string, base crdt.Version, text string) (v crdt.Version) {
	d.t.Helper()
	n := d.node(path)
	d.update(func(tx *crdt.Tx) (err error) {
		v, err = tx.Write(n.Node, base, crdt.NewContent{Text: text})
		return err
	})
	return v
}

func (d *device) read(path string) crdt.Content {
	d.t.Helper()
	c, err := d.f.Content(d.node(path).Node)
	if err != nil {
		d.t.Fatal(err)
	}
	if i := d.node(path); c.Object == nil && i.Size != int64(len(c.Text)) {
		d.t.Fatalf("%s: size %d, but %d bytes", path, i.Size, len(c.Text))
	}
	return c
}

// dump lists the whole tree with contents.
func (d *device) dump() string {
	var b strings.Builder
	var walk func(dir crdt.NodeID, path string)
	walk = func(dir crdt.NodeID, path string) {
		is, err := d.f.ReadDir(dir)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, i := range is {
			p := path + "/" + i.Name
			fmt.Fprintf(&b, "%s %v %o", p, i.Kind, i.Mode)
			switch {
			case i.Kind == crdt.Dir:
				b.WriteByte('\n')
				walk(i.Node, p)
				continue
			case i.Object != nil:
				fmt.Fprintf(&b, " object %s", i.Object.Hash)
			case i.Kind == crdt.File:
				c, err := d.f.ContentAt(i.Node, i.Version)
				if err != nil {
					d.t.Fatal(err)
				}
				fmt.Fprintf(&b, " %q", c.Text)
				if i.Size != int64(len(c.Text)) {
					d.t.Errorf("%s: size %d, but %d bytes", p, i.Size, len(c.Text))
				}
			}
			b.WriteByte('\n')
		}
	}
	walk(crdt.Root, "")
	return b.String()
}

func same(t testing.TB, ds ...*device) {
	t.Helper()
	for _, d := range ds[1:] {
		if a, b := ds[0].dump(), d.dump(); a != b {
			t.Fatalf("%s and %s differ:\n%s\n%s", ds[0].dir, d.dir, a, b)
		}
		if a, b := ds[0].digest(), d.digest(); a.Frontier == b.Frontier && a.Sum != b.Sum {
			t.Fatalf("%s and %s show the same and have different digests", ds[0].dir, d.dir)
		}
	}
}

func (d *device) digest() crdt.Digest {
	d.t.Helper()
	sum, err := d.f.Digest(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	return sum
}

func TestStaleSaveMerges(t *testing.T) {
	a, b := pair(t)
	a.create("plan.txt", "one\ntwo\nthree\n")
	sync(t, a, b)
	base := a.read("plan.txt").Version
	b.write("plan.txt", b.read("plan.txt").Version, "one\ntwo\nthree and more\n")
	sync(t, a, b)
	mine := a.write("plan.txt", base, "zero\none\ntwo\nthree\n")
	sync(t, a, b)
	same(t, a, b)
	if got, want := a.read("plan.txt").Text, "zero\none\ntwo\nthree and more\n"; got != want {
		t.Errorf("merged to %q, want %q", got, want)
	}
	// The saver's next base is its own save.
	a.write("plan.txt", mine, "zero\none\ntwo!\nthree\n")
	sync(t, a, b)
	same(t, a, b)
	if got, want := b.read("plan.txt").Text, "zero\none\ntwo!\nthree and more\n"; got != want {
		t.Errorf("merged to %q, want %q", got, want)
	}
}

func TestFirstSavesOfOneEmptyFileMerge(t *testing.T) {
	a, b := pair(t)
	a.create("list", "")
	sync(t, a, b)
	a.write("list", nil, "apples\n")
	b.write("list", nil, "pears\n")
	sync(t, a, b)
	same(t, a, b)
	for _, want := range []string{"apples\n", "pears\n"} {
		if got := a.read("list").Text; strings.Count(got, want) != 1 {
			t.Errorf("%q is not once in %q", want, got)
		}
	}
}

func TestAppendsFromBothStayTwo(t *testing.T) {
	a, b := pair(t)
	a.create("log", "start\n")
	sync(t, a, b)
	for _, d := range []*device{a, b} {
		n := d.node("log").Node
		d.update(func(tx *crdt.Tx) error { _, err := tx.Append(n, []byte("tick\n")); return err })
	}
	sync(t, a, b)
	same(t, a, b)
	if got := a.read("log").Text; got != "start\ntick\ntick\n" {
		t.Errorf("log is %q", got)
	}
}

func TestTextBecomesObjectAndBack(t *testing.T) {
	a, b := pair(t)
	a.create("x", "words\n")
	h, size, err := a.home.Objects().Put(strings.NewReader("\x00\x01bytes"))
	if err != nil {
		t.Fatal(err)
	}
	n := a.node("x")
	a.update(func(tx *crdt.Tx) error {
		_, err := tx.Write(n.Node, n.Version, crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(h), Size: size}})
		return err
	})
	// Without the bytes, b still shows what it can.
	ls, err := a.f.Since(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		if _, err := b.f.Receive([]*feed.Entry{l.Entry}); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.read("x").Text; got != "words\n" {
		t.Errorf("before the object came x is %q", got)
	}
	sync(t, a, b)
	same(t, a, b)
	if b.read("x").Object == nil {
		t.Error("the object is not shown after it came")
	}
	came := b.node("x").Mtime
	b.reopen()
	if again := b.node("x").Mtime; !again.Equal(came) {
		t.Errorf("opened again, x is of %v, and was of %v", again, came)
	}
	b.write("x", b.read("x").Version, "words again\n")
	sync(t, a, b)
	same(t, a, b)
	if got := a.read("x").Text; got != "words again\n" {
		t.Errorf("x is %q", got)
	}
	if log, err := a.f.Log(n.Node); err != nil || len(log) != 3 || log[1].Object == nil || log[2].Added != 6 {
		t.Errorf("log: %+v, %v", log, err)
	}
}

func TestNameTakenMeanwhile(t *testing.T) {
	a, b := pair(t)
	b.create("taken", "by bert\n")
	b.create("same", "both\n")
	b.send(a)
	beside := func(name, text string) {
		a.update(func(tx *crdt.Tx) error {
			_, _, err := tx.CreateBeside(crdt.Root, name, 0o644, crdt.NewContent{Text: text})
			return err
		})
	}
	beside("taken", "by anna\n")
	beside("same", "both\n")
	sync(t, a, b)
	same(t, a, b)
	d := a.dump()
	if strings.Count(d, "by anna") != 1 || strings.Count(d, "by bert") != 1 || strings.Count(d, "both") != 1 {
		t.Errorf("two files of one name, and one made twice, are shown as\n%s", d)
	}
}

func TestVersionsBesideAreResolved(t *testing.T) {
	a, b := pair(t)
	object := func(d *device, s string) *crdt.Object {
		h, size, err := d.home.Objects().Put(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		return &crdt.Object{Hash: crdt.Hash(h), Size: size}
	}
	first := object(a, "\x00first")
	var n crdt.NodeID
	a.update(func(tx *crdt.Tx) (err error) {
		n, _, err = tx.Create(crdt.Root, "pic.png", 0o644, crdt.NewContent{Object: first})
		return err
	})
	sync(t, a, b)
	base := a.node("pic.png").Version
	put := func(d *device, c crdt.NewContent) {
		d.update(func(tx *crdt.Tx) error { _, err := tx.Write(n, base, c); return err })
	}
	put(a, crdt.NewContent{Object: object(a, "\x00of anna")})
	put(b, crdt.NewContent{Text: "of bert\n"})
	sync(t, a, b)
	same(t, a, b)
	is, err := a.f.ReadDir(crdt.Root)
	if err != nil || len(is) != 2 {
		t.Fatalf("%d names, %v: two versions do not merge and both must be shown", len(is), err)
	}
	if s := a.f.Status(); len(s.Beside) != 1 {
		t.Errorf("status names %v", s.Beside)
	}
	beside := is[0]
	if !beside.Alt {
		beside = is[1]
	}
	kept := a.node("pic.png")
	a.update(func(tx *crdt.Tx) error { return tx.Resolve(n, beside.Version) })
	sync(t, a, b)
	same(t, a, b)
	is, err = b.f.ReadDir(crdt.Root)
	if err != nil || len(is) != 1 || is[0].Size != kept.Size {
		t.Errorf("after it was resolved: %+v, %v", is, err)
	}
	if err := a.f.Update(func(tx *crdt.Tx) error { return tx.Resolve(n, beside.Version) }); !errors.Is(err, crdt.ErrNotExist) {
		t.Errorf("resolved again: %v", err)
	}
}

func TestReopenShowsTheSame(t *testing.T) {
	a, b := pair(t)
	a.update(func(tx *crdt.Tx) error { _, err := tx.Mkdir(crdt.Root, "d", 0o750); return err })
	a.create("d/f", "eins\n")
	a.update(func(tx *crdt.Tx) error { _, err := tx.Symlink(crdt.Root, "l", "d/f"); return err })
	sync(t, a, b)
	b.write("d/f", b.read("d/f").Version, "eins\nzwei\n")
	sync(t, a, b)
	before := a.dump()
	a.reopen()
	b.reopen()
	if after := a.dump(); after != before {
		t.Fatalf("after opening again:\n%s\nbefore:\n%s", after, before)
	}
	same(t, a, b)
	a.write("d/f", a.read("d/f").Version, "eins\nzwei\ndrei\n")
	sync(t, a, b)
	same(t, a, b)
	fr, err := a.f.Frontier()
	if err != nil || len(fr) != 2 {
		t.Errorf("after an orderly close the feeds go on: %d feeds, %v", len(fr), err)
	}
}

func TestCopiedHomeLosesNothing(t *testing.T) {
	a, b := pair(t)
	a.create("f", "one\n")
	sync(t, a, b)
	id := a.f.ID()
	if err := a.home.Close(); err != nil {
		t.Fatal(err)
	}
	copyDir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copyDir, os.DirFS(a.dir)); err != nil {
		t.Fatal(err)
	}
	a.open(id)
	a.write("f", a.read("f").Version, "one\ntwo\n")
	sync(t, a, b)
	if err := a.home.Close(); err != nil {
		t.Fatal(err)
	}
	// The older copy comes back, and is edited before it meets anyone.
	os.Chmod(filepath.Join(copyDir, "key"), 0o600)
	a.dir = copyDir
	a.open(id)
	clear(a.sent)
	b.sent[a] = 0
	a.write("f", a.read("f").Version, "zero\none\n")
	sync(t, a, b)
	same(t, a, b)
	if got := b.read("f").Text; got != "zero\none\ntwo\n" {
		t.Errorf("f is %q", got)
	}
}

func TestReceiveRefuses(t *testing.T) {
	a, b := pair(t)
	stranger := newDevice(t, "eve")
	f, err := stranger.home.CreateFolder("other")
	if err != nil {
		t.Fatal(err)
	}
	stranger.f = f
	ls, err := f.Since(0, 10)
	if err != nil || len(ls) == 0 {
		t.Fatal(err)
	}
	if _, err := a.f.Receive([]*feed.Entry{ls[0].Entry}); !errors.Is(err, crdt.ErrEntry) {
		t.Errorf("an entry of another folder: %v", err)
	}
	a.create("one", "1")
	l1, _ := a.f.Since(0, 100)
	a.create("two", "2")
	l2, _ := a.f.Since(l1[len(l1)-1].Order, 100)
	a.create("three", "3")
	l3, _ := a.f.Since(l2[len(l2)-1].Order, 100)
	if _, err := b.f.Receive([]*feed.Entry{l3[0].Entry}); !errors.Is(err, crdt.ErrGap) {
		t.Errorf("an entry out of order: %v", err)
	}
	forged := *l2[0].Entry
	raw := append([]byte(nil), forged.Bytes()...)
	raw[len(raw)-1] ^= 1
	bad, err := feed.Decode(a.f.ID(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.f.Receive([]*feed.Entry{bad}); !errors.Is(err, crdt.ErrEntry) {
		t.Errorf("a forged entry: %v", err)
	}
	sync(t, a, b)
	same(t, a, b)
}

func TestTickets(t *testing.T) {
	a, _ := pair(t)
	c, d := newDevice(t, "cleo"), newDevice(t, "dora")
	secret, err := a.f.Invite()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.f.Redeem([32]byte{1}, c.home.Device(), "cleo"); !errors.Is(err, crdt.ErrTicketUnknown) {
		t.Errorf("an unknown ticket: %v", err)
	}
	g, err := a.f.Redeem(secret, c.home.Device(), "cleo")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.f.Redeem(secret, c.home.Device(), "cleo"); err != nil || again != g {
		t.Errorf("the same device again: %v", err)
	}
	if _, err := a.f.Redeem(secret, d.home.Device(), "dora"); !errors.Is(err, crdt.ErrTicketUsed) {
		t.Errorf("another device with a used ticket: %v", err)
	}
	if c.f, err = c.home.JoinFolder(g); err != nil {
		t.Fatal(err)
	}
	if _, err := c.f.Invite(); !errors.Is(err, crdt.ErrDenied) {
		t.Errorf("an invitation before the admission is here: %v", err)
	}
	mkdir := func(tx *crdt.Tx) error { _, err := tx.Mkdir(crdt.Root, "d", 0o755); return err }
	if err := c.f.Update(mkdir); !errors.Is(err, crdt.ErrDenied) {
		t.Errorf("a change before the admission is here: %v", err)
	}
	a.send(c)
	if err := c.f.Update(mkdir); err != nil {
		t.Error(err)
	}
	if !a.f.Admitted(c.home.Device()) || a.f.Admitted(d.home.Device()) {
		t.Error("membership is not what was redeemed")
	}
}

// Two machines of one name are told apart wherever people read who.
func TestDevicesOfOneName(t *testing.T) {
	a, b := newDevice(t, "debian"), newDevice(t, "debian")
	var err error
	if a.f, err = a.home.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	a.create("f", "one\n")
	if who := a.f.Status().Devices[0].Name; who != "debian" {
		t.Errorf("alone it is called %q", who)
	}
	a.invite(b)
	sync(t, a, b)
	revisions, err := b.f.History("f", 0)
	if err != nil {
		t.Fatal(err)
	}
	if want, got := "debian ("+a.home.Device().Short()+")", revisions[0].DeviceName; got != want {
		t.Errorf("the maker is called %q, want %q", got, want)
	}
	a.create("g", "of one\n")
	b.create("g", "of the other\n")
	sync(t, a, b)
	if _, err := a.f.Resolve("g (debian)"); err != nil {
		t.Errorf("a file beside another is called otherwise: %v", err)
	}
	for _, d := range b.f.Status().Devices {
		if want := "debian (" + d.Device.Short() + ")"; d.Name != want {
			t.Errorf("status calls a device %q, want %q", d.Name, want)
		}
	}
}
