package peer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
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

// TestRolledBackHome is a machine that was set back to a snapshot, and went on: its feed is
// forked. Everything that was ever written must be everywhere in the end.
func TestRolledBackHome(t *testing.T) {
	a, b, fa, fb := pair(t)
	write(t, fb, "before", "1\n")
	syncWait(t, b, fb)
	c := newPlace(t, "cleo")
	fc := a.invite(fa, c)
	syncWait(t, c, fc)

	snapshot := filepath.Join(t.TempDir(), "db")
	b.reopen(func(dir string) {
		if err := os.CopyFS(snapshot, os.DirFS(filepath.Join(dir, "db"))); err != nil {
			t.Fatal(err)
		}
	})
	fb = b.home.Folders()[0]
	write(t, fb, "first branch", "1\n")
	write(t, fb, "first branch too", "1\n")
	b.start("127.0.0.1:0")
	syncWait(t, b, fb)
	reads(t, fc, "first branch too", "1\n")

	b.reopen(func(dir string) {
		db := filepath.Join(dir, "db")
		if err := os.RemoveAll(db); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(db, os.DirFS(snapshot)); err != nil {
			t.Fatal(err)
		}
	})
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
