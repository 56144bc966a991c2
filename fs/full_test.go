package fs

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// What did not fit into the home leaves nothing behind once its file is removed.
func TestFullDiskGivesRoomBack(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=40M"); err != nil {
		t.Skip("no right to mount a small disk here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	h, err := crdt.Init(filepath.Join(disk, "home"), crdt.Options{DeviceName: "small"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	d := &device{t: t, home: h, sent: map[*device]uint64{}}
	if d.f, err = h.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	d.mount()
	free := func() uint64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		return st.Bavail * uint64(st.Bsize)
	}
	before := free()
	if err := os.WriteFile(d.path("big"), bytes.Repeat([]byte{0, 1, 2, 3}, 15<<20), 0o644); err == nil {
		t.Fatal("60 MB fit on a disk of 40")
	}
	if err := d.s.Flush(); err == nil {
		t.Error("a file was published without room")
	}
	if err := os.Remove(d.path("big")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room again", func() bool { return free()+1<<20 > before })
	d.write("small", "x\n")
	d.flush()
	equal(t, "folder", d.text("small"), "x\n")
}
