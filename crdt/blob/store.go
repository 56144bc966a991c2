// Package blob keeps objects: immutable bytes named by their BLAKE3, each one a file.
//
// It promises that
//   - an object is whole or not there: its bytes are synced before it gets its name;
//   - after Sync, every object that was there before it survives the death of the machine;
//   - bytes from elsewhere are verified before they are written, and an interrupted transfer
//     goes on where it was last made durable;
//   - an object that has gone bad on disk is an error, ErrDamaged, and is never sent; storing
//     the same bytes again repairs it.
//
// It never removes an object by itself, and knows nothing of what objects mean or who wants
// them. A store belongs to one process at a time; the lock of the home sees to that.
package blob

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// Hash is the BLAKE3-256 of an object's bytes, and its name.
type Hash [32]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Sum returns the name of b.
func Sum(b []byte) Hash { return blake3.Sum256(b) }

// Kinds of errors; test for them with errors.Is.
var (
	ErrNotHere = errors.New("object is not here")
	ErrDamaged = errors.New("object damaged")
	ErrRange   = errors.New("no such range")
	ErrRefused = errors.New("bytes do not verify")         // from whoever sent them
	ErrFull    = errors.New("no space left on the device") // comes with the system's error
)

// Store is a directory of objects. It is safe for concurrent use.
type Store struct {
	naming sync.Mutex // held while an object gets its name, or an old one loses it

	dir string // of the home

	syncing sync.Mutex          // held while a directory is no longer in dirty but not durable yet
	mu      sync.Mutex          // the last lock to take
	dirty   map[string]struct{} // directories with entries that are not durable

	receiving sync.Mutex // the first lock to take
	coming    map[Hash]*Incoming

	trees treeCache
}

const (
	objectsDir = "objects" // objects/ab/cdef…
	partialDir = "partial" // what is being written or received
	treesDir   = "trees"   // hash trees of objects that were sent; they can be made again
	putPrefix  = "put-"
)

// Open opens the store in dir, the directory of a home, and makes what is missing of it. It
// removes what an interrupted Put left.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, dirty: map[string]struct{}{}, coming: map[Hash]*Incoming{}}
	for _, name := range []string{objectsDir, partialDir, treesDir} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, fail("object store", dir, err)
		}
	}
	// Made at once and synced once, so that later only entries of these need syncing.
	for i := range 256 {
		err := os.Mkdir(filepath.Join(dir, objectsDir, hex.EncodeToString([]byte{byte(i)})), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fail("object store", dir, err)
		}
	}
	for _, d := range []string{filepath.Join(dir, objectsDir), dir} {
		if err := syncDir(d); err != nil {
			return nil, fail("object store", dir, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, partialDir, putPrefix+"*"))
	if err != nil {
		return nil, fail("object store", dir, err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fail("object store", dir, err)
		}
	}
	return s, nil
}

// Put stores what r gives and returns its name and size. The object is durable after Sync.
// On an error, of r or of the disk, nothing is stored.
func (s *Store) Put(r io.Reader) (Hash, int64, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, partialDir), putPrefix+"*")
	if err != nil {
		return Hash{}, 0, fail("storing an object in", s.dir, err)
	}
	d := blake3.New()
	n, err := io.CopyBuffer(io.MultiWriter(onlyWriter{f}, d), r, make([]byte, 256<<10))
	h := Hash(d.Sum(nil))
	if err == nil {
		err = s.install(f, h)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return Hash{}, 0, fail("storing an object in", s.dir, err)
	}
	return h, n, nil
}

