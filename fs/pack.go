package fs

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"

	"github.com/sheaf-fs/sheaf/crdt"
)

// The bytes of a small file that is new, or is written from its beginning, are in the
// journal itself until they are in the folder: making and removing a file in the home for
// each costs more than all the rest, and an fsync has three things to sync instead of one.
// So are those that are written into a text in place (inplace.go).

const (
	// packMost is how many bytes of a session the journal has at most.
	packMost = 32 << 10
	// piecesMost is in how many places of a text they are at most.
	piecesMost = 64
)

// piece is bytes of a session at an offset.
type piece struct {
	ID   uint64 `cbor:"1,keyasint"`
	Off  int64  `cbor:"2,keyasint"`
	Data []byte `cbor:"3,keyasint"`
}

// fits tells whether the piece leaves no hole, and what a session has in the journal small.
// into is the size of the text that its pieces are put into.
func (p piece) fits(have extents, into int64) bool {
	if p.Off < 0 || p.Off > max(into, have.end()) || p.Off > crdt.MaxText {
		return false
	}
	count, size := have.after(p.Off, len(p.Data))
	return count <= piecesMost && size <= packMost
}

// pack keeps bytes of a session in the journal, and reports whether it could: what
// is too large, or leaves a hole, belongs in a file.
func (j *journal) pack(p piece) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	have := j.packed[p.ID]
	if !p.fits(have, j.live[p.ID].Into) {
		return false, nil
	}
	if err := j.writePiece(p); err != nil {
		return true, err
	}
	j.packed[p.ID] = have.put(p.Off, p.Data)
	if j.bloated() {
		// Who writes the same place again and again ends no session. Nothing is lost where
		// this fails: the next piece tries again.
		_ = j.compact()
	}
	return true, nil
}

// writePiece is write of a change with a piece alone. Each write of a small file passes here, so
// its frame is put together by hand, in a buffer that is kept; a test holds it against the CBOR
// library's.
func (j *journal) writePiece(p piece) error {
	b := append(j.frame[:0], make([]byte, frameHead)...)
	b = append(b, cborMap|1, pieceKey, cborMap|3, 1)
	b = appendCBOR(b, cborUint, p.ID)
	b = append(b, 2)
	b = appendCBOR(b, cborUint, uint64(p.Off)) // not negative: it fits
	b = append(b, 3)
	b = appendCBOR(b, cborBytes, uint64(len(p.Data)))
	b = append(b, p.Data...)
	sealFrame(b)
	j.frame = b
	return j.append(b)
}

// pieceKey is the key of a change's Pack.
const pieceKey = 3

// Major types of CBOR.
const (
	cborUint  = 0 << 5
	cborBytes = 2 << 5
	cborMap   = 5 << 5
)

// appendCBOR appends the first bytes of an item, as short as can be.
func appendCBOR(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// packedText is what is packed of a session that is nothing else, as a text.
func (j *journal) packedText(id uint64) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if x := j.packed[id]; len(x) > 0 {
		return string(x[0].data)
	}
	return ""
}

// pieces is a copy of what is packed of a session.
func (j *journal) pieces(id uint64) extents {
	j.mu.Lock()
	defer j.mu.Unlock()
	x := slices.Clone(j.packed[id])
	for i := range x {
		x[i].data = slices.Clone(x[i].data)
	}
	return x
}

// readPacked puts what is packed of a session into bytes from an offset on.
func (j *journal) readPacked(id uint64, buf []byte, off int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.packed[id].over(buf, off)
}

// unpack moves a session's bytes, those of a text and what was put into it, to the file of its
// number, which may be there from a try that was cut short, and opens it. most is how many of
// them are still wanted. sync makes the file durable first, as what is in the journal may be.
func (j *journal) unpack(r record, under *crdt.Body, most int64, sync bool) (fd int, err error) {
	fd, err = j.writeFile(r, under, most)
	if err == nil && sync {
		if err = syscall.Fdatasync(fd); err == nil {
			err = j.sync() // the file's name
		}
	}
	if err == nil {
		r.Into = 0
		err = j.rebase(r)
	}
	if err != nil {
		if fd >= 0 {
			syscall.Close(fd)
		}
		os.Remove(j.path(r.ID))
		return -1, err
	}
	return fd, nil
}

// writeFile writes the file of a session's number.
func (j *journal) writeFile(r record, under *crdt.Body, most int64) (fd int, err error) {
	path := j.path(r.ID)
	fd, err = syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, fmt.Errorf("session %s: %w", path, err)
	}
	j.name()
	err = copyBody(fd, under, most)
	for _, e := range j.pieces(r.ID) {
		if e.off < most && err == nil {
			_, err = pwriteFull(fd, e.data[:min(int64(len(e.data)), most-e.off)], e.off)
		}
	}
	return fd, err
}

// rebase changes a session's record and forgets what was packed of it: that is in a file, or in
// the version that the record names now.
func (j *journal) rebase(r record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(change{Put: &r, Unpack: r.ID}); err != nil {
		return err
	}
	j.live[r.ID] = r
	delete(j.packed, r.ID)
	return nil
}

// unpack gives a session a file of its own. The caller holds the inode's mu.
func (s *session) unpack() error { return s.unpackFirst(math.MaxInt64) }

// unpackFirst is unpack for who wants the first bytes only.
func (s *session) unpackFirst(most int64) error {
	if s.packed == nil {
		return nil
	}
	fd, err := s.packed.unpack(s.record, s.under, most, s.Synced)
	if err == nil {
		s.fd, s.packed, s.under, s.Into = fd, nil, nil, 0
	}
	return err
}

// readAt reads the session's bytes, wherever they are.
func (s *session) readAt(buf []byte, off int64) (int, error) {
	switch {
	case s.packed != nil:
		buf = buf[:max(0, min(int64(len(buf)), s.size-off))]
		s.under.ReadAt(buf, int(off))
		s.packed.readPacked(s.ID, buf, off)
		return len(buf), nil
	case s.stored != nil:
		return preadFull(s.readOnly, buf, off)
	}
	return preadFull(s.fd, buf, off)
}

// toFile gives a session of an ended process a file of its own, if its bytes are
// in the journal.
func (j *journal) toFile(r record, under *crdt.Body) error {
	j.mu.Lock()
	_, ok := j.packed[r.ID]
	j.mu.Unlock()
	if !ok {
		return nil
	}
	fd, err := j.unpack(r, under, math.MaxInt64, true)
	if err == nil {
		err = syscall.Close(fd)
	}
	return err
}
