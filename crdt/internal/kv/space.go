package kv

import (
	"fmt"
	"syscall"
)

// checkSpace fails with ErrFull unless there is room for n more bytes and the reserve.
// Pebble must be able to flush what is acknowledged: it repeats a flush that failed for
// ever, and a log that could not be written is lost to it.
func (db *DB) checkSpace(n int64) error {
	if db.reserve < 0 {
		return nil
	}
	if db.fail.full.Load() {
		return fmt.Errorf("%w: %w: what was written before is not flushed", ErrFull, syscall.ENOSPC)
	}
	return db.room(db.reserve + n)
}

// checkSpaceToOpen fails with ErrFull unless what the logs hold can be flushed: opening
// does not come to an end before it is. Commits left twice that room free.
func (db *DB) checkSpaceToOpen() error {
	if db.reserve < 0 {
		return nil
	}
	names, err := db.fs.List(db.dir)
	if err != nil {
		return err
	}
	need := int64(1 << 20)
	for _, name := range names {
		if isWAL(name) {
			st, err := db.fs.Stat(db.fs.PathJoin(db.dir, name))
			if err != nil {
				return err
			}
			need += st.Size()
		}
	}
	return db.room(min(need, db.reserve))
}

// Room fails with ErrFull where Commit would, for lack of space.
func (db *DB) Room() error { return db.checkSpace(0) }

func (db *DB) room(need int64) error {
	u, err := db.fs.GetDiskUsage(db.dir)
	if err != nil {
		return nil // not every filesystem can tell
	}
	if u.AvailBytes < uint64(need) {
		return fmt.Errorf("%w: %w: %d KiB are free, %d KiB are needed to go on", ErrFull, syscall.ENOSPC, u.AvailBytes>>10, need>>10)
	}
	return nil
}
