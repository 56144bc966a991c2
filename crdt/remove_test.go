package crdt_test

import (
	"errors"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

func TestRemoveFolder(t *testing.T) {
	a, _ := pair(t)
	if err := a.home.RemoveFolder(a.f.ID()); !errors.Is(err, crdt.ErrDenied) {
		t.Errorf("removing a shared folder: %v", err)
	}
	f, err := a.home.CreateFolder("failed")
	if err != nil {
		t.Fatal(err)
	}
	err = f.Update(func(tx *crdt.Tx) error {
		_, _, err := tx.Create(crdt.Root, "x", 0o644, crdt.NewContent{Text: "x\n"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.home.RemoveFolder(f.ID()); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(func(*crdt.Tx) error { return nil }); !errors.Is(err, crdt.ErrClosed) {
		t.Errorf("a removed folder takes changes: %v", err)
	}
	if err := a.home.Close(); err != nil {
		t.Fatal(err)
	}
	if a.home, err = crdt.Open(a.dir, crdt.Options{}); err != nil {
		t.Fatal(err)
	}
	if fs := a.home.Folders(); len(fs) != 1 || fs[0].ID() != a.f.ID() {
		t.Errorf("after it: %v", fs)
	}
	if err := a.home.RemoveFolder(f.ID()); !errors.Is(err, crdt.ErrNotExist) {
		t.Errorf("removing it again: %v", err)
	}
}