// PutFile stores the regular file at path, which the caller gives up: nobody may write to it
// any more, and after success it is gone. It is moved where that is possible, else copied.
// On an error it is left where it is.
func (s *Store) PutFile(path string) (Hash, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Hash{}, 0, fail("storing", path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return Hash{}, 0, fail("storing", path, errors.Join(err, errors.New("not a regular file")))
	}
	d := blake3.New()
	n, err := io.CopyBuffer(d, onlyReader{f}, make([]byte, min(st.Size()+1, 256<<10)))
	if err != nil {
		return Hash{}, 0, fail("storing", path, err)
	}
	h := Hash(d.Sum(nil))
	if err := s.install(f, h); err == nil {
		return h, n, nil
	} else if !errors.Is(err, syscall.EXDEV) {
		return Hash{}, 0, fail("storing", path, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Hash{}, 0, fail("storing", path, err)
	}
	if h, n, err = s.Put(f); err != nil {
		return Hash{}, 0, err
	}
	return h, n, fail("storing", path, os.Remove(path))
}

// install gives f, whose bytes have the hash h, its name as an object. An object that is
// there already is replaced: should it have gone bad, it is good again.
func (s *Store) install(f *os.File, h Hash) error {
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	path := s.Path(h)
	s.naming.Lock()
	defer s.naming.Unlock()
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	s.markDirty(filepath.Dir(path))
	return nil
}

// Path returns where the object h is or would be. It must not be written to.
func (s *Store) Path(h Hash) string {
	name := h.String()
	return filepath.Join(s.dir, objectsDir, name[:2], name[2:])
}

// Has reports whether the object h is here.
func (s *Store) Has(h Hash) bool {
	_, err := s.Size(h)
	return err == nil
}

// Size returns the size of the object h, or ErrNotHere.
func (s *Store) Size(h Hash) (int64, error) {
	st, err := os.Lstat(s.Path(h))
	if err != nil {
		return 0, missing(h, err)
	}
	return st.Size(), nil
}

// Open opens the object h for reading, or fails with ErrNotHere. The caller closes it.
func (s *Store) Open(h Hash) (*os.File, error) {
	f, err := os.Open(s.Path(h))
	if err != nil {
		return nil, missing(h, err)
	}
	return f, nil
}

// Verify reads the object h and fails with ErrDamaged when its bytes are not what its name
// says, and with ErrNotHere when it is not here. It leaves it where it is.
func (s *Store) Verify(h Hash) error {
	f, err := s.Open(h)
	if err != nil {
		return err
	}
	defer f.Close()
	d := blake3.New()
	if _, err := io.CopyBuffer(d, onlyReader{f}, make([]byte, 256<<10)); err != nil {
		return fail("object", h.String(), err)
	}
	if Hash(d.Sum(nil)) != h && !fault.On("blob-trust-disk") {
		return fmt.Errorf("object %s: %w: its bytes have another hash", s.Path(h), ErrDamaged)
	}
	return nil
}

// Remove removes the object h, and what was received of it, unless it is being received
// now. It is no error if there is nothing.
func (s *Store) Remove(h Hash) error {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	s.trees.drop(h)
	paths := []string{s.Path(h), s.treePath(h)}
	if s.coming[h] == nil {
		paths = append(paths, s.gotPath(h), s.partialPath(h))
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail("removing object", h.String(), err)
		}
	}
	s.markDirty(filepath.Dir(s.Path(h)))
	return nil
}

// RemoveOld is Remove for an object that was stored, or stored again, before a time; it reports
// whether it was. Storing it at the same time wins.
func (s *Store) RemoveOld(h Hash, before time.Time) (bool, error) {
	s.naming.Lock()
	defer s.naming.Unlock()
	var st unix.Stat_t
	if err := unix.Lstat(s.Path(h), &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, fail("removing object", h.String(), err)
	}
	// Renaming a file into the store sets its ctime, which no program can set.
	if !time.Unix(st.Ctim.Unix()).Before(before) {
		return false, nil
	}
	return true, s.Remove(h)
}

func (s *Store) markDirty(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty[dir] = struct{}{}
}

// Sync makes every object durable that was there when it was called.
func (s *Store) Sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = map[string]struct{}{}
	s.mu.Unlock()
	for d := range dirty {
		if err := syncDir(d); err != nil {
			for d := range dirty {
				s.markDirty(d)
			}
			return fail("syncing", d, err)
		}
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fail says what failed, and marks the kinds of errors that callers look for.
func fail(what, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s %s: %w: %w", what, name, ErrFull, err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("%s %s: %w: %w", what, name, ErrDamaged, err)
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}

// missing is fail for the object h, which may not be here at all.
func missing(h Hash, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("object %s: %w", h, ErrNotHere)
	}
	return fail("object", h.String(), err)
}

// onlyWriter and onlyReader keep io.Copy from handing the copying to the file, which would
// choose a small buffer.
type onlyWriter struct{ io.Writer }
type onlyReader struct{ io.Reader }
