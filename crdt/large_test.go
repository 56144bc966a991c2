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

// A member may make more versions of a file at once than an event can build on. What others save
// over them, and append, is in the file nonetheless; and who removes the file removes it.
func TestManyVersionsAtOnce(t *testing.T) {
	a, b := pair(t)
	for _, many := range []int{1025, 2100} {
		name := fmt.Sprint("f", many)
		n := a.create(name, "one\n")
		base := a.node(name).Version
		a.update(func(tx *crdt.Tx) error {
			for range many {
				if _, err := tx.Splice(n, base, crdt.Splice{Pos: 4, Ins: "x\n"}); err != nil {
					return err
				}
			}
			return nil
		})
		v := a.node(name).Version
		if len(v) != many {
			t.Fatalf("%d versions", len(v))
		}
		a.update(func(tx *crdt.Tx) error { return tx.Remove(n) })
		if _, err := a.f.Resolve(name); err == nil {
			t.Error("it is removed, and there")
		}
		was, err := a.f.ContentAt(n, v)
		if err != nil {
			t.Fatal(err)
		}
		text := was.Text + "typed\n"
		a.update(func(tx *crdt.Tx) error {
			if _, err := tx.Write(n, v, crdt.NewContent{Text: text}); err != nil {
				return err
			}
			_, err := tx.Append(n, []byte("appended\n"))
			return err
		})
		if got := a.read(name).Text; got != text+"appended\n" || len(a.node(name).Version) != 1 {
			t.Errorf("%d versions: %d bytes of %d", many, len(got), len(text)+9)
		}
	}
	sync(t, a, b)
	same(t, a, b)
}

// fullDisk has no space left while it is full, or is so once it was looked at so many times.
type fullDisk struct {
	vfs.FS
	full  atomic.Bool
	looks atomic.Int32
}

func (d *fullDisk) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := d.FS.GetDiskUsage(path)
	if d.full.Load() || d.looks.Load() > 0 && d.looks.Add(-1) == 0 {
		d.full.Store(true)
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
			tx.SetLocal(top, []byte("made"))
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
		if v, err := a.f.Local(top); v != nil || err != nil {
			t.Errorf("all of it was %s, %v", v, err)
		}
	}
}

// A ticket is used up by who is admitted, and by nobody else: also where what was pending before
// filled the entry, and the disk.
func TestRedeemOnFullDisk(t *testing.T) {
	defer crdt.SetFlushDelay(time.Hour)()
	a, _ := pair(t)
	disk := &fullDisk{FS: vfs.Default}
	a.options = crdt.Options{}.On(disk)
	a.reopen()
	c := newDevice(t, "cleo")
	secret, err := a.f.Invite()
	if err != nil {
		t.Fatal(err)
	}
	a.update(func(tx *crdt.Tx) error {
		for i := range 4096 {
			if _, err := tx.Mkdir(crdt.Root, fmt.Sprint(i), 0o755); err != nil {
				return err
			}
		}
		return nil
	})
	disk.looks.Store(2)
	if _, err := a.f.Redeem(secret, c.home.Device(), "cleo"); !errors.Is(err, crdt.ErrNoSpace) {
		t.Fatal(err)
	}
	disk.full.Store(false)
	if _, err := a.f.Redeem(secret, c.home.Device(), "cleo"); err != nil || !a.f.Admitted(c.home.Device()) {
		t.Errorf("redeemed, and not admitted: %v", err)
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
