package crdt_test

import (
	"errors"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A directory that others removed lives through what is in it. Who then removes
// that, name by name, finds the directory until it is removed too.
func TestRemoveOutOfRemovedDirectory(t *testing.T) {
	a, b := pair(t)
	var outer, inner, file crdt.NodeID
	if err := a.f.Update(func(tx *crdt.Tx) (err error) {
		if outer, err = tx.Mkdir(crdt.Root, "outer", 0o755); err != nil {
			return err
		}
		inner, err = tx.Mkdir(outer, "inner", 0o755)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	sync(t, a, b)
	// b removes both directories while a writes into the inner one.
	if err := b.f.Update(func(tx *crdt.Tx) error { return errors.Join(tx.Remove(inner), tx.Remove(outer)) }); err != nil {
		t.Fatal(err)
	}
	if err := a.f.Update(func(tx *crdt.Tx) (err error) {
		file, _, err = tx.Create(inner, "file", 0o644, crdt.NewContent{Text: "x\n"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	sync(t, a, b)
	for _, node := range []crdt.NodeID{file, inner, outer} {
		if _, err := a.f.Get(node); err != nil {
			t.Fatal(err)
		}
		if err := a.f.Update(func(tx *crdt.Tx) error { return tx.Remove(node) }); err != nil {
			t.Fatal(err)
		}
	}
	sync(t, a, b)
	for _, f := range []*crdt.Folder{a.f, b.f} {
		if list, err := f.ReadDir(crdt.Root); err != nil || len(list) != 0 {
			t.Errorf("left: %v %v", list, err)
		}
	}
}
