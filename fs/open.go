package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// handle is one open file description.
type handle struct {
	in      *inode
	flags   uint32
	by      *caller
	version crdt.Version // a reader was given this one last
	placed  bool         // it wrote at an offset of its own
	wrote   *session     // since it was given that, into this one
	flushed bool         // closed once, and not written to since
	poke    bool         // the guardian's, for watchers
	since   time.Time    // when it was opened

	direct   bool      // reads past the page cache, one version to its end
	snapshot *snapshot // that version, while it is being read
}

func (h *handle) writes() bool  { return h.flags&syscall.O_ACCMODE != syscall.O_RDONLY }
func (h *handle) reads() bool   { return h.flags&syscall.O_ACCMODE != syscall.O_WRONLY }
func (h *handle) appends() bool { return h.flags&syscall.O_APPEND != 0 }

// open makes a handle. The caller holds filesystem.mu.
func (fs *filesystem) open(h *handle) uint64 {
	h.in.handles++
	fs.lastHandle++
	fs.handles[fs.lastHandle] = h
	return fs.lastHandle
}

func (fs *filesystem) handle(id uint64) *handle {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.handles[id]
}

// Open implements fuse.RawFileSystem. The kernel has checked permissions.
func (fs *filesystem) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if toLocal(&in.InHeader) {
		if fs.hasCrossed(in.NodeId) {
			return fuse.Status(syscall.ESTALE)
		}
		return fs.orMoved(cancel, &in.InHeader, fs.local.Open(cancel, in, out))
	}
	n := fs.get(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	if n.isCrossed() {
		return fuse.Status(syscall.ESTALE)
	}
	return fs.openInode(n, &in.InHeader, in.Flags, out)
}

func (fs *filesystem) openInode(n *inode, by *fuse.InHeader, flags uint32, out *fuse.OpenOut) fuse.Status {
	switch n.kind {
	case crdt.Dir:
		return fuse.EISDIR
	case special:
		return fuse.Status(syscall.ENXIO) // the kernel opens these itself
	}
	h := &handle{in: n, flags: flags, poke: fs.isPoke(by.Pid), since: time.Now()}
	st := fs.openView(h, by, out)
	if !st.Ok() {
		return st
	}
	fs.mu.Lock()
	out.Fh = fs.open(h)
	fs.mu.Unlock()
	return fuse.OK
}

func (fs *filesystem) openView(h *handle, by *fuse.InHeader, out *fuse.OpenOut) fuse.Status {
	tid := by.Pid
	n := h.in
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.writes() && n.alt != nil {
		return fuse.EROFS
	}
	if h.poke {
		// Nothing is read or written through it.
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
		return fuse.OK
	}
	if !h.writes() {
		if err := fs.know(n); err != nil {
			return status(err)
		}
		n.readers++
		h.by = fs.resolver.see(tid, false, nil)
		fs.given(n, h)
		// The page cache holds what is shown: whatever changes that, announces it.
		out.OpenFlags |= fuse.FOPEN_NOFLUSH
		if n.sess == nil && len(n.guards) == 0 && !n.changing(h.since) {
			n.lastRead = h.since
			out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
		} else {
			h.direct = true
			out.OpenFlags |= fuse.FOPEN_DIRECT_IO
		}
		return fuse.OK
	}
	if err := fs.load(n); err != nil {
		return status(err)
	}
	h.by = fs.resolver.see(tid, true, nil)
	out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	h.direct = h.reads()
	if h.reads() && h.flags&syscall.O_TRUNC == 0 {
		fs.given(n, h)
	}
	if h.flags&syscall.O_TRUNC != 0 {
		if n.size() > 0 || n.sess != nil {
			s, err := fs.begin(n, h.by, truncate)
			if err != nil {
				return status(err)
			}
			fs.watch(n, s)
		}
		if by.Uid != 0 {
			fs.dropPrivileges(n, by.Owner)
		}
	}
	n.writers++
	n.active++
	return fuse.OK
}

// given records the version that a handle's process sees. The caller holds in.mu.
func (fs *filesystem) given(n *inode, h *handle) {
	version := n.shows()
	h.version = version
	if n.sess == nil {
		h.wrote = nil
	}
	if n.alt != nil {
		c, node, at := h.by, n.node, time.Now()
		fs.resolver.see(c.tid, false, func(*caller) { fs.reads.beside(c, node, version, at) })
		return
	}
	if s := n.sess; s != nil && s.dirty {
		s.readers = append(s.readers, h.by)
		return
	}
	if !n.bound {
		n.draft.early = append(n.draft.early, h.by)
		return
	}
	if n.size() > shortText {
		fs.lately.note(n.node, h.by)
	}
	c, node, before, at := h.by, n.node, n.before, time.Now()
	now, was := n.shown(), n.shownLast
	if !n.flipping {
		before = nil
	} else if was != nil && !was.version.Equal(before) {
		was = nil
	}
	if len(n.guards) > 0 {
		fs.later(0, func() { fs.unguard(n, c, version) })
	}
	fs.resolver.see(c.tid, false, func(*caller) {
		if before != nil {
			// The kernel may still have shown the one before: the save tells which it was.
			fs.reads.read(c, node, before, at, was)
		}
		fs.reads.read(c, node, version, at, now)
	})
}

// Release implements fuse.RawFileSystem: the last descriptor of a handle went.
func (fs *filesystem) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	if toLocal(&in.InHeader) {
		fs.local.Release(cancel, in)
		return
	}
	fs.mu.Lock()
	h := fs.handles[in.Fh]
	delete(fs.handles, in.Fh)
	fs.mu.Unlock()
	if h == nil {
		return
	}
	if !h.poke {
		fs.closeView(h)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	h.in.handles--
	fs.release(h.in)
}

func (fs *filesystem) closeView(h *handle) {
	n := h.in
	n.mu.Lock()
	defer n.mu.Unlock()
	if !h.writes() {
		if n.readers--; n.readers == 0 {
			n.lastRead = time.Time{}
		}
	} else {
		n.writers--
		if h.placed {
			n.placed--
		}
		if !h.flushed {
			n.active--
		}
	}
	if s := n.sess; s != nil && h.writes() {
		switch {
		case n.gone && n.writers == 0 && n.readers == 0:
			fs.endSession(n)
		case n.gone:
		case !n.bound:
			if s.wrote || n.writers == 0 {
				if !s.closed.After(s.last) { // the kernel may be late to say so
					s.closed = time.Now()
				}
				fs.ripenClosed(n, s)
			}
		case s.dirty && (s.wrote && !s.Object || n.writers == 0):
			if err := fs.publish(n); err != nil {
				fs.log.Error("publish", "path", s.Path, "err", err)
				fs.watch(n, s)
			}
		}
	}
	// A session that is published ends with the writers it was kept for.
	if s := n.sess; s != nil && !s.dirty && n.placed == 0 && n.bound && !n.gone {
		fs.endSession(n)
	}
	if n.stale {
		fs.refreshIn(n, 0)
	} else if n.idle() {
		n.unload()
	}
}
