package crdt_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A home whose database is gone, or is something else, is damaged; it never starts empty.
func TestNeverStartsEmpty(t *testing.T) {
	harms := map[string]func(db string) error{
		"gone":  os.RemoveAll,
		"empty": func(db string) error { return errors.Join(os.RemoveAll(db), os.Mkdir(db, 0o700)) },
		"other": func(db string) error {
			return errors.Join(os.RemoveAll(db), os.Mkdir(db, 0o700), os.WriteFile(filepath.Join(db, "x"), nil, 0o600))
		},
	}
	for name, harm := range harms {
		dir := filepath.Join(t.TempDir(), "home")
		h, err := crdt.Init(dir, crdt.Options{DeviceName: "one"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := crdt.Open(dir, crdt.Options{}); !errors.Is(err, crdt.ErrInUse) {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if err := harm(filepath.Join(dir, "db")); err != nil {
			t.Fatal(err)
		}
		if _, err := crdt.Open(dir, crdt.Options{}); !errors.Is(err, crdt.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
