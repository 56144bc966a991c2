package crdt

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// pending is the entry in the making: its operations are stored and applied,
// their stamps fixed; it is signed at the flush, and always before a remote
// entry is applied.
type pending struct {
	id      feed.ID
	seq     uint64
	lamport uint64
	since   time.Time
	ops     []op
	kept    []recorded
	bytes   int
	bulk    bool // sealed in the batch that stores what it does
}

type pendingHeader struct {
	Run     uint64 `cbor:"1,keyasint"`
	Seq     uint64 `cbor:"2,keyasint"`
	Lamport uint64 `cbor:"3,keyasint"`
	Since   int64  `cbor:"4,keyasint"` // unix ns
}

// full says that the next operation belongs in another entry.
func (p *pending) full() bool { return len(p.ops) >= maxPendingOps || p.bytes >= maxPendingBytes }

// pend applies an operation of this device and keeps it for the next entry. size is the length of
// its encoding, of a textOp that of its event. What others would not take is refused with
// ErrInvalid, and nothing is changed: one such operation, once it is sealed, makes every other
// device refuse the entry, and with it all that this device does from then on.
func (f *Folder) pend(b *kv.Batch, o op, size int, bulk bool) (recorded, []tree.Change, error) {
	v, err := f.resolveOp(&o, size)
	if err != nil {
		return recorded{}, nil, err
	}
	p := f.pending
	if p == nil {
		p = &pending{id: f.own.id, seq: f.own.head.Seq + 1, lamport: f.nextLamport(), since: time.Now(), bulk: bulk}
		f.pending = p
		if !bulk {
			b.Set(f.key('P'), p.header())
		}
	}
	s := p.stamp()
	w := when{stamp: s, applied: now(), made: p.since.UnixMilli()}
	if p.bulk && p.bytes+size <= maxLending {
		w.lends = f.order + 1
	}
	kept, changes := f.applyResolved(b, w, o, v)
	kept.Index = s.Index
	p.ops, p.kept, p.bytes = append(p.ops, o), append(p.kept, kept), p.bytes+size
	return kept, changes, nil
}

// pendingOp is an operation that is not sealed yet, as the database has it. A
// long event of a text is not stored a second time.
type pendingOp struct {
	op
	Stored *storedText `cbor:"23,keyasint,omitempty"`
}

// storedText is where the event of a textOp is that has none itself.
type storedText struct {
	Key     []byte    `cbor:"1,keyasint"`
	Parents []EventID `cbor:"2,keyasint,omitempty"` // of the operation
}

// longEvent is how many bytes of an event are worth looking it up.
const longEvent = 512

// wholeOp returns the operation with its event.
func (f *Folder) wholeOp(p *pendingOp) (op, error) {
	if p.Stored == nil {
		return p.op, nil
	}
	v, ok, err := f.home.db.Get(p.Stored.Key)
	if err != nil {
		return op{}, err
	}
	if !ok || p.Text == nil {
		return op{}, errors.New("the text of a pending operation is not there")
	}
	_, ev, err := f.storedEvent(v)
	if err != nil {
		return op{}, err
	}
	ev.Parents = textIDs(p.Stored.Parents)
	return op{Text: &textOp{Node: p.Text.Node, By: p.Text.By, Event: ev.Encode()}}, nil
}

func (p *pending) header() []byte {
	return encode(pendingHeader{p.id.Run, p.seq, p.lamport, p.since.UnixNano()})
}

func (p *pending) stamp() tree.Stamp {
	return tree.Stamp{Lamport: p.lamport, Feed: p.id, Seq: p.seq, Index: uint32(len(p.ops))}
}

// seal signs what is pending.
func (f *Folder) seal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sealSoon()
}

func (f *Folder) sealLocked() error {
	p := f.pending
	if p == nil || f.broken != nil {
		return f.broken
	}
	b := f.home.db.Batch()
	done, err := f.sealInto(b)
	if err != nil {
		return err
	}
	b.Delete(f.key('P'))
	for i := range p.ops {
		b.Delete(f.key('p', be32(uint32(i))))
	}
	if err := f.home.db.Commit(b); err != nil {
		return storage("seal", f.grant.Name, err)
	}
	done()
	return nil
}

// sealInto signs what is pending and stores the entry with b. done is to be called once b is
// committed.
func (f *Folder) sealInto(b *kv.Batch) (done func(), err error) {
	if err := f.markGathered(); err != nil {
		return nil, err
	}
	p := f.pending
	if len(p.ops) > MaxOps {
		return nil, fail("seal", f.grant.Name, ErrInvalid, fmt.Errorf("%d operations at once, at most %d", len(p.ops), MaxOps))
	}
	changed := f.untold(p.id)
	e, err := feed.Seal(f.home.key, f.grant.Key, feed.Draft{
		Folder: f.id, Feed: p.id, Seq: p.seq, Prev: f.own.head.Hash, Frontier: changed, Time: p.since,
	}, f.home.speaks.encode(p.ops))
	if err != nil {
		return nil, fail("seal", f.grant.Name, ErrInvalid, err)
	}
	l := located{f.order + 1, p.lamport}
	f.storeEntry(b, e, l, record{
		Feed: p.id, Seq: p.seq, Lamport: p.lamport, Applied: p.since.UnixNano(), Time: e.Time, Ops: p.kept,
	})
	return func() {
		f.hold(e.Head(), l)
		f.pending, f.own.head = nil, e.Head()
		for _, h := range changed {
			f.own.told[h.Feed] = h
		}
		f.post(Notice{Local: true, By: f.home.device, Entries: 1})
	}, nil
}

