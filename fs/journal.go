package fs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/fxamacker/cbor/v2"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A record is what a restart must know of one thing that was begun and is not
// yet in the folder: a write session, whose bytes are in the file of its
// number, or a removal or rename that waits.
type record struct {
	ID     uint64       `cbor:"1,keyasint"`
	Kind   recordKind   `cbor:"2,keyasint"`
	Node   crdt.NodeID  `cbor:"3,keyasint"`           // zero: a file that is not in the folder yet
	Parent crdt.NodeID  `cbor:"4,keyasint"`           // where it is, or is to be
	Name   string       `cbor:"5,keyasint"`           //
	Path   string       `cbor:"6,keyasint,omitempty"` // for people
	Mode   uint32       `cbor:"7,keyasint,omitempty"`
	Base   crdt.Version `cbor:"8,keyasint,omitempty"` // what the bytes were made from, as far as known
	Object bool         `cbor:"9,keyasint,omitempty"` // the base is not a text

	// Truncated: what was there is gone from the bytes, and the writer has not finished.
	Truncated bool `cbor:"10,keyasint,omitempty"`
	// Appended: the file holds only bytes to be added at the end.
	Appended bool `cbor:"11,keyasint,omitempty"`
	// Synced: the writer asked with fsync that these bytes last.
	Synced bool `cbor:"12,keyasint,omitempty"`
	// Mark names the count of appended bytes that are in the folder already.
	Mark uint64 `cbor:"13,keyasint,omitempty"`
	// Unnamed: the file has no name, and goes with whoever has it open.
	Unnamed bool `cbor:"14,keyasint,omitempty"`
	// Owner is whose a new or special file is, if not everybody else's.
	Owner []byte `cbor:"15,keyasint,omitempty"`
	Rdev  uint32 `cbor:"16,keyasint,omitempty"`
	// Into is the size of the text at Base, where what is packed was put into it: 0 where that is
	// all there is.
	Into int64 `cbor:"17,keyasint,omitempty"`
}

type recordKind uint8

const (
	sessionRecord recordKind = iota + 1
	moveRecord
	removeRecord
	specialRecord // a pipe, socket or device: it stays as long as its name
)

// journal holds the records of one folder in one append-only file, and the
// sessions' bytes beside it. A record is with the kernel when put returns, so
// it survives the death of the process; sync makes it survive a loss of power.
type journal struct {
	dir string

	mu   sync.Mutex
	file *os.File
	size int64
	next uint64

	live   map[uint64]record
	packed map[uint64]extents // bytes of sessions that have no file (pack.go)
	frame  []byte             // of the piece that was written last, at most packMost and its head

	syncing sync.Mutex // one sync at a time, taken before mu
	named   bool       // files got names that the disk may not have
	synced  bool       // what is live may have reached the disk
	ended   func()     // not nil: called when none of that is live any more; must not wait
}

