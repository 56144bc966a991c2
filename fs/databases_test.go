package fs

import (
	"os"
	"strings"
	"testing"
)

// TestJournaled holds a database back while something is beside it, also over a mount that
// ended and a recovery.
func TestJournaled(t *testing.T) {
	for _, isNew := range []bool{false, true} {
		d := mounted(t)
		d.patient() // a new file must not be in the folder before its journal is there
		old := sqliteMagic + strings.Repeat("old", 100)
		half := sqliteMagic + strings.Repeat("half", 100)
		want := "-"
		if !isNew {
			d.write("x.db", old)
			d.flush()
			want = old
		} else {
			d.write("x.db", "")
		}
		d.write("notes", "text\n")
		d.write("notes-journal", "shared: it is beside no database\n")
		d.write("x.db-journal", "begun at page 1")
		// As SQLite does, nothing is truncated.
		d.run(`printf 'SQLite format 3\000' | dd of=x.db conv=notrunc status=none; for i in $(seq 100); do printf half; done | dd of=x.db bs=1 seek=16 conv=notrunc status=none`)
		d.flush()
		equal(t, "published", d.text("x.db"), want)
		equal(t, "shown", d.read("x.db"), half)
		equal(t, "held", strings.Join(d.s.Held(), " "), "x.db")
		d.unmount()
		if err := Recover(d.home, d.f); err != nil {
			t.Fatal(err)
		}
		d.mount()
		equal(t, "published after a recovery", d.text("x.db"), want)
		equal(t, "shown after a recovery", d.read("x.db"), half)
		if err := os.Remove(d.path("x.db-journal")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "published without its journal", func() bool { return d.text("x.db") == half })
		equal(t, "an ordinary file", d.text("notes-journal"), "shared: it is beside no database\n")
		eventually(t, "no record is left in the journal", func() bool { return len(d.s.fs.journal.records()) == 0 })
	}
}

// TestWipedJournal: SQLite may leave its files when it is done, empty or with a wiped head.
func TestWipedJournal(t *testing.T) {
	d := mounted(t)
	d.write("x.db", "")
	d.write("x.db-journal", strings.Repeat("\x00", 28)+"rest")
	d.write("x.db-wal", "")
	d.write("x.db", sqliteMagic+"done")
	d.flush()
	equal(t, "published", d.text("x.db"), sqliteMagic+"done")
	equal(t, "shared", d.names(), "x.db")
}