// maxTold is how many heads an entry of this device names.
var maxTold = feed.MaxFrontier

// untold returns the heads that the next entry of a feed names. Where they are more than an entry can
// name, others being free to make feeds, it is those that are the latest in time, which give the
// entry its own time; the others come with the entries after it.
func (f *Folder) untold(own feed.ID) []feed.Head {
	var changed []latest
	for id, l := range f.latest {
		if id != own && f.own.told[id] != l.head {
			changed = append(changed, l)
		}
	}
	if len(changed) > maxTold {
		slices.SortFunc(changed, func(a, b latest) int { return cmp.Compare(b.lamport, a.lamport) })
		changed = changed[:maxTold]
	}
	heads := make([]feed.Head, len(changed))
	for i, l := range changed {
		heads[i] = l.head
	}
	return heads
}

func (f *Folder) storeEntry(b *kv.Batch, e *feed.Entry, l located, r record) {
	b.Set(f.key('e', be64(l.order)), e.Bytes())
	b.Set(f.key('r', be64(l.order)), encode(r))
	b.Set(f.indexKey(e.Feed, e.Seq, e.Hash()), l.encode())
}

type ownState struct {
	Run  uint64 `cbor:"1,keyasint"`
	Told []byte `cbor:"2,keyasint"`
}

// saveOwn keeps what goes on in the same feed needs; a home that was not
// closed in order does not go on in it.
func (f *Folder) saveOwn() error {
	b := f.home.db.Batch()
	b.Set(f.key('o'), encode(ownState{f.own.id.Run, f.own.told.Encode()}))
	return storage("close", f.grant.Name, f.home.db.Commit(b))
}

// loadOwn chooses the feed to write: the last one, if nothing can have
// happened to it, else a new run. Two copies of a home, or a home whose disk
// lost its tail, thus never sign two entries of one number.
func (f *Folder) loadOwn() error {
	f.own = ownFeed{id: feed.ID{Device: f.home.device}, told: feed.Frontier{}}
	v, ok, err := f.home.db.Get(f.key('o'))
	if err != nil {
		return storage("open", f.grant.Name, err)
	}
	var s ownState
	if ok && !f.home.fresh {
		if err := decode(v, &s); err == nil {
			if told, err := feed.DecodeFrontier(s.Told); err == nil {
				f.own.id.Run, f.own.told = s.Run, told
				f.own.head = f.frontier[f.own.id]
				return nil
			}
		}
	}
	f.newRun()
	return nil
}

// newRun begins a new feed of this device.
func (f *Folder) newRun() {
	var r [8]byte
	rand.Read(r[:])
	f.own = ownFeed{id: feed.ID{Device: f.home.device, Run: binary.BigEndian.Uint64(r[:]) & feed.MaxSeq}, told: feed.Frontier{}}
}

// nextLamport is what others will compute for the next entry of this device.
func (f *Folder) nextLamport() uint64 {
	if fault.On("crdt-own-clock") {
		return f.own.head.Seq + 1
	}
	var top uint64
	for _, l := range f.latest {
		top = max(top, l.lamport)
	}
	return top + 1
}

// loadPending takes up operations that were not sealed when the process ended.
// In a new run they get that run's stamps.
func (f *Folder) loadPending() error {
	v, ok, err := f.home.db.Get(f.key('P'))
	if err != nil || !ok || fault.On("crdt-forget-pending") {
		return storage("open", f.grant.Name, err)
	}
	var h pendingHeader
	if err := decode(v, &h); err != nil {
		return fail("open", f.grant.Name, ErrDamaged, err)
	}
	f.pending = &pending{id: f.own.id, seq: f.own.head.Seq + 1, lamport: f.nextLamport(), since: time.Unix(0, h.Since)}
	b := f.home.db.Batch()
	err = f.home.db.Scan(f.key('p'), func(k, v []byte) error {
		at := f.key('p', be32(uint32(len(f.pending.ops))))
		if err := f.pendAgain(v); errors.Is(err, ErrInvalid) { // an earlier version made it
			f.note(b, Note{Time: nowTime(), Kind: "refused", Path: f.grant.Name, Text: "a change was taken back, because no device would take it: " + err.Error()})
			b.Delete(k)
		} else if err != nil {
			return err
		} else if !bytes.Equal(k, at) {
			b.Delete(k)
			b.Set(at, v)
		}
		return nil
	})
	if err != nil {
		return storage("open", f.grant.Name, err)
	}
	b.Set(f.key('P'), f.pending.header())
	if err = storage("open", f.grant.Name, f.home.db.Commit(b)); err == nil {
		err = f.sealLocked()
	}
	if errors.Is(err, ErrNoSpace) {
		return nil // what is there can be read; it is sealed once there is room
	}
	return err
}

// pendAgain takes up one operation as the database has it.
func (f *Folder) pendAgain(v []byte) error {
	var p pendingOp
	if err := decode(v, &p); err != nil {
		return fail("change", f.grant.Name, ErrInvalid, err)
	}
	o, err := f.wholeOp(&p)
	if err == nil {
		_, _, err = f.pend(nil, o, len(v), false)
	}
	return err
}
