package fs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// noise are n bytes that are no text.
func noise(n int) []byte {
	b := make([]byte, n)
	c := rand.NewChaCha8([32]byte{1})
	c.Read(b)
	return b
}

// ask reads as go-fuse does, and takes what it was given before it says so.
func ask(t *testing.T, r *objectReader, off int64, n int) []byte {
	t.Helper()
	res, err := r.read(make([]byte, n), off)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer res.Done()
	var got []byte
	if s, ok := res.(interface {
		Slices() ([][]byte, fuse.Status)
	}); ok {
		parts, _ := s.Slices()
		got = bytes.Join(parts, nil)
	} else {
		got, _ = res.Bytes(nil)
	}
	if len(got) != res.Size() {
		t.Errorf("%d bytes, said to be %d", len(got), res.Size())
	}
	return bytes.Clone(got)
}

// windowsOf counts the windows of a file that are open.
func windowsOf(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), path)
}

func TestObjectReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "object")
	want := noise(2*windowSize + 12345)
	if err := os.WriteFile(path, want, 0o644); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newObjectReader(fd, int64(len(want)))
	check := func(off int64, n int) {
		t.Helper()
		end := min(off+int64(n), int64(len(want)))
		if got := ask(t, r, off, n); !bytes.Equal(got, want[min(off, end):end]) {
			t.Fatalf("%d bytes at %d: others", n, off)
		}
	}
	mappings := 0
	for _, n := range []int{4096, windowRead, 128 << 10, 1 << 20, 3<<20 + 1} {
		for off := 0; off < len(want)+n; off += n {
			check(int64(off), n)
			mappings = max(mappings, windowsOf(t, path))
		}
	}
	if mappings != 1 {
		t.Errorf("%d windows open, want one where it is read from one place on", mappings)
	}
	for range 200 {
		check(rand.Int64N(int64(len(want)+4096)), 1+rand.IntN(2<<20))
	}
	var readers sync.WaitGroup
	for range 4 {
		r := r.hold()
		readers.Go(func() {
			defer r.release()
			for off := 0; off < len(want); off += 256 << 10 {
				check := want[off:min(off+256<<10, len(want))]
				if !bytes.Equal(ask(t, r, int64(off), 256<<10), check) {
					t.Errorf("others at %d", off)
				}
			}
		})
	}
	r.release()
	readers.Wait()
	if n := windowsOf(t, path); n != 0 {
		t.Errorf("%d windows left open", n)
	}
	if err := syscall.Close(fd); err != syscall.EBADF {
		t.Errorf("the file is not closed: %v", err)
	}
}

// A window is kept while its bytes are on their way, whoever closes the file.
func TestWindowOutlivesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "object")
	want := noise(windowSize)
	if err := os.WriteFile(path, want, 0o644); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newObjectReader(fd, int64(len(want)))
	res, err := r.read(make([]byte, 1<<20), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.release()
	if n := windowsOf(t, path); n != 1 {
		t.Fatalf("%d windows while it is used", n)
	}
	if got, _ := res.Bytes(nil); !bytes.Equal(got, want[:1<<20]) {
		t.Error("others")
	}
	if res.Done(); windowsOf(t, path) != 0 {
		t.Error("still there when it is done with")
	}
}

// What the disk has lost of an object is an error of who reads it, not the end of the daemon.
func TestObjectCutShort(t *testing.T) {
	d := mounted(t)
	want := noise(windowSize)
	if err := os.WriteFile(d.path("big"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.s.Flush(); err != nil {
		t.Fatal(err)
	}
	d.unmount()
	info, err := d.f.Lookup(crdt.Root, "big")
	if err != nil || info.Object == nil {
		t.Fatal(info, err)
	}
	object := d.home.Objects().Path([32]byte(info.Object.Hash))
	if err := os.Chmod(object, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(object, windowSize/2); err != nil {
		t.Fatal(err)
	}
	d.mount()
	got, err := os.ReadFile(d.path("big"))
	if err == nil && bytes.Equal(got, want) || len(got) < windowSize/2 || !bytes.Equal(got[:windowSize/2], want[:windowSize/2]) {
		t.Errorf("%d bytes, %v; half of it is there", len(got), err)
	}
}
