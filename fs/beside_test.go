package fs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Two pictures of one name do not merge: both are shown, and removing the one
// beside leaves the other under its name, everywhere.
func TestRemoveVersionBeside(t *testing.T) {
	here, far, beside := twoPictures(t)
	name := filepath.Join(here.point, "pic.png")
	main, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(here.point, beside), nil, 0o644); err == nil {
		t.Error("the version beside could be written to")
	}
	if err := os.Remove(filepath.Join(here.point, beside)); err != nil {
		t.Fatal(err)
	}
	exchange(t, here, far)
	if list, err := os.ReadDir(here.point); err != nil || len(list) != 1 {
		t.Errorf("after the removal: %v, %v", list, err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != string(main) {
		t.Errorf("the file is %q, %v, and was %q", got, err, main)
	}
	if list, err := far.f.ReadDir(crdt.Root); err != nil || len(list) != 1 {
		t.Errorf("the other device shows %v, %v", list, err)
	}
}

// twoPictures has a file pic.png with two versions that do not merge; the other is shown under
// beside.
func twoPictures(t *testing.T) (here, far *device, beside string) {
	t.Helper()
	here, far = pair(t)
	name := filepath.Join(here.point, "pic.png")
	if err := os.WriteFile(name, []byte("\x00first"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := here.s.Flush(); err != nil {
		t.Fatal(err)
	}
	exchange(t, here, far)
	info, err := far.f.Resolve("pic.png")
	if err != nil {
		t.Fatal(err)
	}
	h, size, err := far.home.Objects().Put(strings.NewReader("\x00of the other"))
	if err != nil {
		t.Fatal(err)
	}
	err = far.f.Update(func(tx *crdt.Tx) error {
		_, err := tx.Write(info.Node, info.Version, crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(h), Size: size}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("\x00of this one"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := here.s.Flush(); err != nil {
		t.Fatal(err)
	}
	exchange(t, here, far)
	eventually(t, "two versions are listed", func() bool {
		list, _ := os.ReadDir(here.point)
		for _, e := range list {
			if e.Name() != "pic.png" {
				beside = e.Name()
			}
		}
		return len(list) == 2
	})
	return here, far, beside
}

// Renaming the version beside keeps it, under a name of its own, or over the one that it was
// shown beside.
func TestRenameVersionBeside(t *testing.T) {
	for _, c := range []struct{ to, want string }{{"other.png", "other.png pic.png"}, {"pic.png", "pic.png"}} {
		t.Run(c.to, func(t *testing.T) {
			here, far, beside := twoPictures(t)
			bytes := here.read(beside)
			if err := os.Rename(here.path(beside), here.path(c.to)); err != nil {
				t.Fatal(err)
			}
			exchange(t, here, far)
			eventually(t, "the bytes are under the new name", func() bool { return here.read(c.to) == bytes })
			for _, d := range []*device{here, far} {
				equal(t, "names", d.names(), c.want)
				equal(t, "bytes", d.text(c.to), bytes)
			}
			if _, err := os.Lstat(here.path(beside)); !os.IsNotExist(err) {
				t.Errorf("the old name: %v", err)
			}
			here.run(`printf '\0written after' > ` + c.to) // by who has read none of them
			here.flush()
			equal(t, "after a save", here.text(c.to), "\x00written after")
			equal(t, "names after it", here.names(), c.want)
		})
	}
}

// What another device does about a version beside a file leaves the file's programs alone.
func TestResolvedElsewhere(t *testing.T) {
	here, far, beside := twoPictures(t)
	// After its own save a device is shown another's version a moment later.
	eventually(t, "what stands under the name is shown", func() bool { return here.read("pic.png") == here.text("pic.png") })
	info, err := far.f.Resolve(beside)
	if err != nil {
		t.Fatal(err)
	}
	if err := far.f.Update(func(tx *crdt.Tx) error { return tx.Resolve(info.Node, info.Version) }); err != nil {
		t.Fatal(err)
	}
	exchange(t, here, far)
	eventually(t, "one is listed", func() bool { list, _ := os.ReadDir(here.point); return len(list) == 1 })
	here.run(`printf '\0written after' > pic.png`)
	here.flush()
	equal(t, "after a save", here.text("pic.png"), "\x00written after")
	equal(t, "names after it", here.names(), "pic.png")
}
