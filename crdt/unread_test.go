package crdt_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// newer has a device run the sheaf after this one from now on.
func (d *device) newer() {
	d.t.Helper()
	d.options = d.options.Newer()
	d.reopen()
}

// waits holds how many changes of whom wait for a newer sheaf on a device.
func (d *device) waits(name string, entries int) {
	d.t.Helper()
	got := d.f.Status().Unread
	if entries == 0 && len(got) == 0 {
		return
	}
	if len(got) != 1 || got[0].Name != name || got[0].Entries != entries || got[0].Since.IsZero() {
		d.t.Fatalf("what waits for a newer sheaf is %+v, and should be %d of %q", got, entries, name)
	}
}

func (d *device) chmod(path string, mode uint32) {
	d.t.Helper()
	n := d.node(path).Node
	d.update(func(tx *crdt.Tx) error { return tx.SetMode(n, mode) })
}

// A device with a newer sheaf goes on as it pleases. One with an older sheaf beside it shows what it
// can read, and of the rest what was there before; it says so, passes all of it on, goes on working
// in every file, and has everything once its sheaf is as new.
func TestNewerSheaf(t *testing.T) {
	a, b := pair(t)
	c := newDevice(t, "cleo")
	a.invite(c)
	a.create("/merged", "one\ntwo\nthree\nfour\n")
	a.create("/other", "other\n")
	a.create("/modes", "m\n")
	sync(t, a, b, c)
	b.newer()

	// Two saves that merge, and one on what they merge to, which takes rules 2, as modes do.
	base := a.node("/merged").Version
	a.write("/merged", base, "one, by anna\ntwo\nthree\nfour\n")
	b.write("/merged", base, "one\ntwo\nthree\nfour, by bert\n")
	sync(t, a, b, c)
	before := "one, by anna\ntwo\nthree\nfour, by bert\n"
	merged := b.write("/merged", b.node("/merged").Version, "one, by anna\nTWO\nthree\nfour, by bert\n")
	b.seal()
	b.chmod("/modes", 0o600)
	b.seal()
	// What rules 1 can say arrives, unless it builds on that.
	b.write("/merged", merged, "one, by anna\nTWO\nthree\nfour, by bert\nfive\n")
	b.write("/other", b.node("/other").Version, "other, by bert\n")
	b.create("/new", "new\n")
	sync(t, a, b)

	// Cleo gets it from anna, who cannot read it herself.
	a.send(c)
	for _, d := range []*device{a, c} {
		d.waits("bert", 2)
		if got := d.read("/merged").Text; got != before {
			t.Fatalf("%s shows %q", d.dir, got)
		}
		if got := d.node("/modes").Mode; got != 0o644 {
			t.Errorf("the mode is %o", got)
		}
		if got := d.read("/other").Text + d.read("/new").Text; got != "other, by bert\nnew\n" {
			t.Errorf("of what it can read it shows %q", got)
		}
		d.reopen()
		d.waits("bert", 2)
		if got := d.read("/merged").Text; got != before {
			t.Errorf("opened again it shows %q", got)
		}
	}
	if x, y := a.digest(), c.digest(); x != y {
		t.Errorf("two that read the same have the digests %+v and %+v", x, y)
	}
	if x, y := a.digest(), b.digest(); x.Frontier == y.Frontier {
		t.Errorf("they have read different things, and compare digests")
	}
	held, _, err := a.f.Held()
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := b.f.Held()
	if err != nil || held.Hash() != theirs.Hash() {
		t.Errorf("they hold the same and say otherwise, %v", err)
	}

	// The person at the old device goes on, in the file that waits too.
	a.write("/merged", a.node("/merged").Version, strings.Replace(before, "three", "three, by anna", 1))
	a.write("/other", a.node("/other").Version, "other, by bert and anna\n")
	a.remove("/new")
	sync(t, a, b)
	want := "one, by anna\nTWO\nthree, by anna\nfour, by bert\nfive\n"
	if got := b.read("/merged").Text; got != want {
		t.Fatalf("the new one shows %q", got)
	}

	shown := b.node("/modes").Mtime
	for _, d := range []*device{a, c} {
		was := d.node("/modes").Mtime
		d.newer()
		sync(t, a, b, c)
		d.waits("", 0)
		if got := d.node("/modes").Mtime; !got.Equal(was) {
			t.Errorf("a mode moved the time of content from %v to %v", was, got)
		}
	}
	if got := b.node("/modes").Mtime; !got.Equal(shown) {
		t.Errorf("nothing changed, and a time moved from %v to %v", shown, got)
	}
	same(t, a, b, c)
	if got := a.read("/merged").Text; got != want {
		t.Fatalf("updated, it shows %q", got)
	}
	for _, d := range []*device{a, c} {
		if d.digest() != b.digest() {
			t.Error("updated, they have different digests")
		}
		// What was done at once has another order on each.
		if got, want := sortedSteps(d.history("/merged")), sortedSteps(b.history("/merged")); got != want {
			t.Errorf("updated, the history is\n%s\nand should be\n%s", got, want)
		}
		before := d.dump()
		if d.reopen(); d.dump() != before {
			t.Errorf("opened again it shows\n%s\nand before\n%s", d.dump(), before)
		}
		if bad := d.damaged(); len(bad) > 0 {
			t.Errorf("updated, it is damaged: %+v", bad)
		}
	}
}

