package peer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// reopen closes the place's home, calls fn, and opens it again.
func (p *place) reopen(fn func(dir string)) {
	p.t.Helper()
	p.stop()
	dir := p.home.Dir()
	if err := p.home.Close(); err != nil {
		p.t.Fatal(err)
	}
	fn(dir)
	h, err := crdt.Open(dir, crdt.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.home = h
}

// snapshot keeps the place's database; what it returns, for reopen, sets it back to that. The
// key stays where it is, so the home does not notice.
func (p *place) snapshot() (back func(dir string)) {
	p.t.Helper()
	kept := filepath.Join(p.t.TempDir(), "db")
	copyTo := func(to, from string) {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.reopen(func(dir string) { copyTo(kept, filepath.Join(dir, "db")) })
	return func(dir string) {
		db := filepath.Join(dir, "db")
		if err := os.RemoveAll(db); err != nil {
			p.t.Fatal(err)
		}
		copyTo(db, kept)
	}
}

// TestRolledBackHome is a machine that was set back to a snapshot, and went on: its feed is
// forked. Everything that was ever written must be everywhere in the end.
func TestRolledBackHome(t *testing.T) {
	a, b, fa, fb := pair(t)
	write(t, fb, "before", "1\n")
	syncWait(t, b, fb)
	c := newPlace(t, "cleo")
	fc := a.invite(fa, c)
	syncWait(t, c, fc)

	back := b.snapshot()
	fb = b.home.Folders()[0]
	write(t, fb, "first branch", "1\n")
	write(t, fb, "first branch too", "1\n")
	b.start("127.0.0.1:0")
	syncWait(t, b, fb)
	reads(t, fc, "first branch too", "1\n")

	b.reopen(back)
	fb = b.home.Folders()[0]
	for i, name := range []string{"second branch", "second branch too", "second branch as well"} {
		write(t, fb, name, "2\n")
		if _, err := fb.Frontier(); err != nil { // an entry each
			t.Fatal(i, err)
		}
	}
	b.start("127.0.0.1:0")
	for _, f := range []*crdt.Folder{fa, fb, fc} {
		for name, text := range map[string]string{
			"before": "1\n", "first branch": "1\n", "first branch too": "1\n",
			"second branch": "2\n", "second branch as well": "2\n",
		} {
			reads(t, f, name, text)
		}
	}
	write(t, fb, "after", "3\n")
	reads(t, fa, "after", "3\n")
	reads(t, fc, "after", "3\n")
}

// TestHiddenBranch is a fork that no head shows: the rolled back home went on for a moment,
// then got back what it had written before, which is longer. What it wrote in that moment must
// reach the others, who hold the feed "further" than that.
func TestHiddenBranch(t *testing.T) {
	a, b, fa, fb := pair(t)
	write(t, fb, "before", "1\n")
	syncWait(t, b, fb)
	back := b.snapshot()
	fb = b.home.Folders()[0]
	for _, name := range []string{"lost", "lost too", "lost as well"} {
		write(t, fb, name, "1\n")
		if _, err := fb.Frontier(); err != nil { // an entry each
			t.Fatal(err)
		}
	}
	b.start("127.0.0.1:0")
	syncWait(t, b, fb)
	b.reopen(back)
	fb = b.home.Folders()[0]
	write(t, fb, "hidden", "2\n")
	if _, err := fb.Frontier(); err != nil {
		t.Fatal(err)
	}
	locals, err := fa.Since(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range locals {
		if _, err := fb.Receive([]*feed.Entry{l.Entry}); err != nil {
			t.Fatal(err)
		}
	}
	b.start("127.0.0.1:0")
	reads(t, fa, "hidden", "2\n")
	reads(t, fb, "lost as well", "1\n")

	// Nor is it sent for ever: both know now that they hold the same.
	for _, p := range []*place{a, b} {
		p.stop()
	}
	_, ha, err := fa.Held()
	if err != nil {
		t.Fatal(err)
	}
	_, hb, err := fb.Held()
	if err != nil {
		t.Fatal(err)
	}
	if ha != hb {
		t.Error("the devices hold the same entries and do not know")
	}
}

// Where a feed is forked, everything is asked for once in a connection. Digests that were made
// before the newest entry came are no reason to.
func TestForksAreAskedForOnce(t *testing.T) {
	checkLeaks(t)
	a, b, fa, fb := pair(t)
	write(t, fb, "before", "1\n")
	syncWait(t, b, fb)
	back := b.snapshot()
	fb = b.home.Folders()[0]
	write(t, fb, "first branch", "1\n")
	b.start("127.0.0.1:0")
	syncWait(t, b, fb)
	b.reopen(back)
	fb = b.home.Folders()[0]
	write(t, fb, "second branch", "2\n")
	b.start("127.0.0.1:0")
	reads(t, fa, "second branch", "2\n")
	reads(t, fb, "first branch", "1\n")
	heldBy := func(d *place, f *crdt.Folder, by *place) bool {
		_, hash, err := f.Held()
		if err != nil {
			t.Fatal(err)
		}
		return d.node.folder(f.ID()).toldBy()[by.home.Device()].Frontier == hash
	}
	settled := func() {
		t.Helper()
		eventually(t, "both have told a digest of what they hold", func() bool {
			return heldBy(a, fa, b) && heldBy(b, fb, a)
		})
	}
	settled()
	before := a.node.linkTo(b.home.Device())
	before.close(codeTrouble, nil)
	sessionOf := func(p *place, f *crdt.Folder, of *place) *session {
		if l := p.node.linkTo(of.home.Device()); l != nil && l != before {
			return l.session(f.ID())
		}
		return nil
	}
	eventually(t, "they are connected again", func() bool {
		s := sessionOf(a, fa, b)
		return s != nil && s.comparable()
	})
	write(t, fa, "a", "3\n")
	settled()
	write(t, fb, "b", "3\n")
	settled()
	for _, s := range []*session{sessionOf(a, fa, b), sessionOf(b, fb, a)} {
		s.mu.Lock()
		asks := s.askAll
		s.mu.Unlock()
		if asks {
			t.Error("every entry is asked for, and both hold the same")
		}
	}
}
