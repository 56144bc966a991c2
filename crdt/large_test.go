package crdt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// What one Update makes may be more than an entry holds: it is sealed as several, and another
// device takes them.
func TestLargeUpdate(t *testing.T) {
	a, b := pair(t)
	r := rand.NewChaCha8([32]byte{1})
	var texts []string
	for range 2 {
		t := make([]byte, 15<<20)
		_, _ = r.Read(t)
		for i := range t {
			t[i] = max(t[i]&127, 1) // seven bits of every eight are chance
		}
		texts = append(texts, string(t))
	}
	a.update(func(tx *crdt.Tx) error {
		if err := tx.Label(crdt.NewActionID(), "large"); err != nil {
			return err
		}
		for i, text := range texts {
			if _, _, err := tx.Create(crdt.Root, fmt.Sprint(i), 0o644, crdt.NewContent{Text: text}); err != nil {
				return err
			}
		}
		return nil
	})
	a.reopen()
	sync(t, a, b)
	for i, text := range texts {
		if b.read(fmt.Sprint("/", i)).Text != text {
			t.Errorf("%d is another text", i)
		}
	}
	// It is one action all the same.
	if u := a.undo(false); len(u.Left) > 0 || a.dump() != "" {
		t.Errorf("undone: %+v, but there is\n%.200s", u, a.dump())
	}
}

// fullDisk has no space left while it is full.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
}

func (d *fullDisk) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := d.FS.GetDiskUsage(path)
	if d.full.Load() {
		u.AvailBytes = 0
	}
	return u, err
}

// Where the disk is full in the middle of a large Update, what was stored before stands, and
// whoever watches hears of it.
func TestLargeUpdateOnFullDisk(t *testing.T) {
	a, _ := pair(t)
	disk := &fullDisk{FS: vfs.Default}
	a.options = crdt.Options{}.On(disk)
	a.reopen()
	for _, n := range []int{5000, 10000} { // it fails at the end, and on the way
		top := fmt.Sprint("d", n)
		view := listen(t, a.f)
		err := a.f.Update(func(tx *crdt.Tx) error {
			d, err := tx.Mkdir(crdt.Root, top, 0o755)
			for i := range n {
				if i == 4500 {
					disk.full.Store(true)
				}
				if err == nil {
					_, err = tx.Mkdir(d, fmt.Sprint(i), 0o755)
				}
			}
			return nil
		})
		if disk.full.Store(false); !errors.Is(err, crdt.ErrNoSpace) {
			t.Fatal(err)
		}
		if is, err := a.f.ReadDir(a.node(top).Node); err != nil || len(is) < 4000 || len(is) > 4500 {
			t.Errorf("%d of %d stand, %v", len(is), n, err)
		}
		if err := view.check(); err != nil {
			t.Error(err)
		}
	}
}

// An entry that is small and unpacks to a million operations is refused, and costs little.
func TestManyOperations(t *testing.T) {
	a, b, key := withMember(t)
	for n, want := range map[int]error{crdt.MaxOps: nil, crdt.MaxOps + 1: crdt.ErrEntry, 1 << 20: crdt.ErrEntry} {
		e, err := feed.Seal(key, a.f.Key(), feed.Draft{
			Folder: a.f.ID(), Feed: feed.ID{Device: feed.DeviceOf(key), Run: uint64(n)}, Seq: 1, Time: time.Unix(0, 0),
		}, append(binary.BigEndian.AppendUint32([]byte{0x9a}, uint32(n)), bytes.Repeat([]byte{0xa0}, n)...)) // n empty operations
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []*device{a, b} {
			if _, err := d.f.Receive([]*feed.Entry{e}); !errors.Is(err, want) {
				t.Errorf("%d operations in %d bytes: %v, want %v", n, len(e.Bytes()), err, want)
			}
		}
	}
	sync(t, a, b)
	same(t, a, b)
}
