package crdt

import (
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Local is an entry with its place in the order in which this device got or
// made its entries: a causal order.
type Local struct {
	Order uint64
	Entry *feed.Entry
}

// Frontier returns what is held, after sealing what is pending and does not gather.
func (f *Folder) Frontier() (feed.Frontier, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sealSoon(); err != nil {
		return nil, err
	}
	return f.frontier.Clone(), nil
}

// Last is the order of the newest entry; 0 while there is none.
func (f *Folder) Last() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.order
}

// Since returns up to limit entries after an order. What is pending is sealed
// first, unless it gathers, and nothing is returned that is not durable: an entry that left this
// device is never made a second time.
func (f *Folder) Since(after uint64, limit int) ([]Local, error) {
	f.mu.Lock()
	err := f.sealSoon()
	last := f.order
	f.mu.Unlock()
	if err != nil || last <= after {
		return nil, err
	}
	if err := f.home.Sync(); err != nil {
		return nil, err
	}
	var out []Local
	for n := after + 1; n <= last && len(out) < limit; n++ {
		v, ok, err := f.home.db.Get(f.key('e', be64(n)))
		if err != nil {
			return nil, storage("read entry", f.grant.Name, err)
		}
		if !ok {
			continue
		}
		e, err := feed.Decode(f.id, v)
		if err != nil {
			return nil, fail("read entry", f.grant.Name, ErrDamaged, err)
		}
		out = append(out, Local{n, e})
	}
	return out, nil
}

// Receive takes entries in from a peer, in the order in which the peer got
// them. Those that are held already change nothing. The first that cannot be
// accepted ends it, with its kind: ErrEntry, ErrNotAdmitted or ErrGap; what
// stood before it is kept. It returns how many were new.
func (f *Folder) Receive(entries []*feed.Entry) (int, error) {
	var g errgroup.Group
	g.SetLimit(2)
	bad := make([]error, len(entries))
	for i, e := range entries {
		if e.Folder != f.id {
			bad[i] = fail("receive", e.Feed.String(), ErrEntry, errors.New("of another folder"))
			continue
		}
		g.Go(func() error {
			if !fault.On("crdt-trust-signatures") {
				bad[i] = e.Verify()
			}
			return nil
		})
	}
	g.Wait()

	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return 0, err
	}
	in := intake{f: f, b: f.home.db.Batch()}
	var failed error
	for i, e := range entries {
		if bad[i] != nil {
			failed = fail("receive", fmt.Sprintf("%s#%d", e.Feed, e.Seq), ErrEntry, bad[i])
		} else {
			failed = in.take(e)
		}
		if failed != nil {
			break
		}
	}
	// What stood before the one that failed is kept.
	if err := in.store(); err != nil {
		failed = err
	}
	if in.stored > 0 {
		if f.first != nil {
			in.changes = nil // not of what is shown
		}
		if fault.On("crdt-tell-once") {
			in.changes = in.changes[:min(1, len(in.changes))]
		}
		f.post(Notice{By: in.by, Changes: changesOf(in.changes), Entries: in.stored})
		f.home.flush.poke()
		f.afterReceive()
	}
	return in.stored, failed
}

// maxIntakeBytes bounds what is stored in one batch: the database holds it in memory.
const maxIntakeBytes = 1 << 20

// intake is what one Receive takes in. Entries are applied one by one and stored many at a
// time; mu is held all the while, so nobody sees what is not stored yet.
type intake struct {
	f       *Folder
	b       *kv.Batch
	applied []tree.Change // by what is in b
	taken   int           // entries in b
	changes []tree.Change // by what is stored
	stored  int
	by      Device
}

func (in *intake) take(e *feed.Entry) error {
	f := in.f
	held, err := f.holds(e.Head())
	if err != nil || held {
		return err
	}
	if f.pending != nil {
		if err := f.sealLocked(); err != nil {
			return err
		}
	}
	if fault.On("crdt-refuse-own") && e.Feed.Device == f.home.device {
		return nil
	}
	c, err := f.accept(in.b, e)
	if err != nil {
		return err
	}
	in.applied, in.taken, in.by = append(in.applied, c...), in.taken+1, e.Feed.Device
	if in.b.Size()+f.shelf.freshBytes >= maxIntakeBytes {
		return in.store()
	}
	return nil
}

