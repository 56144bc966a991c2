package crdt

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// SetJustStored shortens for how long a new object is left alone, until the function that it
// returns is called.
func SetJustStored(d time.Duration) (restore func()) {
	was := justStored
	justStored = d
	return func() { justStored = was }
}

// SetFlushDelay says how long a change may wait before it is sealed and durable, until the
// function that it returns is called.
func SetFlushDelay(d time.Duration) (restore func()) {
	was := flushDelay
	flushDelay = d
	return func() { flushDelay = was }
}

// On returns options for a home whose database is on another disk.
func (o Options) On(disk vfs.FS) Options {
	o.db.FS = disk
	return o
}

// Key is what the payloads of the folder's entries are encrypted with.
func (f *Folder) Key() feed.Key { return f.grant.Key }
