package blob

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/zeebo/blake3"
)

// noise returns n bytes that depend on n only.
func noise(n int) []byte {
	b := make([]byte, n)
	d := blake3.New()
	d.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	d.Digest().Read(b)
	return b
}

// memDir returns a directory in memory, if there is such a thing: what is durable is tested
// elsewhere, and a disk that others use makes these tests wait.
func memDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sheaf-blob-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(memDir(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Store, b []byte) Hash {
	t.Helper()
	h, n, err := s.Put(bytes.NewReader(b))
	if err != nil || n != int64(len(b)) || h != Sum(b) {
		t.Fatal(h, n, err)
	}
	return h
}

func read(t testing.TB, s *Store, h Hash) []byte {
	t.Helper()
	f, err := s.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// partial lists what lies in the directory of unfinished things.
func partial(t testing.TB, s *Store) (names []string) {
	t.Helper()
	es, err := os.ReadDir(filepath.Join(s.dir, partialDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

func TestPutAndRead(t *testing.T) {
	s := open(t)
	for _, n := range []int{0, 1, 5000, SliceSize + 1} {
		b := noise(n)
		h := put(t, s, b)
		if got := read(t, s, h); !bytes.Equal(got, b) {
			t.Errorf("%d bytes: read %d others", n, len(got))
		}
		if size, err := s.Size(h); size != int64(n) || err != nil || !s.Has(h) {
			t.Error(size, err)
		}
		if err := s.Verify(h); err != nil {
			t.Error(err)
		}
		if st, err := os.Stat(s.Path(h)); err != nil || st.Mode() != 0o444 {
			t.Error(st.Mode(), err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
	if left := partial(t, s); len(left) > 0 {
		t.Error("left behind:", left)
	}
}

func TestNotHere(t *testing.T) {
	s := open(t)
	_, sizeErr := s.Size(Hash{})
	_, openErr := s.Open(Hash{})
	_, sliceErr := s.Slice(Hash{}, 0, 0)
	for _, err := range []error{sizeErr, openErr, sliceErr, s.Verify(Hash{})} {
		if !errors.Is(err, ErrNotHere) {
			t.Error(err)
		}
	}
	if s.Has(Hash{}) {
		t.Error("has what it has not")
	}
	if err := s.Remove(Hash{}); err != nil {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	s := open(t)
	b := noise(2*SliceSize + 5)
	h := put(t, s, b)
	if _, err := s.Slice(h, 0, SliceSize); err != nil { // makes a tree
		t.Fatal(err)
	}
	if err := s.Remove(h); err != nil {
		t.Fatal(err)
	}
	if s.Has(h) {
		t.Error("still here")
	}
	if _, err := os.Stat(s.treePath(h)); !os.IsNotExist(err) {
		t.Error(err)
	}
	if put(t, s, b); !bytes.Equal(read(t, s, h), b) {
		t.Error("came back as something else")
	}
}

func TestPutThatFails(t *testing.T) {
	s := open(t)
	boom := errors.New("boom")
	if _, _, err := s.Put(io.MultiReader(bytes.NewReader(noise(9)), iotest.ErrReader(boom))); !errors.Is(err, boom) {
		t.Error(err)
	}
	if s.Has(Sum(noise(9))) || len(partial(t, s)) > 0 {
		t.Error("a failed Put left something")
	}
}

func TestPutFile(t *testing.T) {
	s := open(t)
	dir := memDir(t)
	path := filepath.Join(dir, "session")
	b := noise(70_000)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	h, n, err := s.PutFile(path)
	if err != nil || n != 70_000 || !bytes.Equal(read(t, s, h), b) {
		t.Fatal(h, n, err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("still there:", err)
	}
	if st, err := os.Stat(s.Path(h)); err != nil || st.Mode() != 0o444 {
		t.Error(st.Mode(), err)
	}
	if err := os.Symlink(s.Path(h), path); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{path, dir, filepath.Join(dir, "none")} {
		if _, _, err := s.PutFile(bad); err == nil {
			t.Error("took", bad)
		}
	}
	if !s.Has(h) {
		t.Error("the symlink's target was taken")
	}
}

func TestOpenRemovesLeftovers(t *testing.T) {
	s := open(t)
	h := put(t, s, noise(10))
	if err := os.WriteFile(filepath.Join(s.dir, partialDir, putPrefix+"123"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if left := partial(t, s); len(left) > 0 || !s.Has(h) {
		t.Error(left)
	}
}

// damage flips a bit of an object, or cuts it.
func damage(t testing.TB, s *Store, h Hash, at int64, cut bool) {
	t.Helper()
	path := s.Path(h)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if cut {
		err = f.Truncate(at)
	} else {
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		b[0] ^= 4
		if err == nil {
			_, err = f.WriteAt(b, at)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	for _, size := range []int{100, SliceSize, 3*SliceSize + 17} {
		for _, cut := range []bool{false, true} {
			for _, treeFirst := range []bool{false, true} {
				s := open(t)
				b := noise(size)
				h := put(t, s, b)
				if treeFirst {
					if _, err := s.Slice(h, 0, int64(min(size, SliceSize))); err != nil {
						t.Fatal(err)
					}
				}
				damage(t, s, h, int64(size)-1, cut)
				if err := s.Verify(h); !errors.Is(err, ErrDamaged) {
					t.Errorf("%d cut=%v: Verify: %v", size, cut, err)
				}
				off := int64(size-1) / SliceSize * SliceSize
				_, err := s.Slice(h, off, int64(size)-off)
				if !errors.Is(err, ErrDamaged) && !(cut && errors.Is(err, ErrRange)) {
					t.Errorf("%d cut=%v: Slice: %v", size, cut, err)
				}
				// Storing the bytes again repairs the object.
				put(t, s, b)
				if err := s.Verify(h); err != nil {
					t.Error(err)
				}
				if _, err := s.Slice(h, off, int64(size)-off); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestConcurrentPuts(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 10 {
				put(t, s, noise(i*1000+g%2))
				if err := s.Sync(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		if err := s.Verify(Sum(noise(i * 1000))); err != nil {
			t.Error(err)
		}
	}
}
