package crdt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// An entry by rules above this sheaf's (Rules) is held and passed on like any other, and counts in
// the frontier, but nothing of it is applied: what it changes stays as it was. What builds on it
// waits as whatever builds on what is not here (shelf.go); everything else goes on. Once the home
// is opened by a sheaf that knows the rules, it is read, and the state is what it would be had that
// sheaf got it in the first place.

// ErrNewer is the kind of error of what only a newer sheaf can read.
var ErrNewer = feed.ErrNewer

// Unread is the changes of a device that wait for a newer sheaf on this one.
type Unread struct {
	Device  Device    `json:"device"` // that made them
	Name    string    `json:"name"`
	Entries int       `json:"entries"`
	Since   time.Time `json:"since"` // when the first of them came
}

// unreadCount is how many entries of a device are not read.
type unreadCount struct {
	entries int
	since   int64 // unix ns
}

// unreadRow is what the database has of an entry that was not read, by its order.
type unreadRow struct {
	Device  Device `cbor:"1,keyasint"`
	Rules   uint64 `cbor:"2,keyasint"` // that it takes
	Applied int64  `cbor:"3,keyasint"` // unix ns: when it came
}

// leaveUnread keeps in mind that nothing of an entry was applied.
func (f *Folder) leaveUnread(b *kv.Batch, order uint64, r *record, rules uint64) {
	if fault.On("crdt-skip-newer") {
		return
	}
	row := unreadRow{r.Feed.Device, rules, r.Applied}
	b.Set(f.key('u', be64(order)), encode(row))
	f.countUnread(row)
	if f.unread[row.Device].entries == 1 {
		f.home.log.Warn("a device makes changes that only a newer sheaf can read", "folder", f.grant.Name, "device", row.Device,
			"rules", rules, "ours", f.home.speaks.rules)
	}
}

func (f *Folder) countUnread(row unreadRow) {
	u := f.unread[row.Device]
	if u.entries == 0 || row.Applied < u.since {
		u.since = row.Applied
	}
	u.entries++
	f.unread[row.Device] = u
	f.late = f.late || row.Rules <= f.home.speaks.rules
}

// loadUnread counts what is not read.
func (f *Folder) loadUnread() error {
	f.unread, f.late = map[Device]unreadCount{}, false
	return f.eachUnread(func(_ uint64, row unreadRow) { f.countUnread(row) })
}

func (f *Folder) eachUnread(fn func(order uint64, row unreadRow)) error {
	n := len(f.key('u'))
	err := f.home.db.Scan(f.key('u'), func(k, v []byte) error {
		var row unreadRow
		if err := decode(v, &row); err != nil || len(k) != n+8 {
			return errors.Join(kv.ErrDamaged, err)
		}
		fn(binary.BigEndian.Uint64(k[n:]), row)
		return nil
	})
	return storage("open", f.grant.Name, err)
}

// readUnread applies what this sheaf can read and the one that got it could not. The folder is
// loaded, and nobody else knows it yet.
func (f *Folder) readUnread() error {
	if !f.late || f.pending != nil { // there is no room to seal that, and none for more
		return nil
	}
	var orders []uint64
	err := f.eachUnread(func(order uint64, row unreadRow) {
		if row.Rules <= f.home.speaks.rules {
			orders = append(orders, order)
		}
	})
	if err != nil || len(orders) == 0 {
		return err
	}
	f.home.log.Info("reading changes that an older sheaf could not read", "folder", f.grant.Name, "entries", len(orders))
	for len(orders) > 0 && err == nil {
		b := f.home.db.Batch()
		for len(orders) > 0 && b.Size()+f.shelf.freshBytes < maxIntakeBytes && err == nil {
			err = f.readLate(b, orders[0])
			orders = orders[1:]
		}
		if err == nil {
			err = f.commit(b)
		}
	}
	if errors.Is(err, ErrNoSpace) {
		f.home.log.Warn("changes that an older sheaf could not read wait for room", "folder", f.grant.Name)
	} else if err != nil {
		return err
	}
	// As everybody else applies them: each in its place, not after all others.
	return f.load()
}

