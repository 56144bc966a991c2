package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Batch is a list of changes that are made together, in order. It is not safe for
// concurrent use, and of no use after Commit. It keeps no reference to what it is given.
type Batch struct {
	db   *DB
	p    *pebble.Batch
	room int // bytes that p takes without growing, where it was made for large values
	// The first error, returned by Commit: callers fill a batch without looking.
	err error
}

// Batch returns an empty batch. It may be dropped without Commit.
func (db *DB) Batch() *Batch { return &Batch{db: db, p: db.p.NewBatch()} }

// Set gives k the value that the parts are, one behind the other. A key must not be empty, nor a
// single zero byte.
func (b *Batch) Set(k []byte, parts ...[]byte) {
	if bytes.Compare(k, firstKey) < 0 {
		b.keep(fmt.Errorf("key %x is not for callers", k))
		return
	}
	n := 0
	for _, v := range parts {
		n += len(v)
	}
	b.makeRoom(len(k) + n)
	op := b.p.SetDeferred(len(k), n)
	copy(op.Key, k)
	at := 0
	for _, v := range parts {
		at += copy(op.Value[at:], v)
	}
	b.keep(op.Finish())
}

const (
	largeValue = 1 << 20  // bytes of a value that room is made for
	spareRoom  = 64 << 10 // bytes for what comes with it
)

// makeRoom makes room for n more bytes where they are many: Pebble would double what it has, and
// hold it until it is written in its final place.
func (b *Batch) makeRoom(n int) {
	need := b.p.Len() + n + spareRoom
	if n < largeValue || need <= b.room {
		return
	}
	p := b.db.p.NewBatchWithSize(need)
	b.keep(p.Apply(b.p, nil))
	b.keep(b.p.Close())
	b.p, b.room = p, need
}

// Size returns about how many bytes the batch takes.
func (b *Batch) Size() int { return b.p.Len() }

// Delete removes k, if it is there.
func (b *Batch) Delete(k []byte) { b.keep(b.p.Delete(k, nil)) }

// DeleteRange removes every key from start up to but without end.
func (b *Batch) DeleteRange(start, end []byte) { b.keep(b.p.DeleteRange(start, end, nil)) }

// DeletePrefix removes every key that begins with prefix, which must not be empty.
func (b *Batch) DeletePrefix(prefix []byte) {
	end := prefixEnd(prefix)
	if end == nil {
		b.keep(fmt.Errorf("prefix %x has no end", prefix))
		return
	}
	b.DeleteRange(prefix, end)
}

func (b *Batch) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Commit applies b. When it returns nil, the change is visible and survives the death of
// this process; for the machine's, see Sync. With ErrFull nothing was changed, and Commit
// may be tried again with a new batch once there is space; after any other error the
// change may or may not be there once the database is opened again.
func (db *DB) Commit(b *Batch) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	defer b.p.Close()
	if b.err != nil {
		return fmt.Errorf("database %s: batch: %w", db.dir, b.err)
	}
	if err := db.fail.get(); err != nil || b.p.Empty() {
		return err
	}
	if err := db.checkSpace(2 * int64(b.p.Len())); err != nil {
		return fmt.Errorf("database %s: %w", db.dir, err)
	}
	n, err := db.apply(b)
	if err == nil {
		err = b.p.SyncWait()
	}
	if err != nil {
		db.fail.set(err)
	}
	if err := db.fail.get(); err != nil {
		return err
	}
	// The log is written in the order of the numbers, so all before n are in the kernel too.
	for {
		old := db.returned.Load()
		if old >= n || db.returned.CompareAndSwap(old, n) {
			return nil
		}
	}
}

// apply gives b its number and hands it to Pebble, which has it written while the next one
// is prepared.
func (db *DB) apply(b *Batch) (uint64, error) {
	db.committing.Lock()
	defer db.committing.Unlock()
	db.count++
	// Last in the batch, so that no range of the caller deletes it.
	if err := b.p.Set(countKey, binary.BigEndian.AppendUint64(nil, db.count), nil); err != nil {
		return 0, err
	}
	size := b.p.Len()
	err := db.p.ApplyNoSyncWait(b.p, pebble.Sync)
	if size >= largeBatch {
		db.large.Store(true)
	}
	return db.count, err
}

// Get returns a copy of the value of k, and whether k is there.
func (db *DB) Get(k []byte) ([]byte, bool, error) {
	if err := db.enter(); err != nil {
		return nil, false, err
	}
	defer db.leave()
	if bytes.Compare(k, firstKey) < 0 {
		return nil, false, nil
	}
	v, closer, err := db.p.Get(k)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, db.readError(err)
	}
	defer closer.Close()
	return bytes.Clone(v), true, nil
}

// Scan calls fn with every key that begins with prefix, in order, as of the moment of the
// call. k and v are valid until fn returns. An error of fn ends the scan and is returned.
func (db *DB) Scan(prefix []byte, fn func(k, v []byte) error) (err error) {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	it, err := db.p.NewIter(bounds(prefix))
	if err != nil {
		return db.readError(err)
	}
	defer func() {
		if cErr := it.Close(); err == nil && cErr != nil {
			err = db.readError(cErr)
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return db.readError(err)
		}
		if err := fn(it.Key(), v); err != nil {
			return err
		}
	}
	return nil
}

func bounds(prefix []byte) *pebble.IterOptions {
	start := prefix
	if bytes.Compare(start, firstKey) < 0 {
		start = firstKey
	}
	return &pebble.IterOptions{LowerBound: start, UpperBound: prefixEnd(prefix)}
}

func (db *DB) readError(err error) error {
	return fmt.Errorf("database %s: reading: %w", db.dir, kind(err, true))
}

// prefixEnd returns the first key behind every key that begins with prefix; nil when there
// is none.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