// store makes what was taken in survive the death of the process.
func (in *intake) store() error {
	if in.taken == 0 {
		return nil
	}
	err := in.f.commit(in.b)
	if err == nil {
		in.changes, in.stored = append(in.changes, in.applied...), in.stored+in.taken
	}
	in.b, in.applied, in.taken = in.f.home.db.Batch(), nil, 0
	return err
}

// Holds reports whether an entry is here. A frontier can cover an entry that is not: where a
// feed was forked, its number belongs to another one.
func (f *Folder) Holds(h feed.Head) (bool, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.holds(h)
}

// holds reports whether an entry is here.
func (f *Folder) holds(h feed.Head) (bool, error) {
	if h == f.frontier[h.Feed] {
		return true, nil
	}
	if !f.frontier.Covers(h.Feed, h.Seq) {
		return false, nil
	}
	if fault.On("crdt-first-of-fork") {
		return true, nil
	}
	if _, ok := f.unstored.entries[h]; ok {
		return true, nil
	}
	_, ok, err := f.home.db.Get(f.indexKey(h.Feed, h.Seq, h.Hash))
	return ok, storage("receive", f.grant.Name, err)
}

// lamportOf returns the lamport time of an entry that is held.
func (f *Folder) lamportOf(h feed.Head) (uint64, error) {
	if l := f.latest[h.Feed]; h == l.head {
		return l.lamport, nil
	}
	if l, ok := f.unstored.entries[h]; ok {
		return l.lamport, nil
	}
	v, ok, err := f.home.db.Get(f.indexKey(h.Feed, h.Seq, h.Hash))
	if err != nil {
		return 0, storage("receive", f.grant.Name, err)
	}
	if !ok {
		return 0, fail("receive", fmt.Sprintf("%s#%d", h.Feed, h.Seq), ErrGap, nil)
	}
	return decodeLocated(v).lamport, nil
}

// accept checks an entry against what is held, and applies it.
func (f *Folder) accept(b *kv.Batch, e *feed.Entry) ([]tree.Change, error) {
	name := fmt.Sprintf("%s#%d", e.Feed, e.Seq)
	if _, ok := f.members[e.Feed.Device]; !ok {
		return nil, fail("receive", name, ErrNotAdmitted, nil)
	}
	var lamport uint64
	if e.Seq > 1 {
		l, err := f.lamportOf(feed.Head{Feed: e.Feed, Seq: e.Seq - 1, Hash: e.Prev})
		if err != nil {
			return nil, err
		}
		lamport = l
	}
	for _, h := range e.Frontier {
		l, err := f.lamportOf(h)
		if err != nil {
			return nil, err
		}
		lamport = max(lamport, l)
	}
	ops, size, err := f.home.speaks.operations(e, f.grant.Key)
	var newer unreadError
	if err != nil && !errors.As(err, &newer) {
		return nil, fail("receive", name, ErrEntry, err)
	}
	lamport++
	applied := now()
	if f.first != nil {
		applied = f.first.at
	}
	if f.appliedAt != nil {
		applied = f.appliedAt(e.Head())
	}
	r := record{Feed: e.Feed, Seq: e.Seq, Lamport: lamport, Applied: applied, Time: e.Time}
	changes := f.applyOps(b, &r, ops, f.order+1, size)
	if newer.rules > 0 {
		f.leaveUnread(b, f.order+1, &r, newer.rules)
	}
	if prior := f.frontier[e.Feed]; prior.Seq >= e.Seq {
		f.note(b, Note{Time: nowTime(), Kind: "feed", Path: name,
			Text: "two entries of one number: a copy of that device's home was in use; both were applied"})
	}
	l := located{f.order + 1, lamport}
	f.storeEntry(b, e, l, r)
	if f.unstored.entries == nil {
		f.unstored.entries = map[feed.Head]located{}
	}
	f.unstored.entries[e.Head()] = l
	f.hold(e.Head(), l)
	if f.first != nil {
		f.first.arrived(f, e.Head())
	}
	if e.Feed == f.own.id {
		f.newRun() // this home was rolled back while it ran: go on elsewhere
	}
	return changes, nil
}
