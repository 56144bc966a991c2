package kv

import "context"

// forgetting is how many flushes it takes until Pebble has forgotten a batch: the list of what it
// has in memory is made anew only when it has to grow, and keeps until then what was in it.
const forgetting = 4

// largeBatch is how many bytes of a batch Rest is worth: Pebble takes those of half a memtable into
// its memory as they are, and counts more than their bytes.
const largeBatch = memTableSize / 4

// Rest lets go of the memory that large batches left behind: Pebble keeps one long after it is
// written in its final place. It writes what little is in memory, and so is for when nothing else
// is to be done. Where there was no such batch it does nothing. It ends with ctx.
func (db *DB) Rest(ctx context.Context) error {
	if db.enter() != nil {
		return nil // closed: there is nothing to let go of
	}
	defer db.leave()
	if db.fail.get() != nil || db.checkSpace(memTableSize) != nil || !db.large.Swap(false) {
		return nil // what cannot be written stays where it is
	}
	for range forgetting {
		done, err := db.p.AsyncFlush()
		if err != nil {
			return kind(err, false)
		}
		select {
		case <-done:
		case <-ctx.Done():
			db.large.Store(true)
			return nil
		}
	}
	return nil
}
