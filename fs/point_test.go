package fs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Where a folder is mounted is known without a look at the directories above, and follows their
// renaming; errors name where it is, and what is remembered once it is unmounted is where it was.
func TestPoint(t *testing.T) {
	d := newDevice(t, "here")
	f, err := d.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	top := withoutLinks(t.TempDir())
	above, link := filepath.Join(top, "above"), filepath.Join(top, "link")
	if err := os.MkdirAll(filepath.Join(above, "point"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(above, link); err != nil {
		t.Fatal(err)
	}
	s, err := Mount(f, d.home, filepath.Join(link, "point"), Options{})
	if errors.Is(err, ErrPermission) || errors.Is(err, ErrNoFUSE) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.s, d.point = s, filepath.Join(above, "point")
	t.Cleanup(d.unmount)
	equal(t, "mounted through a symlink it is at", s.Point(), d.point)
	// The link leads elsewhere now, which says nothing of the mount.
	if err := errors.Join(os.Remove(link), os.Symlink(top, link)); err != nil {
		t.Fatal(err)
	}
	equal(t, "with the symlink changed it is at", s.Point(), d.point)

	other := filepath.Join(top, "other")
	if err := os.Rename(above, other); err != nil {
		t.Fatal(err)
	}
	d.point = filepath.Join(other, "point")
	open, err := os.Create(d.path("f"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	ended, end := context.WithCancel(context.Background())
	end()
	var busy *crdt.Error
	if err := s.Unmount(ended); !errors.As(err, &busy) || !errors.Is(err, ErrBusy) {
		t.Fatalf("unmounted while a file is open: %v", err)
	}
	equal(t, "the path of the error", busy.Path, d.point)
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	d.unmount()
	equal(t, "once it is unmounted it was at", s.Point(), d.point)
}
