package peer

import (
	"bytes"
	"crypto/rand"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// spoil makes this device hostile to those it shares with, in binaries built for tests:
// it damages an entry that is about to be sent.
func spoil(b []byte) []byte {
	switch {
	case fault.On("peer-forges"):
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1 // in the signature
	case fault.On("peer-babbles"):
		b = make([]byte, len(b))
		rand.Read(b)
	case fault.On("peer-floods"):
		b = append(bytes.Clone(b), make([]byte, feed.MaxEntry)...)
	}
	return b
}

// dawdle makes this device slow: entries go out one by one.
func dawdle() {
	if fault.On("peer-dawdles") {
		time.Sleep(200 * time.Millisecond)
	}
}