func sortedSteps(history string) string {
	steps := strings.Split(history, "; ")
	slices.Sort(steps)
	return strings.Join(steps, "\n")
}

// Nothing that a sheaf can make of a numbered payload breaks an older one, or two of the newer kind.
func TestUnreadable(t *testing.T) {
	a, b := pair(t)
	c := newDevice(t, "cleo")
	a.invite(c)
	sync(t, a, b, c)
	c.newer()
	s := a.stranger("stranger")
	sync(t, a, b, c)
	refused := []*feed.Entry{}
	for i, p := range []struct {
		payload []byte
		waits   bool
	}{
		{crdt.Numbered(2), true},
		{crdt.Numbered(2, "what is this"), true},
		{crdt.Numbered(2, map[int]any{1: map[int]any{0: 99}}), true},
		{crdt.Numbered(3, map[string]any{"a": []any{1, 2.5}}), true},
		{crdt.Numbered(1 << 63), true},
		{append(crdt.Numbered(2), "\xff\xff\xff"...), true},
		{crdt.Numbered(1), false},
		{crdt.Numbered(0, 1), false},
		{[]byte{0x81}, false},
		{[]byte{0x82, 0x1a, 0xff}, false},
		{[]byte{0x9f, 2, 0xff}, false},
	} {
		seq, was := s.seq, s.was
		e := s.entry(p.payload)
		for _, d := range []*device{a, b, c} {
			_, err := d.f.Receive([]*feed.Entry{e})
			if p.waits && err != nil || !p.waits && !errors.Is(err, crdt.ErrEntry) {
				t.Fatalf("payload %d, %x: %v", i, p.payload, err)
			}
		}
		if !p.waits {
			refused = append(refused, e)
			s.seq, s.was = seq, was
		}
	}
	if len(refused) != 5 {
		t.Fatalf("%d were refused", len(refused))
	}
	a.waits("stranger", 6)
	c.waits("stranger", 2) // rules 3, and 1 << 63
	a.create("/x", "x\n")
	sync(t, a, b, c)
	same(t, a, b, c)
	a.newer()
	a.waits("stranger", 2)
	same(t, a, b, c)
	if a.digest() != c.digest() || a.digest().Sum != b.digest().Sum {
		t.Error("digests differ")
	}
}

// A newcomer is shown no checkpoint of a device that reads other things than it does: what it made of
// the entries itself would call it false.
func TestNewerCheckpoint(t *testing.T) {
	t.Cleanup(crdt.SetWorth(0))
	a, b := pair(t)
	a.create("/f", "f\n")
	sync(t, a, b)
	b.newer()
	b.chmod("/f", 0o600)
	sync(t, a, b)
	for _, d := range []*device{a, b} {
		header, body, err := d.f.MakeCheckpoint(t.Context())
		if err != nil || header == nil {
			t.Fatalf("no checkpoint, %v", err)
		}
		for _, newer := range []bool{false, true} {
			n := newDevice(t, "newcomer")
			d.invite(n)
			if newer {
				n.newer()
			}
			c, err := n.f.ParseCheckpoint(header, d.home.Device())
			if d.home.IsNewer() != newer {
				if !errors.Is(err, crdt.ErrCheckpointVersion) {
					t.Errorf("a checkpoint by other rules: %v", err)
				}
				continue
			}
			if err == nil {
				err = n.f.ShowFirst(c, body)
			}
			if err != nil || !n.f.Unconfirmed() {
				t.Fatalf("it is not shown: %v", err)
			}
			d.send(n)
			n.f.AwaitConfirm()
			if got := n.f.Status(); n.f.Unconfirmed() || len(got.Notes) > 0 {
				t.Errorf("it is not confirmed: %+v", got.Notes)
			}
			same(t, d, n)
		}
	}
}