const (
	journalName = "journal"
	frameHead   = 8 // length, checksum
	maxRecord   = 1 << 20
	compactAt   = 32 << 20
	emptyAt     = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// change is one frame of the file.
type change struct {
	Put  *record `cbor:"1,keyasint,omitempty"`
	Drop uint64  `cbor:"2,keyasint,omitempty"`

	Pack   *piece `cbor:"3,keyasint,omitempty"`
	Unpack uint64 `cbor:"4,keyasint,omitempty"` // may come with Put: both or neither
}

// openJournal reads the journal in dir, which it makes if need be. A frame cut
// short by a crash ends it: nothing after it was ever answered.
func openJournal(dir string) (*journal, error) {
	if _, err := os.Stat(dir); err != nil {
		if err := makeDurable(dir); err != nil {
			return nil, fmt.Errorf("journal %s: %w", dir, err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, journalName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	j := &journal{dir: dir, file: f, named: true}
	if err := j.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	return j, nil
}

// makeDurable makes a directory two levels below the home, with names that last.
func makeDurable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		fd, err := syscall.Open(d, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = syscall.Fsync(fd)
		syscall.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) load() error {
	b, err := os.ReadFile(j.file.Name())
	if err != nil {
		return err
	}
	j.live, j.packed, j.size = decodeJournal(b)
	if len(j.live) == 0 {
		j.size = 0
	}
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	for id := range j.live {
		j.next = max(j.next, id)
	}
	// A number is not used again while a file of it is there.
	entries, err := os.ReadDir(j.dir)
	for _, e := range entries {
		var id uint64
		if _, err := fmt.Sscanf(e.Name(), "%d", &id); err == nil {
			j.next = max(j.next, id)
		}
	}
	return err
}

// decodeJournal replays frames and tells how many bytes of b are whole.
func decodeJournal(b []byte) (live map[uint64]record, packed map[uint64]extents, whole int64) {
	live, packed = map[uint64]record{}, map[uint64]extents{}
	at := 0
	for len(b)-at >= frameHead {
		n := int(binary.LittleEndian.Uint32(b[at:]))
		sum := binary.LittleEndian.Uint32(b[at+4:])
		if n == 0 || n > maxRecord || n > len(b)-at-frameHead {
			break
		}
		payload := b[at+frameHead : at+frameHead+n]
		var c change
		if crc32.Checksum(payload, castagnoli) != sum || cbor.Unmarshal(payload, &c) != nil {
			break
		}
		switch {
		case c.Put != nil:
			live[c.Put.ID] = *c.Put
			delete(packed, c.Unpack)
		case c.Pack != nil:
			if r, ok := live[c.Pack.ID]; !ok || !c.Pack.fits(packed[c.Pack.ID], r.Into) {
				return live, packed, int64(at)
			}
			packed[c.Pack.ID] = packed[c.Pack.ID].put(c.Pack.Off, c.Pack.Data)
		case c.Unpack != 0:
			delete(packed, c.Unpack)
		default:
			delete(live, c.Drop)
			delete(packed, c.Drop)
		}
		at += frameHead + n
	}
	return live, packed, int64(at)
}

func encodeFrame(c change) ([]byte, error) {
	payload, err := cbor.Marshal(c)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, frameHead, frameHead+len(payload)), payload...)
	sealFrame(b)
	return b, nil
}

// sealFrame fills the head of a frame.
func sealFrame(b []byte) {
	payload := b[frameHead:]
	binary.LittleEndian.PutUint32(b, uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(payload, castagnoli))
}

// number gives a new record its number.
func (j *journal) number() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next++
	return j.next
}

// put writes a record, new or changed.
func (j *journal) put(r record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(change{Put: &r}); err != nil {
		return err
	}
	j.live[r.ID] = r
	return nil
}

// drop ends a record: what it told of is in the folder, or is not wanted.
func (j *journal) drop(id uint64) error { return j.dropAll([]uint64{id}) }

// dropAll ends many at once.
func (j *journal) dropAll(ids []uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b []byte
	for _, id := range ids {
		if _, ok := j.live[id]; !ok {
			continue
		}
		delete(j.live, id)
		delete(j.packed, id)
		frame, err := encodeFrame(change{Drop: id})
		if err != nil {
			return err
		}
		b = append(b, frame...)
	}
	if len(b) == 0 {
		return nil
	}
	if len(j.live) == 0 && j.synced && j.ended != nil {
		j.synced = false
		j.ended() // or a loss of power would bring back what ended long ago
	}
	switch {
	case len(j.live) == 0 && j.size > emptyAt:
		return j.empty()
	case j.bloated():
		return j.compact()
	}
	return j.append(b)
}

// bloated tells whether most of the file is of what ended.
func (j *journal) bloated() bool {
	return j.size > compactAt && j.size > int64(len(j.live)+32*len(j.packed))*2048
}

// empty begins the file anew, when nothing is live. It is not done each time: to free the
// blocks of what was just synced makes the disk's own journal do more than appending does.
func (j *journal) empty() error {
	if err := j.file.Truncate(0); err != nil {
		return err
	}
	j.size = 0
	return nil
}

func (j *journal) write(c change) error {
	b, err := encodeFrame(c)
	if err != nil {
		return err
	}
	return j.append(b)
}

func (j *journal) append(b []byte) error {
	if _, err := j.file.WriteAt(b, j.size); err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	j.size += int64(len(b))
	return nil
}

// compact writes what is live to a new file that takes the old one's place.
func (j *journal) compact() error {
	var b []byte
	for _, r := range j.live {
		frame, err := encodeFrame(change{Put: &r})
		if err != nil {
			return err
		}
		b = append(b, frame...)
	}
	for id, x := range j.packed {
		if len(x) == 0 {
			x = extents{{}} // that there is nothing is what was written
		}
		for _, e := range x {
			frame, err := encodeFrame(change{Pack: &piece{id, e.off, e.data}})
			if err != nil {
				return err
			}
			b = append(b, frame...)
		}
	}
	path := filepath.Join(j.dir, journalName)
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	j.file.Close()
	j.file, j.size, j.named, j.synced = f, int64(len(b)), true, len(j.live) > 0
	return nil
}

// sync makes the records, and the names of the sessions' files, durable. Where no file got a
// name since the last time, that is one sync of the disk.
func (j *journal) sync() error {
	j.syncing.Lock() // whoever finds named false must not return before the directory is synced
	defer j.syncing.Unlock()
	j.mu.Lock()
	j.synced = j.synced || len(j.live) > 0
	named := j.named
	fd, err := syscall.Dup(int(j.file.Fd()))
	if err == nil {
		j.named = false
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	err = syscall.Fdatasync(fd)
	if named {
		if derr := j.syncNames(); derr != nil {
			j.name()
			err = errors.Join(err, derr)
		}
	}
	return err
}

func (j *journal) syncNames() error {
	d, err := syscall.Open(j.dir, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(d)
	return syscall.Fsync(d)
}

// name says that a file in the journal's directory has got a name: after it has, or a sync
// in between would count it as durable.
func (j *journal) name() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.named = true
}

// path is where a session's bytes are.
func (j *journal) path(id uint64) string { return filepath.Join(j.dir, fmt.Sprintf("%d", id)) }

// records lists what is live.
func (j *journal) records() []record {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]record, 0, len(j.live))
	for _, r := range j.live {
		out = append(out, r)
	}
	return out
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}
