package guardian

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// TestMoved renames the directory above a mount and mounts something else in its place: pokes
// go to the one, and leave the other alone.
func TestMoved(t *testing.T) {
	mount := func(point string) {
		t.Helper()
		if err := os.MkdirAll(point, 0o755); err != nil {
			t.Fatal(err)
		}
		err := unix.Mount("tmpfs", point, "tmpfs", 0, "size=1m")
		if errors.Is(err, unix.EPERM) {
			t.Skip("no permission to mount")
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(point, "f"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	above, other := filepath.Join(top, "above"), filepath.Join(top, "other")
	old, now := filepath.Join(above, "point"), filepath.Join(other, "point")
	t.Cleanup(func() {
		_ = unix.Unmount(now, unix.MNT_DETACH)
		_ = unix.Unmount(old, unix.MNT_DETACH)
	})
	mount(old)
	device, _ := mountinfo.DeviceAt(old)
	p := &poker{point: old}
	p.device.Store(device)
	remove := message{Op: Remove, Path: []byte("f")}
	if err := os.Rename(above, other); err != nil {
		t.Fatal(err)
	}
	mount(old)
	if got := p.place(); got != now {
		t.Errorf("it is at %s, not at %s", got, now)
	}
	if err := p.poke(remove); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(now, "f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("where the mount is now nothing was done: %v", err)
	}
	if _, err := os.Stat(filepath.Join(old, "f")); err != nil {
		t.Errorf("what is mounted in its place was changed: %v", err)
	}
	if err := unix.Unmount(now, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.poke(remove); err == nil {
		t.Error("poked though it is not mounted any more")
	}
	if _, err := os.Stat(filepath.Join(old, "f")); err != nil {
		t.Errorf("what is mounted in its place was changed: %v", err)
	}
}
