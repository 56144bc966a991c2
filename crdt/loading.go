package crdt

import (
	"bytes"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Opening a folder is reading its records and applying them in order. Most of the time
// goes into decoding and hashing, so that is done on all cores, ahead of what is applied.

// recordBytes is about how much is decoded in one go: some of it is in memory at a time.
const recordBytes = 128 << 10

// decoding is a piece of the records that is being decoded.
type decoding struct {
	raw  [][]byte
	done chan []record // gets one
}

// loadRecords applies the folder's records.
func (f *Folder) loadRecords() error {
	workers := min(runtime.GOMAXPROCS(0), 8)
	work := make(chan *decoding)
	order := make(chan *decoding, workers+1)
	var g errgroup.Group
	quit := make(chan struct{})
	g.Go(func() error {
		defer close(order)
		defer close(work)
		return f.readRecords(func(d *decoding) bool {
			select {
			case order <- d:
			case <-quit:
				return false
			}
			work <- d // somebody takes it until work is closed
			return true
		})
	})
	for range workers {
		g.Go(func() (err error) {
			for d := range work {
				var rs []record
				if err == nil { // else only take it, so that nobody waits
					rs, err = decodeRecords(d.raw)
				}
				d.done <- rs
			}
			return err
		})
	}
	f.tree.Hold()
	defer f.tree.Release()
	var batch []tree.Stamped
	for d := range order {
		rs := <-d.done
		if rs == nil {
			close(quit)
			break
		}
		for i := range rs {
			batch = f.replay(&rs[i], batch)
		}
	}
	f.applyAll(batch)
	if err := g.Wait(); err != nil {
		return storage("open", f.grant.Name, err)
	}
	return errors.Join(f.shelf.err, f.shelf.storeReplayed())
}

// readRecords gives out the records in pieces, in their order, until it is told to stop.
func (f *Folder) readRecords(give func(*decoding) bool) error {
	d, size := &decoding{done: make(chan []record, 1)}, 0
	more := true
	err := f.home.db.Scan(f.key('r'), func(_, v []byte) error {
		if !more {
			return nil
		}
		d.raw = append(d.raw, bytes.Clone(v))
		if size += len(v); size >= recordBytes {
			more = give(d)
			d, size = &decoding{done: make(chan []record, 1)}, 0
		}
		return nil
	})
	if err == nil && more && len(d.raw) > 0 {
		give(d)
	}
	return err
}

// decodeRecords never returns nil without an error.
func decodeRecords(raw [][]byte) ([]record, error) {
	rs := make([]record, len(raw))
	for i := range raw {
		if err := decode(raw[i], &rs[i]); err != nil {
			return nil, err
		}
		for j := range rs[i].Ops {
			if o := &rs[i].Ops[j]; o.Tree != nil {
				o.hash = o.Tree.Hash()
			}
		}
	}
	return rs, nil
}

// replay adds a record's operations to batch, which is applied when it is large enough or
// something needs the tree as it was.
func (f *Folder) replay(r *record, batch []tree.Stamped) []tree.Stamped {
	f.began = min(f.began, r.Applied)
	for i := range r.Ops {
		o := &r.Ops[i]
		s := tree.Stamp{Lamport: r.Lamport, Feed: r.Feed, Seq: r.Seq, Index: o.Index, Op: o.hash}
		switch {
		case o.Tree != nil:
			batch = append(batch, tree.Stamped{Stamp: s, Op: *o.Tree, Size: o.Size, Applied: r.Applied})
		case o.Raw != nil:
			// What waits needs the tree as it was: nothing before it may be left out.
			batch = f.applyAll(batch)
			f.replayRaw(*o.Raw, when{stamp: s, applied: r.Applied, made: r.Time})
		}
	}
	if len(batch) >= maxPendingOps {
		batch = f.applyAll(batch)
	}
	return batch
}

// applyAll applies operations that are stored already, and empties the batch.
func (f *Folder) applyAll(batch []tree.Stamped) []tree.Stamped {
	f.tree.Apply(batch)
	f.wake(nil)
	if f.tree.Touched() >= maxPendingOps {
		f.tree.Release()
		f.tree.Hold()
	}
	if f.shelf.freshBytes > maxIntakeBytes && f.shelf.err == nil {
		f.shelf.err = f.shelf.storeReplayed()
	}
	return batch[:0]
}