// A home that a newer sheaf has had is not opened, nor mended, by an older one.
func TestHomeOfNewerSheaf(t *testing.T) {
	a, _ := pair(t)
	a.create("/f", "f\n")
	older := a.options
	a.newer()
	id := a.f.ID()
	if err := a.home.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := filepath.Glob(filepath.Join(a.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var told *crdt.Error
	if _, err := crdt.Open(a.dir, older); !errors.Is(err, crdt.ErrNewer) || !errors.As(err, &told) || told.Hint == "" {
		t.Errorf("Open: %v", err)
	}
	if c, err := crdt.Repair(t.Context(), a.dir, older, func(string) {}); !errors.Is(err, crdt.ErrNewer) || len(c.Damage) > 0 {
		t.Errorf("Repair: %v, %+v", err, c)
	}
	if after, err := filepath.Glob(filepath.Join(a.dir, "*")); err != nil || strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("the home has %v, and had %v", after, before)
	}
	a.open(id)
	if got := a.read("/f").Text; got != "f\n" {
		t.Errorf("the file is %q", got)
	}
}

// A process that is killed once it has read what an older sheaf could not has read it for good.
func TestReadLateAndKilled(t *testing.T) {
	w := newWorld(t, 2)
	defer w.close()
	a, b := w.devices[0], w.devices[1]
	a.create("/f", "f\n")
	w.settle()
	b.options = b.options.Newer()
	w.reopen(b)
	for i := range 20 {
		b.chmod("/f", uint32(0o600+i))
		b.seal()
	}
	w.settle()
	a.waits(b.name(), 20)
	a.options = a.options.Newer()
	w.again(a, a.disk.killed())
	a.waits("", 0)
	w.again(a, a.disk.killed())
	w.check()
}

// Who has no room to read what an older sheaf left tells nobody that it has read it.
func TestReadLateOnFullDisk(t *testing.T) {
	t.Cleanup(crdt.SetWorth(0))
	disk := &fullDisk{FS: vfs.Default}
	late := 0
	for looks := int32(1); looks < 20; looks++ {
		a, b := pair(t)
		a.options = a.options.On(disk)
		a.create("/f", "f\n")
		sync(t, a, b)
		b.newer()
		b.chmod("/f", 0o600)
		sync(t, a, b)
		a.waits("bert", 1)
		id := a.f.ID()
		if err := a.home.Close(); err != nil {
			t.Fatal(err)
		}
		a.options = a.options.Newer()
		disk.looks.Store(looks)
		home, err := crdt.Open(a.dir, a.options)
		disk.full.Store(false)
		disk.looks.Store(0)
		if err != nil {
			a.open(id)
			continue
		}
		a.home = home
		if a.f, err = home.Folder(id); err != nil {
			t.Fatal(err)
		}
		if len(a.f.Status().Unread) == 0 {
			same(t, a, b)
			break
		}
		late++
		if x, y := a.digest(), b.digest(); x.Frontier == y.Frontier {
			t.Error("they have read different things, and compare digests")
		}
		if header, _, err := a.f.MakeCheckpoint(t.Context()); header != nil || err != nil {
			t.Errorf("it makes a checkpoint of what others make something else of, %v", err)
		}
		a.reopen()
		a.waits("", 0)
		same(t, a, b)
		if a.digest() != b.digest() {
			t.Error("read, they have different digests")
		}
	}
	if late == 0 {
		t.Error("there was always room")
	}
}

// A home is repaired by the rules that it was in use with: what waits for a newer sheaf goes on waiting.
func TestRepairUnread(t *testing.T) {
	a, b := pair(t)
	a.create("/f", "f\n")
	sync(t, a, b)
	b.newer()
	b.chmod("/f", 0o600)
	b.seal()
	b.create("/g", "g\n")
	sync(t, a, b)
	repair := func(d *device) {
		t.Helper()
		want, id := d.dump(), d.f.ID()
		if err := d.f.LoseRecords(); err != nil {
			t.Fatal(err)
		}
		if err := d.home.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err := crdt.Repair(t.Context(), d.dir, d.options, quiet); err != nil || len(c.Damage) == 0 {
			t.Fatalf("%v; found %+v", err, c)
		}
		if d.open(id); d.dump() != want {
			t.Errorf("repaired, it shows\n%s\nand before\n%s", d.dump(), want)
		}
		if bad := d.damaged(); len(bad) > 0 {
			t.Errorf("repaired, it is damaged: %+v", bad)
		}
	}
	repair(a)
	a.waits("bert", 1)
	a.newer()
	a.waits("", 0)
	repair(b)
	sync(t, a, b)
	same(t, a, b)
	if a.digest() != b.digest() {
		t.Error("they have different digests")
	}
}

// The object of a version that waits for a newer sheaf does not expire as one of another file's old
// versions: it is what the file holds once it is read.
func TestExpireUnread(t *testing.T) {
	defer crdt.SetJustStored(0)()
	a, b := pair(t)
	gone := b.picture("pic", "first")
	sync(t, a, b)
	old := b.picture("pic", "old")
	sync(t, a, b)
	b.picture("pic", "second")
	b.picture("pic", "third")
	b.create("f", "one\ntwo\nthree\nfour\n")
	sync(t, a, b)
	base := a.node("f").Version
	a.write("f", base, "one, by anna\ntwo\nthree\nfour\n")
	b.write("f", base, "one\ntwo\nthree\nfour, by bert\n")
	sync(t, a, b)
	b.newer()
	b.write("f", b.node("f").Version, "one, by anna\nTWO\nthree\nfour, by bert\n") // takes rules 2
	b.seal()
	b.picture("f", "old") // which anna can read, and waits for that
	sync(t, a, b)
	a.waits("bert", 1)
	if err := a.home.SetKeep(crdt.Keep{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.home.Expire(t.Context()); err != nil || a.has(gone) {
		t.Errorf("nothing expired, %v", err)
	}
	a.newer()
	sync(t, a, b)
	if got := a.read("f").Object; got == nil || got.Hash != old || !a.has(old) {
		t.Errorf("the file shows %+v, and it is here: %v", got, a.has(old))
	}
	same(t, a, b)
}
