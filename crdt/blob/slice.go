package blob

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sync"

	"lukechampine.com/blake3/bao"
	"lukechampine.com/blake3/guts"
)

// A slice is a part of an object together with the hashes that lead from it to the object's
// name: the size of the object (8 bytes, little endian), then, in pre-order, the pairs of
// hashes above the part and the bytes of the part. It is Bao's slice format with groups of
// SliceSize bytes.
const (
	SliceSize = 1 << 20        // bytes; slices begin at multiples of it
	MaxSlice  = 16 * SliceSize // bytes of an object that one slice can carry

	group      = 10 // SliceSize is 1024 << group bytes
	headerSize = 8
	pairSize   = 64
)

// Slice returns the slice of the object h that carries the n bytes at off. off must be a
// multiple of SliceSize, and so must n, unless the slice reaches the end of the object; n is
// at most MaxSlice. It fails with ErrRange, ErrNotHere or ErrDamaged, and returns nothing
// that does not verify.
func (s *Store) Slice(h Hash, off, n int64) ([]byte, error) {
	f, err := s.Open(h)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fail("object", h.String(), err)
	}
	size := st.Size()
	if !validRange(size, off, n) {
		return nil, fmt.Errorf("object %s: %d bytes at %d of %d: %w", h, n, off, size, ErrRange)
	}
	t, err := s.tree(h, f, size)
	if err != nil {
		return nil, err
	}
	b := make([]byte, headerSize, encodedLen(size, off, n))
	binary.LittleEndian.PutUint64(b, uint64(size))
	b, err = t.appendSlice(b, f, size, off, n)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("object %s: %w: it is cut short", s.Path(h), ErrDamaged)
	case err != nil:
		return nil, fail("object", h.String(), err)
	}
	if _, ok := bao.VerifySlice(b, group, uint64(off), uint64(n), h); !ok {
		return nil, fmt.Errorf("object %s: %w: its bytes have another hash", s.Path(h), ErrDamaged)
	}
	return b, nil
}

// validRange reports whether a slice can carry these bytes of an object.
func validRange(size, off, n int64) bool {
	if off < 0 || n < 0 || n > MaxSlice || off%SliceSize != 0 || off > size || n > size-off {
		return false
	}
	atEnd := off+n == size
	return (n > 0 || size == 0) && (n%SliceSize == 0 || atEnd)
}

// encodedLen is how long the slice of such a range is.
func encodedLen(size, off, n int64) int64 {
	var pairs func(pos, length int64) int64
	pairs = func(pos, length int64) int64 {
		if length <= SliceSize || pos >= off+n || off >= pos+length {
			return 0
		}
		mid := leftLen(length)
		return 1 + pairs(pos, mid) + pairs(pos+mid, length-mid)
	}
	return headerSize + pairs(0, size)*pairSize + n
}

// leftLen is how many of length bytes, more than SliceSize, lie below the left one of the
// two hashes above them: the largest power of two that leaves something for the right one.
func leftLen(length int64) int64 { return 1 << (bits.Len64(uint64(length)-1) - 1) }

// tree is the pairs of hashes above the groups of an object, in pre-order.
type tree []byte

func treeLen(size int64) int64 {
	groups := max(1, (size+SliceSize-1)/SliceSize)
	return (groups - 1) * pairSize
}

// appendSlice appends the pairs and bytes of a slice to b.
func (t tree) appendSlice(b []byte, object io.ReaderAt, size, off, n int64) ([]byte, error) {
	var walk func(pos, length, node int64) error
	walk = func(pos, length, node int64) error {
		if size > 0 && (pos >= off+n || off >= pos+length) {
			return nil
		}
		if length <= SliceSize {
			at := len(b)
			b = b[:at+int(length)]
			_, err := io.ReadFull(io.NewSectionReader(object, pos, length), b[at:])
			return err
		}
		b = append(b, t[node*pairSize:][:pairSize]...)
		mid := leftLen(length)
		if err := walk(pos, mid, node+1); err != nil {
			return err
		}
		return walk(pos+mid, length-mid, node+mid/SliceSize)
	}
	err := walk(0, size, 0)
	return b, err
}

// leadsTo reports whether the pairs, from the root down, are those of the object h.
func (t tree) leadsTo(h Hash, size int64) bool {
	if int64(len(t)) != treeLen(size) {
		return false
	}
	var check func(cv [8]uint32, length, node int64, flags uint32) bool
	check = func(cv [8]uint32, length, node int64, flags uint32) bool {
		if length <= SliceSize {
			return true // this hash is of bytes, which are verified when they are sent
		}
		pair := t[node*pairSize:][:pairSize]
		l, r := words(pair[:32]), words(pair[32:])
		mid := leftLen(length)
		return guts.ChainingValue(guts.ParentNode(l, r, &guts.IV, flags)) == cv &&
			check(l, mid, node+1, 0) && check(r, length-mid, node+mid/SliceSize, 0)
	}
	return check(words(h[:]), size, 0, guts.FlagRoot)
}

func words(b []byte) (w [8]uint32) {
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return w
}

// tree returns the tree of the object h, which is open as f: from memory, from its file, or
// made by reading the object once.
func (s *Store) tree(h Hash, f *os.File, size int64) (tree, error) {
	if treeLen(size) == 0 {
		return nil, nil
	}
	if t := s.trees.get(h); t != nil {
		return t, nil
	}
	t, err := os.ReadFile(s.treePath(h))
	if err == nil && tree(t).leadsTo(h, size) {
		s.trees.put(h, t)
		return t, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail("hash tree of", h.String(), err)
	}
	buf := make(writerAt, headerSize+treeLen(size))
	root, err := bao.Encode(buf, onlyReader{io.NewSectionReader(f, 0, size)}, size, group, true)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fail("object", h.String(), err)
	}
	if err != nil || root != h {
		return nil, fmt.Errorf("object %s: %w: its bytes have another hash", s.Path(h), ErrDamaged)
	}
	t = buf[headerSize:]
	s.trees.put(h, t)
	// Only a memo for the next start: no harm if it is not written, or torn.
	_ = os.WriteFile(s.treePath(h), t, 0o600)
	return t, nil
}

func (s *Store) treePath(h Hash) string { return filepath.Join(s.dir, treesDir, h.String()) }

// writerAt is memory that bao can write to.
type writerAt []byte

func (w writerAt) WriteAt(p []byte, off int64) (int, error) { return copy(w[off:], p), nil }

// treeCache keeps the trees of the objects that were sent last.
type treeCache struct {
	mu    sync.Mutex
	trees map[Hash]tree
	order []Hash // oldest first
	bytes int
}

const treeCacheBytes = 4 << 20 // the trees of 64 GiB of objects

func (c *treeCache) get(h Hash) tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trees[h]
}

func (c *treeCache) put(h Hash, t tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trees == nil {
		c.trees = map[Hash]tree{}
	}
	if c.trees[h] != nil {
		return
	}
	c.trees[h] = t
	c.order = append(c.order, h)
	c.bytes += len(t)
	for c.bytes > treeCacheBytes && len(c.order) > 1 {
		c.bytes -= len(c.trees[c.order[0]])
		delete(c.trees, c.order[0])
		c.order = c.order[1:]
	}
}

func (c *treeCache) drop(h Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.trees[h]; t != nil {
		c.bytes -= len(t)
		delete(c.trees, h)
		c.order = removed(c.order, h)
	}
}

func removed(hs []Hash, h Hash) []Hash {
	for i := range hs {
		if hs[i] == h {
			return append(hs[:i:i], hs[i+1:]...)
		}
	}
	return hs
}
