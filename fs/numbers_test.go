package fs

import (
	"testing"
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

// Many records of numbers become few, without those of files that are gone.
func TestNumbersShrink(t *testing.T) {
	d := mounted(t)
	d.write("kept", "x")
	ino := d.run("stat -c %i kept")
	for range numbersRecords + 1 {
		d.write("gone", "x")
		d.flush()
		d.s.fs.saveNumbers()
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
