package fs

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"
)

// The bytes of a small file that is new, or is written from its beginning, are in the
// journal itself until they are in the folder: making and removing a file in the home for
// each costs more than all the rest, and an fsync has three things to sync instead of one.

// packMost is the size from which on a session has a file of its own.
const packMost = 32 << 10

// piece is bytes of a session at an offset.
type piece struct {
	ID   uint64 `cbor:"1,keyasint"`
	Off  int64  `cbor:"2,keyasint"`
	Data []byte `cbor:"3,keyasint"`
}

// fits tells whether the piece leaves no hole and no session too large.
func (p piece) fits(have []byte) bool {
	return p.Off >= 0 && p.Off <= int64(len(have)) && p.Off <= packMost && len(p.Data) <= packMost-int(p.Off)
}

// onto puts the piece into what was packed before.
func (p piece) onto(have []byte) []byte {
	n := copy(have[p.Off:], p.Data)
	return append(have, p.Data[n:]...)
}

// pack keeps bytes of a session in the journal, and reports whether it could: what
// is too large, or leaves a hole, belongs in a file.
func (j *journal) pack(p piece) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !p.fits(j.packed[p.ID]) {
		return false, nil
	}
	if err := j.writePiece(p); err != nil {
		return true, err
	}
	j.packed[p.ID] = p.onto(j.packed[p.ID])
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

// packedText is what is packed of a session, as a text.
func (j *journal) packedText(id uint64) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.packed[id])
}

// packedBytes is a copy of what is packed of a session.
func (j *journal) packedBytes(id uint64) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.packed[id])
}

// readPacked reads from what is packed of a session.
func (j *journal) readPacked(id uint64, buf []byte, off int64) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.packed[id]
	return copy(buf, b[min(off, int64(len(b))):])
}

// unpack moves a session's bytes to the file of its number, which may be there from
// a try that was cut short, and opens it. sync makes the file durable first, as what
// is in the journal may be.
func (j *journal) unpack(id uint64, sync bool) (fd int, err error) {
	path := j.path(id)
	fd, err = syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, fmt.Errorf("session %s: %w", path, err)
	}
	j.name()
	_, err = pwriteFull(fd, j.packedBytes(id), 0)
	if err == nil && sync {
		if err = syscall.Fdatasync(fd); err == nil {
			err = j.sync() // the file's name
		}
	}
	if err == nil {
		err = j.unpacked(id)
	}
	if err != nil {
		syscall.Close(fd)
		os.Remove(path)
		return -1, err
	}
	return fd, nil
}

// unpacked records that a session's bytes are in a file now.
func (j *journal) unpacked(id uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(change{Unpack: id}); err != nil {
		return err
	}
	delete(j.packed, id)
	return nil
}

// unpack gives a session a file of its own. The caller holds the inode's mu.
func (s *session) unpack() error {
	if s.packed == nil {
		return nil
	}
	fd, err := s.packed.unpack(s.ID, s.Synced)
	if err == nil {
		s.fd, s.packed = fd, nil
	}
	return err
}

// readAt reads the session's bytes, wherever they are.
func (s *session) readAt(buf []byte, off int64) (int, error) {
	switch {
	case s.packed != nil:
		return s.packed.readPacked(s.ID, buf, off), nil
	case s.stored != nil:
		return preadFull(s.readOnly, buf, off)
	}
	return preadFull(s.fd, buf, off)
}

// toFile gives a session of an ended process a file of its own, if its bytes are
// in the journal.
func (j *journal) toFile(id uint64) error {
	j.mu.Lock()
	_, ok := j.packed[id]
	j.mu.Unlock()
	if !ok {
		return nil
	}
	fd, err := j.unpack(id, true)
	if err == nil {
		err = syscall.Close(fd)
	}
	return err
}
