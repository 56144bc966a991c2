package fs

import (
	"log/slog"
	"os"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A file keeps its inode number through its publication, a rename, a save by rename and
// a restart, and no two files have one number.
func TestInodeNumbers(t *testing.T) {
	d := mounted(t)
	d.write("a", "one\n")
	d.write("b", "two\n")
	d.run("mkdir dir && ln -s a link")
	stat := func() string { return d.run("stat -c '%n %i' a b c dir link 2>/dev/null | sort; ls -iU . | sort -k2") }
	first := stat()
	d.flush()
	equal(t, "after the publication", stat(), first)
	d.unmount()
	d.mount()
	equal(t, "after a restart", stat(), first)
	was := d.run("stat -c %i b")
	d.run("mv b c")
	d.flush()
	d.unmount()
	d.mount()
	equal(t, "after a rename", d.run("stat -c %i c"), was)
	d.run("echo other > tmp; mv tmp c")
	saved := d.run("stat -c %i c")
	if saved == was {
		t.Error("a new file in the old one's place has its number")
	}
	d.flush()
	d.unmount()
	d.mount()
	equal(t, "after a save by rename", d.run("stat -c %i c"), saved)
	equal(t, "numbers that two files have", d.run("stat -c %i * | sort | uniq -d"), "")
}

// A file that took another one's place, and comes back because somebody saves it, is not the same file
// to programs that go by numbers.
func TestNumberAfterComingBack(t *testing.T) {
	d := mounted(t)
	d.write("a", "one\n")
	d.write("b", "two\n")
	d.flush()
	a, err := d.f.Resolve("a")
	if err != nil {
		t.Fatal(err)
	}
	d.run("mv a b")
	d.flush()
	err = d.f.Update(func(tx *crdt.Tx) error {
		_, err := tx.Write(a.Node, a.Version, crdt.NewContent{Text: "three\n"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at once", "after a restart"} {
		eventually(t, "it is back", func() bool { _, err := os.Stat(d.path("a")); return err == nil })
		equal(t, when+", numbers that two files have", d.run("stat -c %i a b | sort | uniq -d"), "")
		d.unmount()
		d.mount()
	}
}

// Many records of numbers become few, without those of files that are gone.
func TestNumbersShrink(t *testing.T) {
	d := mounted(t)
	d.write("kept", "x")
	ino := d.run("stat -c %i kept")
	for range keptRecords + 1 {
		d.write("gone", "x")
		d.flush()
		d.s.fs.saveKept()
		d.run("rm gone")
		d.flush()
	}
	d.unmount()
	d.mount()
	records := 0
	if err := d.f.Locals(numbersPrefix, func(string, []byte) error { records++; return nil }); err != nil {
		t.Fatal(err)
	}
	if records != 1 {
		t.Errorf("%d records", records)
	}
	if n := len(d.s.fs.numbers.of); n != 1 {
		t.Errorf("%d nodes have numbers", n)
	}
	equal(t, "the number", d.run("stat -c %i kept"), ino)
}

// A file from elsewhere that takes another one's place brings its number along, once: it has it
// after a restart, and what it was has another should it come back.
func TestNumberBroughtAlong(t *testing.T) {
	d := newDevice(t, "here")
	f, err := d.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	var a crdt.NodeID
	var version crdt.Version
	err = f.Update(func(tx *crdt.Tx) (err error) {
		if a, version, err = tx.Create(crdt.Root, "a", 0o644, crdt.NewContent{Text: "one\n"}); err == nil {
			_, _, err = tx.Create(crdt.Root, "b", 0o644, crdt.NewContent{Text: "two\n"})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.f = f
	d.mount()
	was := d.run("stat -c %i a")
	d.run("mv a b")
	d.flush()
	equal(t, "the number in the other's place", d.run("stat -c %i b"), was)
	info, err := d.f.Resolve("b")
	if err != nil {
		t.Fatal(err)
	}
	fs := d.s.fs
	fs.saveKept()
	fs.mu.Lock()
	in := fs.nodes[key(info.Node, nil)]
	if kept := len(fs.numbers.of); kept != 1 {
		t.Errorf("%d nodes have numbers of others", kept)
	}
	in.mu.Lock()
	fs.keepNumber(in)
	in.mu.Unlock()
	if n := len(fs.numbers.unsaved); n != 0 {
		t.Errorf("it is kept again, %d times", n)
	}
	fs.mu.Unlock()
	err = d.f.Update(func(tx *crdt.Tx) error {
		_, err := tx.Write(a, version, crdt.NewContent{Text: "three\n"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is back", func() bool { _, err := os.Stat(d.path("a")); return err == nil })
	both := d.run("stat -c '%n %i' a b")
	equal(t, "numbers that two files have", d.run("stat -c %i a b | sort | uniq -d"), "")
	d.unmount()
	d.mount()
	equal(t, "both numbers after a restart", d.run("stat -c '%n %i' a b"), both)
	equal(t, "the number after a restart", d.run("stat -c %i b"), was)
}

// Numbers that could not be written are kept, and written later.
func TestNumbersAreTriedAgain(t *testing.T) {
	closed, d := newDevice(t, "closed"), newDevice(t, "here")
	no, err := closed.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.home.Close(); err != nil {
		t.Fatal(err)
	}
	yes, err := d.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	fs := &filesystem{folder: no, log: slog.New(slog.DiscardHandler), queue: newQueue(), numbers: newNumbers(), times: newTimes()}
	defer fs.queue.close()
	node, number := crdt.NodeID{1}, newNumber()
	fs.numbers.nodeRecords.of = map[crdt.NodeID]uint64{node: number}
	fs.numbers.unsaved = []crdt.NodeID{node}
	fs.saveKept()
	fs.queue.mu.Lock()
	again := len(fs.queue.timers)
	fs.queue.mu.Unlock()
	if again != 1 {
		t.Errorf("it is tried again %d times", again)
	}
	fs.mu.Lock()
	fs.folder = yes
	fs.mu.Unlock()
	fs.saveKept()
	next := &filesystem{folder: yes, numbers: newNumbers()}
	if err := next.numbers.load(next); err != nil {
		t.Fatal(err)
	}
	if got := next.numbers.of[node]; got != number {
		t.Errorf("after a restart its number is %#x, not %#x", got, number)
	}
}
