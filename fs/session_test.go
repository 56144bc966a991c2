package fs

import (
	"os"
	"testing"
	"time"
)

// Who writes at an offset, or renames the file over another one, while bytes that were appended
// are not published yet, goes on from what they made of it.
func TestWriteAfterAppend(t *testing.T) {
	d := mounted(t)
	appended := func(t *testing.T, name string) {
		t.Helper()
		d.write(name, "one\ntwo\n")
		d.flush()
		f, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		write(t, f, "three\n")
	}
	t.Run("written", func(t *testing.T) {
		appended(t, "f")
		f, err := os.OpenFile(d.path("f"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("ONE"), 0); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		equal(t, "folder", d.text("f"), "ONE\ntwo\nthree\n")
	})
	t.Run("renamed", func(t *testing.T) {
		d.write("to", "zero\n")
		d.flush()
		appended(t, "from")
		if err := os.Rename(d.path("from"), d.path("to")); err != nil {
			t.Fatal(err)
		}
		equal(t, "folder", d.text("to"), "one\ntwo\nthree\n")
	})
}

// A new database that is still small enough for the journal is gone on with, too.
func TestGoOnWithPacked(t *testing.T) {
	d := unmounted(t, nil)
	k := inDaemon(t, d)
	half := sqliteMagic + "half"
	f := k.open("x.db", os.O_RDWR|os.O_CREATE)
	k.write("x.db-journal", "begun at page 1")
	write(t, f, half)
	k.kill()
	equal(t, "folder", k.text("x.db"), "-")
	k.mount()
	equal(t, "shown", k.read("x.db"), half)
	if err := os.Remove(k.path("x.db-journal")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "published without its journal", func() bool { return k.text("x.db") == half })
}

// What is refused is tried again ever more seldom, as what it costs is the same each time.
func TestRefusedSessionsWaitLonger(t *testing.T) {
	s := &session{}
	for i, want := range []time.Duration{quiet, 2 * quiet, 4 * quiet, 8 * quiet, againAtMost, againAtMost} {
		if got := s.again(); got != want {
			t.Errorf("wait %d is %v, not %v", i, got, want)
		}
	}
}

// Who cuts a file and goes on writing does so to what was left, also when that was published
// in between.
func TestWriteAfterCut(t *testing.T) {
	d := mounted(t)
	d.write("f", "0123456789\n")
	d.flush()
	f, err := os.OpenFile(d.path("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(5); err != nil {
		t.Fatal(err)
	}
	d.flush()
	equal(t, "folder", d.text("f"), "01234")
	if _, err := f.WriteAt([]byte("XX"), 1); err != nil {
		t.Fatal(err)
	}
	equal(t, "shown", d.read("f"), "0XX34")
	d.flush()
	equal(t, "folder", d.text("f"), "0XX34")
}
