package fs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// TestLocalAbsence: that a name of this device is not there the kernel keeps, until
// something gets the name.
func TestLocalAbsence(t *testing.T) {
	d := mounted(t)
	d.run("mkdir -p .git/refs; echo x > .git/old")
	absent := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := os.Lstat(d.path(name)); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	below := d.s.fs.localPath(crdt.Root, ".git")
	absent(".git/kept")
	if err := os.WriteFile(filepath.Join(below, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	absent(".git/kept") // nobody but the mount writes there, so nobody is asked

	absent(".git/file", ".git/dir", ".git/symlink", ".git/link", ".git/moved", ".git/shared", ".git/refs/x")
	d.run(`echo x > .git/file; mkdir .git/dir; ln -s file .git/symlink; ln .git/file .git/link; mv .git/old .git/moved; echo x > s; mv s .git/shared; echo x > .git/refs/x
		ls -d .git/file .git/dir .git/symlink .git/link .git/moved .git/shared .git/refs/x`)
	absent(".git/old")
	d.run("rm .git/file; rmdir .git/dir")
	absent(".git/file", ".git/dir")
	d.run("echo x > .git/file; test -f .git/file; mv .git/refs .git/others; mkdir .git/refs; ! test -e .git/refs/x; test -e .git/others/x")
}

// TestLocalAbsenceElsewhere: what is missing where a directory was, because it is elsewhere
// for a moment, is not missing in it.
func TestLocalAbsenceElsewhere(t *testing.T) {
	d := mounted(t)
	d.run("mkdir -p .git/refs")
	fd, err := unix.Open(d.path(".git/refs"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	below := d.s.fs.localPath(crdt.Root, ".git")
	refs, away := filepath.Join(below, "refs"), filepath.Join(below, "away")
	if err := os.WriteFile(filepath.Join(refs, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look := func() error {
		var st unix.Stat_t
		return unix.Fstatat(fd, "x", &st, 0)
	}
	for _, there := range []string{"nothing", "another directory"} {
		if err := os.Rename(refs, away); err != nil {
			t.Fatal(err)
		}
		if there != "nothing" {
			if err := os.Mkdir(refs, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := look(); err != unix.ENOENT {
			t.Fatalf("with %s in its place: %v", there, err)
		}
		if err := os.Remove(refs); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.Rename(away, refs); err != nil {
			t.Fatal(err)
		}
		if err := look(); err != nil {
			t.Fatalf("back again, after there was %s in its place: %v", there, err)
		}
		if err := unix.Unlinkat(fd, "x", 0); err != nil { // the kernel forgets it
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(refs, "x"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
