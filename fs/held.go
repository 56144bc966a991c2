package fs

import (
	"errors"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// A program may hold a file open for hours, write to it now and then, and know of it only what
// it has read. What others make of the file meanwhile is shown, to it too if it reads again;
// where it writes without having read, it means the text that it knows.

// rests is how long after its last write a program that writes at offsets of its own is taken
// to rest: what came from elsewhere is shown then.
const rests = 2 * time.Second

// stepBack makes the view show the version that a handle has read, if a newer one came since:
// the offset at which its process writes, or cuts the file, is one of the text it knows. It is
// not if that text has no such offset, nor where it is the end of what is shown, which lseek
// and stat tell without a read. The caller holds in.mu.
func (fs *filesystem) stepBack(h *handle, off int64) error {
	n := h.in
	if h.wrote != nil && h.wrote.made != nil {
		h.version, h.wrote = h.wrote.made, nil
	}
	if n.sess != nil || !n.bound || !h.reads() || h.version.Equal(n.version) || off == n.size() || fault.On("fs-write-here") {
		return nil
	}
	c, err := fs.folder.HoldingAt(n.node, h.version)
	switch {
	case err != nil:
		return err
	case off > sizeOf(c):
		return nil
	case c.Object == nil && n.object.Object == nil:
	case n.saved && n.savedVersion.Equal(n.version):
		// Programs of this device share an object as on any disk, each writing its part:
		// only a text could merge what they did.
		return nil
	}
	err = fs.show(n, c)
	if errors.Is(err, crdt.ErrNotHere) {
		return nil // its object was let go: what is here is all there is to write to
	}
	if err != nil {
		return err
	}
	n.stale = true
	fs.later(0, func() { fs.server.InodeNotify(n.id, 0, 0) })
	return nil
}

func sizeOf(c crdt.Holding) int64 {
	if c.Object != nil {
		return c.Object.Size
	}
	return int64(c.Body.Len())
}

// outlives tells whether a file was removed elsewhere while a program of this device writes
// it: the program goes on with it, and its save brings it back. The caller holds in.mu.
func (fs *filesystem) outlives(in *inode) bool {
	if in.kind != crdt.File || !in.bound || in.gone || in.alt != nil || !in.loaded {
		return false
	}
	p, ok := fs.folder.LastPlace(in.node)
	return ok && !p.Visible
}
