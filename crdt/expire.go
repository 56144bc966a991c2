package crdt

import (
	"context"
	"slices"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Expire frees the objects of old versions that the home's policy does not keep, and returns
// how many objects and bytes. What is under a name, or beside one and not resolved, what a text
// began from, the newest version of each file, removed ones included, what may become that once
// what it builds on is here, and what no other device is known to have stay. History goes on naming what is gone. It may run at any time; ctx
// ends it.
func (h *Home) Expire(ctx context.Context) (objects int, bytes int64, err error) {
	k, err := h.Keep()
	if err != nil {
		return 0, 0, err
	}
	// A change while it looks may need what it found: then it looks again.
	for range 3 {
		var again bool
		n, size, err := h.expire(ctx, k, &again)
		objects, bytes = objects+n, bytes+size
		if err != nil {
			return objects, bytes, err
		}
		if !again {
			break
		}
	}
	return objects, bytes, h.addFreed(objects, bytes)
}

// use is what a home's folders say of an object.
type use struct {
	needed bool
	size   int64
}

func (h *Home) expire(ctx context.Context, k Keep, again *bool) (n int, bytes int64, err error) {
	folders := h.sortedFolders()
	uses := map[Hash]use{}
	seen := make([]uint64, len(folders))
	for i, f := range folders {
		if seen[i], err = f.objectUses(ctx, k, uses); err != nil {
			return 0, 0, err
		}
	}
	var gone []Hash
	for hash, u := range uses {
		if !u.needed && h.objects.Has(blob.Hash(hash)) {
			gone = append(gone, hash)
		}
	}
	slices.SortFunc(gone, Hash.Compare)
	if len(gone) == 0 || ctx.Err() != nil {
		return 0, 0, ctx.Err()
	}
	for _, f := range folders {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	for i, f := range folders {
		if f.closed || f.changes() != seen[i] {
			*again = !f.closed
			return 0, 0, nil
		}
	}
	// First it is on record that they went on purpose: nobody is to fetch them again.
	b := h.db.Batch()
	for _, f := range folders {
		for _, hash := range gone {
			f.expired[hash] = true
			b.Set(f.key('x', hash[:]), nil)
		}
	}
	if err := h.db.Commit(b); err != nil {
		return 0, 0, storage("expire", h.dir, err)
	}
	if err := h.db.Sync(); err != nil {
		return 0, 0, storage("expire", h.dir, err)
	}
	for _, hash := range gone {
		ok, err := h.objects.RemoveOld(blob.Hash(hash), time.Now().Add(-justStored))
		if err != nil {
			return n, bytes, storage("expire", hash.String(), err)
		}
		if ok {
			n, bytes = n+1, bytes+uses[hash].size
		}
	}
	return n, bytes, nil
}

// justStored is for how long an object that a program has just written is not touched, though
// nothing names it yet. Tests make it short.
var justStored = time.Hour

// changes counts what was applied to the folder. It runs with mu held.
func (f *Folder) changes() uint64 {
	n := f.order << 16
	if f.pending != nil {
		n += uint64(len(f.pending.ops))
	}
	return n
}

// objectUses adds what the folder's files say of objects.
func (f *Folder) objectUses(ctx context.Context, k Keep, uses map[Hash]use) (seen uint64, err error) {
	acked, err := f.acked()
	if err != nil {
		return 0, err
	}
	f.mu.RLock()
	seen = f.changes()
	files := f.tree.FilesEver()
	waiting := f.shelf.filter != nil || f.tree.Waiting() > 0
	f.mu.RUnlock()
	if waiting {
		if err := f.addWaiting(uses); err != nil {
			return 0, err
		}
	}
	for i, id := range files {
		if i%256 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		f.mu.RLock()
		events, heads := f.tree.History(id), f.tree.Heads(id)
		n := f.tree.Get(id)
		f.mu.RUnlock()
		f.addUses(k, n, heads, events, acked, uses)
	}
	return seen, nil
}

// addWaiting adds the objects of versions that wait for what they build on: they may be a file's
// newest once it comes.
func (f *Folder) addWaiting(uses map[Hash]use) error {
	return f.scanRecords(func(d dated) error {
		f.mu.RLock()
		defer f.mu.RUnlock()
		for _, o := range d.Ops {
			if o.Tree == nil || o.Tree.Object == nil {
				continue
			}
			if _, known := f.tree.Event(o.Tree.Node, o.Tree.Event); !known {
				uses[o.Tree.Object.Hash] = use{true, o.Tree.Object.Size}
			}
		}
		return nil
	})
}

// addUses adds what one file says.
func (f *Folder) addUses(k Keep, n *tree.Info, heads, events []tree.Event, acked map[feed.ID]uint64, uses map[Hash]use) {
	base := map[EventID]bool{} // of texts
	for _, e := range events {
		if e.Object == nil {
			for _, p := range e.Parents {
				base[p] = true
			}
		}
	}
	var versions []keptVersion
	var objects []tree.Event
	for _, e := range events {
		if e.Object == nil {
			continue
		}
		head := slices.ContainsFunc(heads, func(h tree.Event) bool { return h.ID == e.ID }) || n.Version.Has(e.ID)
		mine := e.Stamp.Feed.Device == f.home.device && acked[e.Stamp.Feed] < e.Stamp.Seq
		if fault.On("crdt-expire-heads") {
			head = false
		}
		objects = append(objects, e)
		versions = append(versions, keptVersion{time.Unix(0, e.Applied), head || mine || base[e.ID] || !e.Ready})
	}
	for i, gone := range k.expired(time.Now(), versions) {
		h := objects[i].Object.Hash
		u := uses[h]
		uses[h] = use{u.needed || !gone, objects[i].Object.Size}
	}
}

// acked tells how much of this device's feeds other devices have, as far as their entries say.
func (f *Folder) acked() (map[feed.ID]uint64, error) {
	out := map[feed.ID]uint64{}
	err := f.home.db.Scan(f.key('e'), func(_, v []byte) error {
		e, err := feed.Decode(f.id, v)
		if err != nil || e.Feed.Device == f.home.device {
			return err
		}
		for _, h := range e.Frontier {
			if h.Feed.Device == f.home.device {
				out[h.Feed] = max(out[h.Feed], h.Seq)
			}
		}
		return nil
	})
	return out, storage("expire", f.grant.Name, err)
}

// loadExpired reads which objects went on purpose.
func (f *Folder) loadExpired() error {
	f.expired = map[Hash]bool{}
	n := len(f.key('x'))
	return storage("open", f.grant.Name, f.home.db.Scan(f.key('x'), func(k, _ []byte) error {
		if len(k) == n+len(Hash{}) {
			f.expired[Hash(k[n:])] = true
		}
		return nil
	}))
}

// wantedAgain has an object that expired fetched again, since something new names it. b is nil
// while a folder is opened.
func (f *Folder) wantedAgain(b *kv.Batch, h Hash) {
	if f.expired[h] && b != nil {
		delete(f.expired, h)
		b.Delete(f.key('x', h[:]))
	}
}
