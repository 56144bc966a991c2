package crdt

import (
	"encoding/binary"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// dated is a record with its place in this device's order and in time.
type dated struct {
	record
	order uint64
	// at is when the entry counts as made, in unix ms: what its maker's clock said, but not
	// after this device got it, and not before the entry in front of it in its feed. A clock
	// that is wrong misplaces its own entries, within these bounds, and nothing else.
	at int64
}

// scanRecords calls fn for the entries held, in the order in which this device got or made
// them. What is pending is sealed first. It holds no lock while it reads.
func (f *Folder) scanRecords(fn func(dated) error) error {
	if err := f.seal(); err != nil {
		return err
	}
	last := map[feed.ID]int64{}
	n := len(f.key('r'))
	err := f.home.db.Scan(f.key('r'), func(k, v []byte) error {
		d := dated{order: binary.BigEndian.Uint64(k[n:])}
		if err := decode(v, &d.record); err != nil {
			return err
		}
		d.at = max(min(d.Time, d.Applied/1e6), last[d.Feed])
		last[d.Feed] = d.at
		return fn(d)
	})
	return storage("read history", f.grant.Name, err)
}

// recordAt reads one record; ok is false where there is none of that order.
func (f *Folder) recordAt(order uint64) (d dated, ok bool, err error) {
	v, ok, err := f.home.db.Get(f.key('r', be64(order)))
	if err != nil || !ok {
		return dated{}, false, storage("read history", f.grant.Name, err)
	}
	d.order = order
	if err := decode(v, &d.record); err != nil {
		return dated{}, false, fail("read history", f.grant.Name, ErrDamaged, err)
	}
	d.at = min(d.Time, d.Applied/1e6)
	return d, true, nil
}

// treeOps are a record's operations on the tree.
func (f *Folder) treeOps(d dated) []tree.Stamped {
	out := make([]tree.Stamped, 0, len(d.Ops))
	for _, o := range d.Ops {
		t := o.Tree
		if t == nil && o.Raw != nil && o.Raw.Text != nil {
			t = f.resolved(o.Raw.Text, d.Time)
		}
		if t == nil {
			continue
		}
		s := tree.Stamp{Lamport: d.Lamport, Feed: d.Feed, Seq: d.Seq, Index: o.Index, Op: t.Hash()}
		out = append(out, tree.Stamped{Stamp: s, Op: *t, Size: o.Size, Applied: d.Applied})
	}
	return out
}

// resolved is the version of a text that had to wait for a parent; nil while it still waits.
func (f *Folder) resolved(o *textOp, made int64) *tree.Op {
	f.mu.RLock()
	defer f.mu.RUnlock()
	v, err := f.resolve(o)
	if err != nil {
		return nil
	}
	v.op.Time = made
	return &v.op
}

// hashOf names the entry that an operation came in, from where it stands in its feed.
func (f *Folder) hashOf(s tree.Stamp, order uint64) (h Hash, err error) {
	n := len(f.key('i'))
	err = f.home.db.Scan(f.key('i', s.Feed.Device[:], be64(s.Feed.Run), be64(s.Seq)), func(k, v []byte) error {
		if decodeLocated(v).order == order { // a fork has two of one number
			h = headOfIndex(k[n:]).Hash
		}
		return nil
	})
	return h, storage("read history", f.grant.Name, err)
}
