package crdt_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// newcomer makes a folder with a past, and a device that was just let in and has nothing of it
// but its admission and what came with that.
func newcomer(t testing.TB) (old, fresh *device, entries []*feed.Entry) {
	t.Helper()
	t.Cleanup(crdt.SetMakeTexts(time.Hour)) // on a busy machine, too
	old, fresh = newDevice(t, "anna"), newDevice(t, "bert")
	f, err := old.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	old.f = f
	old.invite(fresh)
	old.update(func(tx *crdt.Tx) error {
		d, err := tx.Mkdir(crdt.Root, "many", 0o755)
		for i := range 2100 {
			if err == nil {
				_, _, err = tx.Create(d, fmt.Sprintf("f%d", i), 0o644, crdt.NewContent{Text: fmt.Sprintf("text %d\n", i)})
			}
		}
		return err
	})
	old.create("big", strings.Repeat("a line of a text that is too large to go along\n", 3000))
	n := old.create("edited", "one\ntwo\n")
	old.write("edited", old.node("edited").Version, "one\ntwo\nthree\n")
	old.update(func(tx *crdt.Tx) error {
		return errors.Join(tx.SetMode(n, 0o600), tx.SetMtime(n, time.Unix(77, 0)))
	})
	old.update(func(tx *crdt.Tx) error { _, err := tx.Symlink(crdt.Root, "link", "many/f1"); return err })
	gone := old.create("gone", "x\n")
	old.update(func(tx *crdt.Tx) error { return tx.Remove(gone) })
	if _, err := old.f.Frontier(); err != nil {
		t.Fatal(err)
	}
	ls, err := old.f.Since(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		entries = append(entries, l.Entry)
	}
	return old, fresh, entries
}

// checkpoint has a device make one for another one, and that one show it.
func (d *device) checkpoint(o *device) {
	d.t.Helper()
	header, body, err := d.f.MakeCheckpoint(context.Background())
	if err != nil || header == nil {
		d.t.Fatal("no checkpoint", err)
	}
	c, err := o.f.ParseCheckpoint(header, d.home.Device())
	if err != nil {
		d.t.Fatal(err)
	}
	if err := o.f.ShowFirst(c, body); err != nil {
		d.t.Fatal(err)
	}
}

// receive gives a device some entries.
func (d *device) receive(es []*feed.Entry) {
	d.t.Helper()
	if _, err := d.f.Receive(es); err != nil {
		d.t.Fatal(err)
	}
}

