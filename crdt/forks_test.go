package crdt_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// rollBack returns a function that sets the device's database back to what it is now. The key
// file stays where it is, so the home does not notice, and goes on in the same feed.
func (d *device) rollBack() func() {
	d.t.Helper()
	db, kept := filepath.Join(d.dir, "db"), filepath.Join(d.scratch, "kept")
	id := d.f.ID()
	swap := func(to, from string) {
		if err := d.home.Close(); err != nil {
			d.t.Fatal(err)
		}
		if err := os.RemoveAll(to); err != nil {
			d.t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			d.t.Fatal(err)
		}
		d.open(id)
	}
	swap(kept, db)
	return func() { swap(db, kept) }
}

// Of a feed that was forked one branch is longer, and another one can be later. What a person
// does comes after all that they see, on either.
func TestChangeAfterFork(t *testing.T) {
	a, b := pair(t)
	c := newDevice(t, "cleo")
	a.invite(c)
	a.create("kept.md", "1\n")
	sync(t, a, b, c)
	back := b.rollBack()
	for _, name := range []string{"x", "y", "z"} { // the longer branch
		b.create(name, "1\n")
		if _, err := b.f.Frontier(); err != nil { // an entry each
			t.Fatal(err)
		}
	}
	sync(t, a, b)
	back()
	for range 20 {
		c.write("kept.md", c.node("kept.md").Version, "1\n"+c.read("kept.md").Text)
		if _, err := c.f.Frontier(); err != nil {
			t.Fatal(err)
		}
	}
	c.send(b)
	a.sent[b], b.sent[a], b.sent[c] = 0, 0, 0
	n := b.node("kept.md")
	b.update(func(tx *crdt.Tx) error { return tx.Move(n.Node, crdt.Root, "moved.md") })
	sync(t, a, b, c)
	if a.f.Forks() != 1 || b.f.Forks() != 1 {
		t.Fatalf("%d and %d forks", a.f.Forks(), b.f.Forks())
	}
	for _, d := range []*device{a, b} {
		d.node("moved.md")
		d.reopen()
	}
	a.update(func(tx *crdt.Tx) error { return tx.Remove(n.Node) })
	sync(t, a, b, c)
	same(t, a, b, c)
	if _, err := a.f.Resolve("moved.md"); err == nil {
		t.Error("a file cannot be removed, because it was renamed on a later branch")
	}
	_, ha, err := a.f.Held()
	if err != nil {
		t.Fatal(err)
	}
	_, hb, err := b.f.Held()
	if err != nil {
		t.Fatal(err)
	}
	if ha != hb {
		t.Error("the devices hold the same entries and do not know")
	}
}

// Where a feed was forked, a frontier does not say which entries a checkpoint would be made of.
// Who makes none is not accused of a false one; nor is who made one before the fork was known.
func TestCheckpointAfterFork(t *testing.T) {
	old, fresh, _ := newcomer(t)
	b, c := newDevice(t, "bert"), newDevice(t, "cleo")
	old.invite(b)
	old.invite(c)
	old.send(b)
	old.send(c)
	b.create("before", "1\n")
	b.seal()
	back := b.rollBack()
	b.create("x", "1\n")
	b.send(old)
	old.checkpoint(fresh)
	back()
	b.create("y", "1\n")
	b.sent[c] = 0
	b.send(c)
	c.send(fresh) // y stands where the checkpoint has x
	fresh.settled()
	for _, n := range fresh.f.Status().Notes {
		if n.Kind == "checkpoint" && strings.Contains(n.Text, "false") {
			t.Errorf("its maker is accused: %s", n.Text)
		}
	}
	old.send(c)
	if c.f.Forks() != 1 {
		t.Fatalf("%d forks", c.f.Forks())
	}
	if header, _, err := c.f.MakeCheckpoint(context.Background()); header != nil || err != nil {
		t.Errorf("a checkpoint of a forked feed is made, %v", err)
	}
}

// Devices with the same heads that hold different branches of a feed have not diverged.
func TestDigestAfterFork(t *testing.T) {
	a, b := pair(t)
	c := newDevice(t, "cleo")
	a.invite(c)
	sync(t, a, b, c)
	back := b.rollBack()
	for _, name := range []string{"x", "y", "z"} { // an entry each
		b.create(name, "1\n")
		b.seal()
	}
	b.send(a)
	back()
	b.create("hidden", "1\n")
	b.sent[c] = 0
	b.send(c)
	a.sent[c] = 0
	a.send(c)
	if fa, fc := frontier(t, a), frontier(t, c); fa.Hash() != fc.Hash() {
		t.Fatal("the heads tell what is held")
	}
	da, dc := a.digest(), c.digest()
	if da.Frontier == dc.Frontier || da.Sum == dc.Sum {
		t.Errorf("digests %v and %v of different entries", da, dc)
	}
	c.sent[a] = 0
	sync(t, a, c)
	if da, dc = a.digest(), c.digest(); da != dc {
		t.Errorf("digests %v and %v of the same entries", da, dc)
	}
}

func frontier(t *testing.T, d *device) feed.Frontier {
	t.Helper()
	fr, err := d.f.Frontier()
	if err != nil {
		t.Fatal(err)
	}
	return fr
}
