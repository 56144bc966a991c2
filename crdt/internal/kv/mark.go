package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/blake3"
)

// Pebble takes a log that stops making sense for one that a crash cut short there. That is
// right for what was not synced, but would make damage inside of what was synced look like
// an older database. So every commit carries its number, and the file of the mark says which
// number was durable at least, and how much of which manifest (the list of the files that
// make up the database): a database that ends before that is damaged.

// countKey holds the number of the newest commit. No other key is as small.
var countKey = []byte{0}

// firstKey is the smallest key of a caller.
var firstKey = []byte{0, 0}

const (
	markName  = "SYNCED"
	markMagic = "sheaf synced 1\n\x00"
	markSize  = 16 + 3*8 + 32 // it lies inside of one sector
)

// claim is what was durable at least. The zero claim claims nothing.
type claim struct {
	Commit      uint64
	Manifest    uint64 // number of the file
	ManifestLen uint64
}

func (c claim) encode() []byte {
	b := []byte(markMagic)
	for _, n := range []uint64{c.Commit, c.Manifest, c.ManifestLen} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

// decodeClaim returns the zero claim for everything that encode did not make.
func decodeClaim(b []byte) claim {
	if len(b) != markSize {
		return claim{}
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(b[len(markMagic)+8*i:]) }
	c := claim{n(0), n(1), n(2)}
	if !bytes.Equal(c.encode(), b) {
		return claim{}
	}
	return c
}

// mark is the file of the claim. It is written after something was synced and never synced
// itself: an older claim only claims less.
type mark struct {
	mu    sync.Mutex
	f     vfs.File
	claim claim
}

// openMark opens or makes the mark in dir.
func openMark(fsys vfs.FS, dir string) (*mark, error) {
	f, err := fsys.OpenReadWrite(fsys.PathJoin(dir, markName), "sheaf-mark")
	if err != nil {
		return nil, err
	}
	b := make([]byte, markSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.Join(err, f.Close())
	}
	return &mark{f: f, claim: decodeClaim(b)}, nil
}

// committed claims that commit n is durable.
func (m *mark) committed(n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n <= m.claim.Commit {
		return nil
	}
	m.claim.Commit = n
	return m.write()
}

// reset claims less than before, where less is all there is.
func (m *mark) reset(n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claim.Commit = n
	return m.write()
}

// manifest claims that the first n bytes of a manifest are durable.
func (m *mark) manifest(number, n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claim.Manifest, m.claim.ManifestLen = number, n
	return m.write()
}

func (m *mark) write() error {
	_, err := m.f.WriteAt(m.claim.encode(), 0)
	return err
}

func (m *mark) close() error { return m.f.Close() }

// checkManifest fails with ErrDamaged when what was durable of the manifest does not read.
// A manifest that is not there is not the newest one, or Pebble misses it itself.
func (db *DB) checkManifest(c claim) error {
	name := manifestPrefix + fmt.Sprintf("%06d", c.Manifest)
	f, err := db.fs.Open(db.fs.PathJoin(db.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if uint64(st.Size()) < c.ManifestLen {
		return fmt.Errorf("%w: %s: %d bytes of %d are left", ErrDamaged, name, st.Size(), c.ManifestLen)
	}
	r := record.NewReader(io.LimitReader(f, int64(c.ManifestLen)), 0)
	for {
		rec, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
		}
	}
}

// checkMark fails with ErrDamaged when the database in dir ends before what its mark claims.
// It looks without changing anything: opening a database for writing would drop the log
// that may still hold what is missing.
func (db *DB) checkMark(c claim) error {
	if err := db.checkManifest(c); err != nil {
		return err
	}
	o := db.options()
	o.FS = db.fs
	o.Lock = db.lock
	o.ReadOnly = true
	p, err := openPebble(db.dir, o)
	if err != nil {
		return err
	}
	n, err := count(p)
	if err = errors.Join(err, p.Close()); err != nil {
		return err
	}
	if n < c.Commit {
		return fmt.Errorf("%w: it ends with commit %d, but commit %d was synced", ErrDamaged, n, c.Commit)
	}
	return nil
}

// count returns the number of the newest commit in p.
func count(p *pebble.DB) (uint64, error) {
	v, closer, err := p.Get(countKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: number of the newest commit: %d bytes", ErrDamaged, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}
