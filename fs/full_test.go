package fs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// smallDisk is a device whose home is on a filesystem of so many bytes, and says how many
// of them are free.
func smallDisk(t *testing.T, size string) (d *device, free func() uint64) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("no right to mount a small disk here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	h, err := crdt.Init(filepath.Join(disk, "home"), crdt.Options{DeviceName: "small"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	d = &device{t: t, home: h}
	if d.f, err = h.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	d.mount()
	return d, func() uint64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		return st.Bavail * uint64(st.Bsize)
	}
}

// What did not fit into the home leaves nothing behind once its file is removed.
func TestFullDiskGivesRoomBack(t *testing.T) {
	d, free := smallDisk(t, "40M")
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

// A program that appends, or writes through a map, is told when the disk is full; what it was
// not told of is there.
func TestFullDiskTellsTheWriter(t *testing.T) {
	d, _ := smallDisk(t, "48M")
	told := d.run(`python3 -c '
import mmap, os
f = open("map.bin", "wb+")
f.truncate(96 << 20)
m = mmap.mmap(f.fileno(), 96 << 20)
try:
    for i in range(0, 96 << 20, 4096):
        m[i:i+8] = b"\0mapped\n"
    m.flush()
    print("all of it was written")
except OSError as e:
    print(e.strerror)
m.close()
f.close()
os.remove("map.bin")
'`)
	equal(t, "what the program with a map was told", told, "No space left on device\n")
	eventually(t, "room again", func() bool { return os.WriteFile(d.path("small"), []byte("x\n"), 0o644) == nil })
	var lines int
	told = d.run(`python3 -c '
n = 0
try:
    with open("log.txt", "ab", 0) as f:
        while n < 100000:
            f.write(b"%07d %s\n" % (n, b"x" * 1000))
            n += 1
except OSError as e:
    print(n, e.strerror)
'`)
	if _, err := fmt.Sscan(told, &lines); err != nil || lines == 0 || !strings.Contains(told, "No space left") {
		t.Fatalf("100 MB appended on a disk of 48: %q", told)
	}
	b, err := os.ReadFile(d.path("log.txt"))
	if got := bytes.Count(b, []byte("\n")); err != nil || got != lines {
		t.Errorf("%d lines of %d, %v", got, lines, err)
	}
}
