package blob

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
	"lukechampine.com/blake3/bao"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// checkpointBytes is how much may be received before what was received is made durable:
// what a crash can cost.
const checkpointBytes = 64 << 20

// MaxObject is the size, in bytes, of the largest object that can be received.
const MaxObject = 1 << 44

// Range is a part of an object, in bytes.
type Range struct{ Off, Len int64 }

// Incoming is an object that is being received, from any number of senders at once. It is
// safe for concurrent use.
type Incoming struct {
	s    *Store
	hash Hash
	size int64

	users int // calls of Receive without their Close; guarded by s.receiving

	mu      sync.Mutex
	f       *os.File
	got     bitmap // the groups that are here
	left    int64  // groups that are not
	unsaved int64  // bytes since the last checkpoint
	resumed bool   // some of the bytes are from an earlier time
	done    bool
}

// Receive begins to receive the object h of size bytes, or goes on with it; what an earlier
// process received and made durable counts. Everyone who receives one object at one time
// gets the same Incoming, and everyone must Close it. If the object is here already, there is
// nothing missing. It fails with ErrRange when nothing of that size can have the name h,
// and with ErrFull when there is no room for the rest.
func (s *Store) Receive(h Hash, size int64) (*Incoming, error) {
	if size < 0 || size > MaxObject || (size == 0) != (h == Sum(nil)) {
		return nil, fmt.Errorf("receiving object %s of %d bytes: %w", h, size, ErrRange)
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	if in := s.coming[h]; in != nil && !in.Done() {
		if in.size != size {
			return nil, fmt.Errorf("receiving object %s of %d bytes, not %d: %w", h, in.size, size, ErrRange)
		}
		in.users++
		return in, nil
	}
	in := &Incoming{s: s, hash: h, size: size, users: 1, got: newBitmap(size)}
	switch have, err := s.Size(h); {
	case err == nil && have == size:
		in.done = true
		return in, nil // not in coming: there is nothing to share
	case err == nil:
		return nil, fmt.Errorf("receiving object %s of %d bytes: %w: it is here with %d", h, size, ErrRange, have)
	case !errors.Is(err, ErrNotHere):
		return nil, err
	}
	if err := in.open(); err != nil {
		return nil, fail("receiving object", h.String(), err)
	}
	s.coming[h] = in
	return in, nil
}

// open opens the file of what was received, and believes of it what was noted as durable.
func (in *Incoming) open() error {
	f, err := os.OpenFile(in.s.partialPath(in.hash), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	in.f = f
	in.left = groupsOf(in.size)
	note, err := os.ReadFile(in.s.gotPath(in.hash))
	st, statErr := f.Stat()
	if err == nil && statErr == nil && st.Size() == in.size && !fault.On("blob-start-over") {
		if got, ok := decodeGot(note, in.size); ok {
			in.got = got
			in.left -= got.count()
			in.resumed = true
		}
	}
	err = nil
	if !in.resumed {
		err = errors.Join(f.Truncate(0), f.Truncate(in.size))
	}
	if err == nil {
		err = in.room()
	}
	if err == nil && in.left == 0 {
		// Everything had arrived, but a crash came before it got its name.
		err = in.finish()
	}
	if err != nil {
		f.Close()
	}
	return err
}

// room fails early where the rest cannot fit.
func (in *Incoming) room() error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(in.f.Fd()), &st); err != nil {
		return nil // writing will tell
	}
	if need := uint64(in.left) * SliceSize; st.Bavail*uint64(st.Bsize) < need {
		return fmt.Errorf("%w: %d bytes are needed", unix.ENOSPC, need)
	}
	return nil
}

// Size is the size of the object.
func (in *Incoming) Size() int64 { return in.size }

// Done reports whether all of it is here: then it is an object.
func (in *Incoming) Done() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.done
}

// Missing returns what is not here yet, ascending, in ranges as long as possible; they begin
// at multiples of SliceSize.
func (in *Incoming) Missing() []Range {
	in.mu.Lock()
	defer in.mu.Unlock()
	var rs []Range
	if in.done {
		return nil
	}
	for g := range groupsOf(in.size) {
		if in.got.has(g) {
			continue
		}
		off := g * SliceSize
		n := min(SliceSize, in.size-off)
		if last := len(rs) - 1; last >= 0 && rs[last].Off+rs[last].Len == off {
			rs[last].Len += n
		} else {
			rs = append(rs, Range{off, n})
		}
	}
	return rs
}

// Write takes a slice, as Store.Slice made it, that begins at off. It fails with ErrRefused,
// and changes nothing, when the slice does not verify. With the last one the object becomes
// one of the store's; Store.Sync makes it durable.
func (in *Incoming) Write(off int64, slice []byte) error {
	n, ok := in.carried(off, slice)
	if !ok {
		return fmt.Errorf("receiving object %s: slice at %d: %w", in.hash, off, ErrRefused)
	}
	data, ok := bao.VerifySlice(slice, group, uint64(off), uint64(n), in.hash)
	if !ok {
		return fmt.Errorf("receiving object %s: slice at %d: %w", in.hash, off, ErrRefused)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil
	}
	if in.f == nil {
		return fmt.Errorf("receiving object %s: %w", in.hash, fs.ErrClosed)
	}
	if err := in.write(off, data); err != nil {
		return fail("receiving object", in.hash.String(), err)
	}
	return nil
}