// settled waits until a first view has ended.
func (d *device) settled() {
	d.t.Helper()
	for range 3000 {
		if !d.f.Unconfirmed() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Fatal("the first view does not end")
}

func TestFirstView(t *testing.T) {
	old, fresh, entries := newcomer(t)
	fr, err := old.f.Frontier()
	if err != nil {
		t.Fatal(err)
	}
	if !fresh.f.WantsCheckpoint(fr) {
		t.Fatal("a newcomer wants no checkpoint")
	}
	view := listen(t, fresh.f)
	old.checkpoint(fresh)
	if v := fresh.f.FirstView(); v == nil || v.Maker != old.home.Device() || v.Entries == 0 || fresh.f.Status().First == nil {
		t.Fatalf("first view: %+v", v)
	}

	// All names are there at once, and what is small can be read.
	if is, err := fresh.f.ReadDir(fresh.node("many").Node); err != nil || len(is) != 2100 {
		t.Fatalf("%d names, %v", len(is), err)
	}
	if c := fresh.read("many/f7"); c.Text != "text 7\n" {
		t.Errorf("reads %q", c.Text)
	}
	for _, path := range []string{"edited", "link", "big"} {
		was, is := old.node(path), fresh.node(path)
		if was.Node != is.Node || was.Mode != is.Mode || was.Size != is.Size || was.Target != is.Target || !was.Version.Equal(is.Version) {
			t.Errorf("%s is shown as %+v, not %+v", path, is, was)
		}
	}
	if !fresh.node("edited").Mtime.Equal(time.Unix(77, 0)) {
		t.Errorf("a time that was set is %v", fresh.node("edited").Mtime)
	}
	edited := fresh.node("edited").Node
	if _, err := fresh.f.TextHistory(edited); !errors.Is(err, crdt.ErrComing) {
		t.Errorf("a history that has not come: %v", err)
	}
	if _, _, err := fresh.f.Blame(edited); !errors.Is(err, crdt.ErrComing) {
		t.Errorf("who wrote what has not come: %v", err)
	}
	if _, err := fresh.f.Annotate(edited); !errors.Is(err, crdt.ErrComing) {
		t.Errorf("who wrote its lines: %v", err)
	}
	if _, err := fresh.f.Content(fresh.node("big").Node); !errors.Is(err, crdt.ErrComing) {
		t.Errorf("reading what has not come: %v", err)
	}
	err = fresh.f.Update(func(tx *crdt.Tx) error { _, err := tx.Mkdir(crdt.Root, "d", 0o755); return err })
	if !errors.Is(err, crdt.ErrReadOnly) && !errors.Is(err, crdt.ErrDenied) {
		t.Errorf("a change: %v", err)
	}

	half := len(entries) / 2
	fresh.receive(entries[:half])
	err = fresh.f.Update(func(tx *crdt.Tx) error { _, err := tx.Mkdir(crdt.Root, "d", 0o755); return err })
	if !errors.Is(err, crdt.ErrReadOnly) {
		t.Errorf("a change: %v", err)
	}
	before := fresh.node("many/f7")
	fresh.receive(entries[half:])
	fresh.settled()
	if after := fresh.node("many/f7"); !after.Mtime.Equal(before.Mtime) || !after.Version.Equal(before.Version) {
		t.Errorf("before %+v, confirmed %+v", before, after)
	}
	same(t, old, fresh)
	if err := view.check(); err != nil {
		t.Error(err)
	}
	if notes := fresh.f.Status().Notes; len(notes) > 0 {
		t.Errorf("notes %v", notes)
	}
	fresh.update(func(tx *crdt.Tx) error { _, err := tx.Mkdir(crdt.Root, "d", 0o755); return err })
	if fresh.f.WantsCheckpoint(fr) {
		t.Error("a device that has everything wants a checkpoint")
	}
}

// Entries that the checkpoint does not know do not make it false.
func TestFirstViewAmongOthers(t *testing.T) {
	old, fresh, entries := newcomer(t)
	old.checkpoint(fresh)
	fresh.receive(entries[:len(entries)-1])
	// The last one, and in the same go one that is later than the checkpoint.
	old.create("later", "later\n")
	if _, err := old.f.Frontier(); err != nil {
		t.Fatal(err)
	}
	ls, err := old.f.Since(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var rest []*feed.Entry
	for _, l := range ls[len(entries)-1:] {
		rest = append(rest, l.Entry)
	}
	fresh.receive(rest)
	fresh.settled()
	same(t, old, fresh)
	if notes := fresh.f.Status().Notes; len(notes) > 0 {
		t.Errorf("notes %v", notes)
	}
}

// A view that names entries which nobody has is given up, however much else comes.
func TestFirstViewWaitsForWhatItNames(t *testing.T) {
	defer crdt.SetStalled(200 * time.Millisecond)()
	old, fresh, _ := newcomer(t)
	third := newDevice(t, "carl")
	old.invite(third)
	old.seal()
	old.send(third)
	third.create("of-carl", "x\n")
	third.send(fresh)
	old.create("kept-back", "x\n")
	old.checkpoint(fresh)
	for i := range 3000 {
		third.create(fmt.Sprintf("more-%d", i), "x\n")
		third.send(fresh)
		if !fresh.f.Unconfirmed() {
			if notes := fresh.f.Status().Notes; len(notes) != 1 || notes[0].Kind != "checkpoint" {
				t.Errorf("notes %v", notes)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the view does not end")
}

func TestFalseCheckpoints(t *testing.T) {
	old, fresh, entries := newcomer(t)
	other, _, _ := newcomer(t)
	header, body, err := old.f.MakeCheckpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.f.ParseCheckpoint(header, other.home.Device()); !errors.Is(err, crdt.ErrCheckpoint) {
		t.Errorf("made by somebody else: %v", err)
	}
	foreign, _, err := other.f.MakeCheckpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.f.ParseCheckpoint(foreign, other.home.Device()); !errors.Is(err, crdt.ErrCheckpoint) {
		t.Errorf("of another folder: %v", err)
	}
	for i := range header {
		bent := append([]byte(nil), header...)
		bent[i] ^= 1
		if _, err := fresh.f.ParseCheckpoint(bent, old.home.Device()); err == nil {
			t.Fatalf("byte %d of the header may be another", i)
		}
	}
	c, err := fresh.f.ParseCheckpoint(header, old.home.Device())
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.f.ShowFirst(c, append([]byte{0}, body[1:]...)); !errors.Is(err, crdt.ErrCheckpoint) {
		t.Errorf("another body: %v", err)
	}
	fr, err := old.f.Frontier()
	if err != nil {
		t.Fatal(err)
	}
	if fresh.f.WantsCheckpoint(fr) {
		t.Error("after a false one another one is asked for")
	}
	fresh.receive(entries)
	same(t, old, fresh)

	// Nothing is done for who has gone.
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	small, _ := pair(t)
	if _, _, err := small.f.MakeCheckpoint(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("made for nobody: %v", err)
	}

	// One that carries more text than anybody sends.
	header, body = crdt.FalseCheckpoint(t, old.f, func(l *crdt.Lie) { l.Text("many/f7", strings.Repeat("text 7\n", 10000)) })
	if c, err = fresh.f.ParseCheckpoint(header, old.home.Device()); err != nil {
		t.Fatal(err)
	}
	if err := fresh.f.ShowFirst(c, body); !errors.Is(err, crdt.ErrCheckpoint) {
		t.Errorf("a text that is too large to go along: %v", err)
	}

	// One that is well made and not true.
	for what, lie := range map[string]func(*crdt.Lie){
		"a tree": func(l *crdt.Lie) { l.Rename("edited", "editor") },
		"a text": func(l *crdt.Lie) { l.Text("many/f7", "text 8\n") },
		"a size": func(l *crdt.Lie) { l.Size("big", 1) },
	} {
		t.Run(what, func(t *testing.T) {
			old, fresh, entries := newcomer(t)
			header, body := crdt.FalseCheckpoint(t, old.f, lie)
			c, err := fresh.f.ParseCheckpoint(header, old.home.Device())
			if err != nil {
				t.Fatal(err)
			}
			view := listen(t, fresh.f)
			if err := fresh.f.ShowFirst(c, body); err != nil || !fresh.f.Unconfirmed() {
				t.Fatal("it is not shown", err)
			}
			fresh.receive(entries)
			fresh.settled()
			same(t, old, fresh)
			if err := view.check(); err != nil {
				t.Error(err)
			}
			notes := fresh.f.Status().Notes
			if len(notes) != 1 || notes[0].Kind != "checkpoint" || !strings.Contains(notes[0].Text, "anna") {
				t.Errorf("its maker is not named: %v", notes)
			}
		})
	}
}

// What was killed in the middle goes on without the view, and may ask for another one.
func TestFirstViewEndsWithTheProcess(t *testing.T) {
	old, fresh, entries := newcomer(t)
	old.checkpoint(fresh)
	fresh.receive(entries[:2])
	fresh.reopen()
	if fresh.f.Unconfirmed() {
		t.Error("the view outlives the process")
	}
	old.checkpoint(fresh)
	if !fresh.f.Unconfirmed() {
		t.Error("no view is shown a second time")
	}
	fresh.f.NoFirst()
	if fresh.f.Unconfirmed() {
		t.Error("a view is shown although none is wanted")
	}
	fresh.receive(entries[2:])
	same(t, old, fresh)
}

// listen is newView for a test of its own.
func listen(t testing.TB, f *crdt.Folder) *view {
	t.Helper()
	v, err := newView(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.cancel)
	return v
}

func FuzzCheckpoint(f *testing.F) {
	old, _, _ := newcomer(f)
	f.Add(crdt.Plain(f, old.f))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = crdt.OpenPlain(b) // it does not panic, and ends
	})
}
