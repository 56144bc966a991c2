package fs

import (
	"context"
	"time"
)

// shownWithin bounds what Shown waits for: remote text is held back a moment after a save.
const shownWithin = 1500 * time.Millisecond

// Shown waits until the mount shows what the folder held when it was called, as far as nothing
// holds that back: who changed the folder by a command finds the change there when the command
// returns. It gives up when ctx is done, and after a second or two.
func (s *Server) Shown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shownWithin)
	defer cancel()
	told := make(chan struct{})
	s.fs.folder.Told(func() { s.fs.queue.put(func() { close(told) }) })
	select {
	case <-told:
	case <-s.served:
		return
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.fs.behind() {
		select {
		case <-tick.C:
		case <-s.served:
			return
		case <-ctx.Done():
			return
		}
	}
}

// behind reports whether programs may still see an old name, or an old version of a file that
// nobody writes.
func (fs *filesystem) behind() bool {
	fs.mu.RLock()
	list := make([]*inode, 0, len(fs.nodes))
	for _, in := range fs.nodes {
		list = append(list, in)
	}
	naming := len(fs.expecting)+len(fs.departed) > 0 // the guardian is about to tell of names
	fs.mu.RUnlock()
	if naming {
		return true
	}
	for _, in := range list {
		in.mu.Lock()
		behind := in.stale && !in.gone && in.bound && in.writers == 0 || in.flipping
		in.mu.Unlock()
		if behind {
			return true
		}
	}
	return false
}
