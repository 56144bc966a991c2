package crdt_test

import (
	"errors"
	"path/filepath"
	gosync "sync"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Of several that make one home at once, one does, and the others leave it alone.
func TestInitAtOnce(t *testing.T) {
	for range 10 {
		dir := filepath.Join(t.TempDir(), "home")
		homes := make([]*crdt.Home, 4)
		errs := make([]error, len(homes))
		var wg gosync.WaitGroup
		for i := range homes {
			wg.Go(func() { homes[i], errs[i] = crdt.Init(dir, crdt.Options{DeviceName: "one"}) })
		}
		wg.Wait()
		made := 0
		for i, h := range homes {
			if h != nil {
				made++
				if err := h.Close(); err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(errs[i], crdt.ErrInUse) && !errors.Is(errs[i], crdt.ErrExists) {
				t.Error(errs[i])
			}
		}
		if made != 1 {
			t.Fatalf("%d homes were made", made)
		}
		h, err := crdt.Open(dir, crdt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if h.DeviceName() != "one" {
			t.Errorf("the device is called %q", h.DeviceName())
		}
		h.Close()
	}
}
