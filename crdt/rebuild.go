package crdt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
)

// The state is a function of the entries, so it can be made a second time: to compare it with
// what is in use, and to take its place where that was damaged.

// beside is a home whose folders are made anew in a database of its own; it shares the key and
// the objects with the home that it is made from. It belongs to whoever made it.
func (h *Home) beside(dir string) (*Home, error) {
	db, err := kv.Open(dir, kv.Options{Logger: h.log})
	if err != nil {
		return nil, storage("check", dir, err)
	}
	return &Home{
		dir: h.dir, name: h.name, key: h.key, device: h.device, log: h.log, db: db, objects: h.objects, speaks: h.speaks,
		flush: &flusher{wake: make(chan struct{}, 1)}, // nobody flushes: it is synced once, at the end
		fresh: true, folders: map[FolderID]*Folder{},
	}, nil
}

// closeBeside ends what beside began; the database is durable then.
func (h *Home) closeBeside() error {
	for _, f := range h.folders {
		f.stop()
	}
	return storage("check", h.dir, h.db.Close())
}

// indexed reads where a folder's entries are, by their order.
func (f *Folder) indexed(db *kv.DB) (map[uint64]feed.Head, error) {
	out := map[uint64]feed.Head{}
	prefix := f.key('i')
	err := db.Scan(prefix, func(k, v []byte) error {
		if k = k[len(prefix):]; len(k) != 32+8+8+32 || len(v) != 16 {
			return fmt.Errorf("%w: an index key of %d bytes", kv.ErrDamaged, len(k))
		}
		out[decodeLocated(v).order] = headOfIndex(k)
		return nil
	})
	return out, err
}

// replayBatch is how many entries are taken in at once.
const replayBatch = 256

// replaying takes entries from one database into a folder that is made anew.
type replaying struct {
	from  *kv.DB
	to    *Folder
	index map[uint64]feed.Head
	bad   func(order uint64, h feed.Head, err error)
	step  func(n int) // so many entries more
}

// run takes in the entries after an order, up to another one, in their order.
func (r *replaying) run(ctx context.Context, after, last uint64) error {
	orders := slices.Sorted(maps.Keys(r.index))
	var batch []*feed.Entry
	var first uint64
	flush := func() error {
		for len(batch) > 0 {
			r.to.mu.Lock()
			r.to.order = first - 1 // an entry keeps its place, though others are missing
			r.to.mu.Unlock()
			n, err := r.to.Receive(batch)
			r.step(n)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrEntry) && !errors.Is(err, ErrGap) && !errors.Is(err, ErrNotAdmitted) {
				return err
			}
			if n >= len(batch) {
				return err
			}
			r.bad(first+uint64(n), batch[n].Head(), err)
			batch, first = batch[n+1:], first+uint64(n)+1
		}
		batch = nil
		return nil
	}
	for _, n := range orders {
		if n <= after || n > last {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := r.read(n)
		if err != nil {
			r.bad(n, r.index[n], err)
		}
		if len(batch) > 0 && (err != nil || n != first+uint64(len(batch)) || len(batch) == replayBatch) {
			if err := flush(); err != nil {
				return err
			}
		}
		if err == nil {
			if len(batch) == 0 {
				first = n
			}
			batch = append(batch, e)
		}
	}
	return flush()
}

// read returns the entry of an order, if it is what the index says.
func (r *replaying) read(n uint64) (*feed.Entry, error) {
	v, ok, err := r.from.Get(r.to.key('e', be64(n)))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("it is not there")
	}
	e, err := feed.Decode(r.to.id, v)
	if err != nil {
		return nil, err
	}
	if e.Head() != r.index[n] {
		return nil, fmt.Errorf("in its place is entry %s#%d", e.Feed, e.Seq)
	}
	return e, nil
}

// appliedAt looks up when the entries were applied first, so that files keep their times.
func (r *replaying) appliedAt() func(feed.Head) int64 {
	orders := make(map[feed.Head]uint64, len(r.index))
	for n, h := range r.index {
		orders[h] = n
	}
	return func(h feed.Head) int64 {
		var rec record
		v, ok, err := r.from.Get(r.to.key('r', be64(orders[h])))
		if err != nil || !ok || decode(v, &rec) != nil {
			return now()
		}
		return rec.Applied
	}
}

// copyKeys copies what begins with a prefix and keep accepts.
func copyKeys(from, to *kv.DB, prefix []byte, keep func(k []byte) bool) error {
	b := to.Batch()
	err := from.Scan(prefix, func(k, v []byte) error {
		if !keep(k) {
			return nil
		}
		b.Set(bytes.Clone(k), bytes.Clone(v))
		if b.Size() < maxIntakeBytes {
			return nil
		}
		full := b
		b = to.Batch()
		return to.Commit(full)
	})
	return errors.Join(err, to.Commit(b))
}