// carried returns how many bytes of the object a slice at off carries, by its length.
func (in *Incoming) carried(off int64, slice []byte) (int64, bool) {
	if len(slice) < headerSize || binary.LittleEndian.Uint64(slice) != uint64(in.size) || off < 0 || off > in.size {
		return 0, false
	}
	for n := int64(0); n < MaxSlice && off+n < in.size; {
		n = min(n+SliceSize, in.size-off)
		if validRange(in.size, off, n) && encodedLen(in.size, off, n) == int64(len(slice)) {
			return n, true
		}
	}
	return 0, false
}

func (in *Incoming) write(off int64, data []byte) error {
	if _, err := in.f.WriteAt(data, off); err != nil {
		return err
	}
	for g := off / SliceSize; g*SliceSize < off+int64(len(data)); g++ {
		if in.got.set(g) {
			in.left--
		}
	}
	in.unsaved += int64(len(data))
	switch {
	case in.left == 0:
		return in.finish()
	case in.unsaved >= checkpointBytes:
		return in.checkpoint()
	}
	return nil
}

// finish makes an object of what was received. What was received in one go was verified; what
// was read back from disk since is verified as a whole.
func (in *Incoming) finish() error {
	if in.resumed {
		d := blake3.New()
		if _, err := io.CopyBuffer(d, onlyReader{io.NewSectionReader(in.f, 0, in.size)}, make([]byte, 256<<10)); err != nil {
			return err
		}
		if Hash(d.Sum(nil)) != in.hash {
			in.startAgain()
			return in.forget()
		}
	}
	if err := in.s.install(in.f, in.hash); err != nil {
		in.startAgain()
		return err
	}
	in.done = true
	return in.forget()
}

// startAgain forgets what is here: it has gone bad, or may have, because what could not be
// synced may be dropped without another word.
func (in *Incoming) startAgain() {
	in.got, in.left, in.unsaved, in.resumed = newBitmap(in.size), groupsOf(in.size), 0, false
}

// checkpoint makes durable what was received, then says so.
func (in *Incoming) checkpoint() error {
	if err := in.f.Sync(); err != nil {
		in.startAgain()
		return err
	}
	path := in.s.gotPath(in.hash)
	f, err := os.CreateTemp(filepath.Dir(path), putPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(encodeGot(in.got, in.size))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	in.unsaved = 0
	return nil
}

// forget removes the note of what was received.
func (in *Incoming) forget() error {
	err := os.Remove(in.s.gotPath(in.hash))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Close ends one use of the Incoming; the last one makes durable what was received.
func (in *Incoming) Close() error {
	in.s.receiving.Lock()
	defer in.s.receiving.Unlock()
	if in.users--; in.users > 0 {
		return nil
	}
	if in.s.coming[in.hash] == in {
		delete(in.s.coming, in.hash)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.f == nil {
		return nil
	}
	var err error
	if !in.done && in.unsaved > 0 {
		err = in.checkpoint()
	}
	err = errors.Join(err, in.f.Close())
	in.f = nil
	return fail("receiving object", in.hash.String(), err)
}

func (s *Store) partialPath(h Hash) string { return filepath.Join(s.dir, partialDir, h.String()) }
func (s *Store) gotPath(h Hash) string     { return s.partialPath(h) + ".got" }

func groupsOf(size int64) int64 { return (size + SliceSize - 1) / SliceSize }

// bitmap says which groups of an object are here.
type bitmap []byte

func newBitmap(size int64) bitmap { return make(bitmap, (groupsOf(size)+7)/8) }

func (b bitmap) has(g int64) bool { return b[g/8]>>(g%8)&1 == 1 }

// set reports whether it changed anything.
func (b bitmap) set(g int64) bool {
	was := b.has(g)
	b[g/8] |= 1 << (g % 8)
	return !was
}

func (b bitmap) count() (n int64) {
	for g := range int64(len(b)) * 8 {
		if b.has(g) {
			n++
		}
	}
	return n
}

// The note of what was received: a magic, the size of the object, the bitmap, and the hash
// of all that. What does not read back exactly is no note.
const gotMagic = "sheaf got 1\n"

func encodeGot(got bitmap, size int64) []byte {
	b := append([]byte(gotMagic), binary.LittleEndian.AppendUint64(nil, uint64(size))...)
	b = append(b, got...)
	sum := Sum(b)
	return append(b, sum[:]...)
}

func decodeGot(b []byte, size int64) (bitmap, bool) {
	got := newBitmap(size)
	at := len(gotMagic) + 8
	if len(b) != at+len(got)+len(Hash{}) {
		return nil, false
	}
	copy(got, b[at:])
	for g := groupsOf(size); g < int64(len(got))*8; g++ {
		if got.has(g) {
			return nil, false
		}
	}
	return got, bytes.Equal(encodeGot(got, size), b)
}
