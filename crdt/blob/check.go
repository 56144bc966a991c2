package blob

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// All calls fn with every object, and with the path of every file among them that is none; then
// ok is false. An error of fn ends it and is returned.
func (s *Store) All(fn func(h Hash, path string, ok bool) error) error {
	root := filepath.Join(s.dir, objectsDir)
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err != nil {
			return fail("object store", path, err)
		}
		if e.IsDir() {
			return nil
		}
		var h Hash
		name := filepath.Base(filepath.Dir(path)) + e.Name()
		n, err := hex.Decode(h[:], []byte(name[:min(len(name), 2*len(h))]))
		return fn(h, path, err == nil && n == len(h) && path == s.Path(h) && e.Type().IsRegular())
	})
}

// SetAside moves the object h out of the store to the directory dir, under its name, and forgets
// what was kept for sending it. The object is not here any more.
func (s *Store) SetAside(h Hash, dir string) (to string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fail("setting aside", h.String(), err)
	}
	to = filepath.Join(dir, h.String())
	s.naming.Lock()
	err = os.Rename(s.Path(h), to)
	s.naming.Unlock()
	if err != nil {
		return "", fail("setting aside", h.String(), err)
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(s.Path(h)))); err != nil {
		return to, fail("setting aside", h.String(), err)
	}
	return to, s.Remove(h)
}