// readLate applies one entry and has b store what it does, and that it is read.
func (f *Folder) readLate(b *kv.Batch, order uint64) error {
	v, ok, err := f.home.db.Get(f.key('e', be64(order)))
	if err == nil && !ok {
		err = damaged(errors.New("an entry is not there"))
	}
	var e *feed.Entry
	if err == nil {
		e, err = feed.Decode(f.id, v)
		err = damaged(err)
	}
	if err != nil {
		return storage("read entry", f.grant.Name, err)
	}
	d, ok, err := f.recordAt(order)
	if err == nil && !ok {
		err = fail("read entry", f.grant.Name, ErrDamaged, fmt.Errorf("%s#%d has no record", e.Feed, e.Seq))
	}
	if err != nil {
		return err
	}
	ops, size, err := f.home.speaks.operations(e, f.grant.Key)
	var newer unreadError
	if errors.As(err, &newer) { // it is packed in a way that came later than these rules
		b.Set(f.key('u', be64(order)), encode(unreadRow{d.Feed.Device, newer.rules, d.Applied}))
		return nil
	}
	// An error is no reason to refuse what was taken: it does nothing.
	d.Applied = now() // what it changes changes now, for make and whoever else looks at times
	f.applyOps(b, &d.record, ops, order, size)
	b.Set(f.key('r', be64(order)), encode(d.record))
	b.Delete(f.key('u', be64(order)))
	return nil
}

// applyOps applies an entry's operations, which unpacked to so many bytes, and puts what is kept of
// them into its record.
func (f *Folder) applyOps(b *kv.Batch, r *record, ops []op, order uint64, size int) []tree.Change {
	lends := uint64(0)
	if size <= maxLending {
		lends = order
	}
	f.tree.Hold()
	for i, o := range ops {
		s := tree.Stamp{Lamport: r.Lamport, Feed: r.Feed, Seq: r.Seq, Index: uint32(i)}
		kept, _ := f.apply(b, when{s, r.Applied, r.Time, lends}, o)
		if kept.Tree != nil || kept.Raw != nil {
			kept.Index = s.Index
			r.Ops = append(r.Ops, kept)
		}
	}
	return f.tree.Release()
}

// unreadDevices lists who made what is not read, by name. It runs with mu held.
func (f *Folder) unreadDevices() []Unread {
	out := make([]Unread, 0, len(f.unread))
	for d, u := range f.unread {
		out = append(out, Unread{Device: d, Name: f.deviceName(d), Entries: u.entries, Since: time.Unix(0, u.since)})
	}
	slices.SortFunc(out, func(a, b Unread) int { return strings.Compare(a.Name+a.Device.String(), b.Name+b.Device.String()) })
	return out
}

// asRead makes another hash of that of entries of which not all are read: what is made of them
// says nothing of what others make of the same, or where they could be read, of what anybody does.
func (f *Folder) asRead(held Hash, late bool) Hash {
	h := blake3.NewDeriveKey("sheaf 2026-12 frontier by rules v1")
	h.Write(be64(f.home.speaks.rules))
	h.Write(held[:])
	if late {
		h.Write(f.home.device[:])
	}
	return Hash(h.Sum(nil))
}

// checkRules fails if a newer sheaf has had the home: what it wrote there for itself is not known here.
func (h *Home) checkRules() error {
	v, ok, err := h.db.Get([]byte(rulesKey))
	if err != nil {
		return storage("open", h.dir, err)
	}
	if !ok {
		return nil
	}
	if len(v) != 8 {
		return fail("open", h.dir, ErrDamaged, errors.New("the number of its rules does not read"))
	}
	if n := binary.BigEndian.Uint64(v); n > h.speaks.rules {
		return &Error{Op: "open", Path: h.dir, Kind: ErrNewer, Err: fmt.Errorf("it was in use by a newer sheaf, which knows rules %d; this one knows %d", n, h.speaks.rules),
			Hint: "start that one, or a later one; nothing was changed"}
	}
	return nil
}
