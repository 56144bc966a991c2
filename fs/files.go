package fs

import (
	"errors"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
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

	list   []dirent // of a directory
	listed uint64   // namesNow when it was made
}

func (h *handle) writes() bool  { return h.flags&syscall.O_ACCMODE != syscall.O_RDONLY }
func (h *handle) reads() bool   { return h.flags&syscall.O_ACCMODE != syscall.O_WRONLY }
func (h *handle) appends() bool { return h.flags&syscall.O_APPEND != 0 }

// open makes a handle. The caller holds filesystem.mu.
func (fs *filesystem) open(h *handle) uint64 {
	h.in.handles++
	h.since = time.Now()
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
	h := &handle{in: n, flags: flags, poke: fs.isPoke(by.Pid)}
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
		fs.opened(h, tid)
		// The page cache holds what is shown: whatever changes that, announces it.
		out.OpenFlags |= fuse.FOPEN_NOFLUSH
		if n.sess == nil && len(n.guards) == 0 && !n.changing(time.Now()) {
			n.lastRead = time.Now()
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
	if h.flags&syscall.O_ACCMODE == syscall.O_RDWR && h.flags&syscall.O_TRUNC == 0 {
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

// opened records that a process was given what is shown. The caller holds in.mu.
func (fs *filesystem) opened(h *handle, tid uint32) {
	h.in.readers++
	h.by = fs.resolver.see(tid, false, nil)
	fs.given(h.in, h)
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
	c, node, before, at := h.by, n.node, n.before, time.Now()
	if !n.flipping {
		before = nil
	}
	if len(n.guards) > 0 {
		fs.later(0, func() { fs.unguard(n, c, version) })
	}
	fs.resolver.see(c.tid, false, func(*caller) {
		if before != nil {
			// The kernel may still have shown the one before: the save tells which it was.
			fs.reads.read(c, node, before, at)
		}
		fs.reads.read(c, node, version, at)
	})
}

// Read implements fuse.RawFileSystem.
func (fs *filesystem) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if toLocal(&in.InHeader) {
		return fs.local.Read(cancel, in, buf)
	}
	h := fs.handle(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	n := h.in
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := fs.load(n); err != nil {
		return nil, status(err)
	}
	got, err := fs.readShown(h, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
	if err != nil && got == 0 {
		return nil, status(err)
	}
	return fuse.ReadResultData(buf[:got]), fuse.OK
}

// Writev implements fuse.RawFileSystem.
func (fs *filesystem) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if toLocal(&in.InHeader) {
		if len(data) == 1 {
			return fs.local.Write(cancel, in, data[0])
		}
		return 0, fuse.ENOSYS // go-fuse joins the pieces and calls Write
	}
	h := fs.handle(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	n := h.in
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := fs.load(n); err != nil {
		return 0, status(err)
	}
	who := h.by
	if in.Pid != 0 && in.Pid != who.tid {
		who = fs.resolver.see(in.Pid, true, nil)
	}
	// A mapped page is written back at its own offset, whatever the flags.
	appends := h.appends() && in.WriteFlags&fuse.WRITE_CACHE == 0
	mode, off := whole, int64(in.Offset)
	if appends {
		mode, off = appended, -1
	} else if err := fs.stepBack(h); err != nil {
		return 0, status(err)
	}
	s, err := fs.begin(n, who, mode)
	if err != nil {
		return 0, status(err)
	}
	// Large files leave the room that the home needs to open, and to remove them again.
	if s.size > large && (off < 0 || off+total(data) > s.size) {
		if err := fs.home.Room(); err != nil {
			return 0, status(err)
		}
	}
	done, err := s.write(data, off)
	if err != nil {
		return 0, status(err)
	}
	h.wrote = s
	if !appends && !h.placed {
		h.placed = true
		n.placed++
	}
	if h.flushed {
		h.flushed = false
		n.active++
	}
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 || in.Uid != 0 {
		fs.dropPrivileges(n, in.Owner)
	}
	fs.watch(n, s)
	return done, fuse.OK
}

// stepBack makes the view show the version that a handle has read, if a newer
// one came since: the offsets at which its process writes are those of the text
// it knows. The caller holds in.mu.
func (fs *filesystem) stepBack(h *handle) error {
	n := h.in
	if h.wrote != nil && h.wrote.made != nil {
		h.version, h.wrote = h.wrote.made, nil
	}
	if n.sess != nil || !n.bound || !h.reads() || h.version.Equal(n.version) {
		return nil
	}
	c, err := fs.folder.ContentAt(n.node, h.version)
	switch {
	case err != nil:
		return err
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

// Write implements fuse.RawFileSystem.
func (fs *filesystem) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return fs.Writev(cancel, in, [][]byte{data})
}

func total(data [][]byte) (n int64) {
	for _, b := range data {
		n += int64(len(b))
	}
	return n
}

// large is the size from which on a file's growth is refused before the disk is full.
const large = 1 << 20

// dropPrivileges clears set-user-ID and set-group-ID, which do not survive a
// write; the latter does where it has another meaning and the writer is of the
// group. The caller holds in.mu.
func (fs *filesystem) dropPrivileges(n *inode, by fuse.Owner) {
	if n.bits == 0 {
		return
	}
	left := n.bits &^ syscall.S_ISUID
	mode := n.draft.mode
	if info, err := fs.folder.Get(n.node); n.bound && err == nil {
		mode = info.Mode
	}
	if mode&syscall.S_IXGRP != 0 || by.Gid != n.owner.Gid {
		left &^= syscall.S_ISGID
	}
	if left == n.bits || fault.On("fs-keep-suid") {
		return
	}
	n.bits = left
	if !n.bound || n.gone {
		return
	}
	if err := fs.keepOwner(n); err != nil {
		fs.log.Error("clear set-user-ID", "path", fs.folder.Path(n.node), "err", err)
	}
}

// Flush implements fuse.RawFileSystem: a descriptor was closed.
func (fs *filesystem) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.local.Flush(cancel, in)
	}
	h := fs.handle(in.Fh)
	if h == nil || !h.writes() || h.poke {
		return fuse.OK
	}
	n := h.in
	defer fs.settleTag(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !h.flushed {
		h.flushed = true
		n.active--
	}
	s := n.sess
	if s != nil && s.dirty && s.Truncated && n.bound {
		s.killed = killedThread(int(in.Pid))
	}
	if s == nil || !s.dirty || !s.wrote {
		return fuse.OK
	}
	if !n.bound {
		s.closed = time.Now()
		fs.ripen(n)
		return fuse.OK
	}
	if s.Object && n.active > 0 {
		return fuse.OK // the last writer publishes an object
	}
	return status(fs.publish(n))
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
		n.readers--
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
				fs.ripen(n)
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

// Fsync implements fuse.RawFileSystem: what was written lasts, published or not.
func (fs *filesystem) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.local.Fsync(cancel, in)
	}
	h := fs.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	n := h.in
	n.mu.Lock()
	var err error
	if n.sess != nil {
		err = fs.syncSession(n.sess)
	}
	n.mu.Unlock()
	if err == nil {
		err = fs.folder.Sync()
	}
	return status(err)
}

const (
	fallocKeepSize = 1
	fallocPunch    = 2
	fallocZero     = 16
)

// Fallocate implements fuse.RawFileSystem for reserving, punching and zeroing.
func (fs *filesystem) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.local.Fallocate(cancel, in)
	}
	if in.Mode&^(fallocKeepSize|fallocPunch|fallocZero) != 0 {
		return fuse.ENOTSUP
	}
	h := fs.handle(in.Fh)
	if h == nil || !h.writes() {
		return fuse.EBADF
	}
	n := h.in
	n.mu.Lock()
	defer n.mu.Unlock()
	if in.Mode == fallocKeepSize {
		return fuse.OK // a promise of space, which a home does not keep apart
	}
	if err := fs.load(n); err != nil {
		return status(err)
	}
	s, err := fs.begin(n, h.by, whole)
	if err != nil {
		return status(err)
	}
	if err := s.unpack(); err != nil {
		return status(err)
	}
	if err := syscall.Fallocate(s.fd, in.Mode, int64(in.Offset), int64(in.Length)); err != nil {
		return status(err)
	}
	if in.Mode&fallocKeepSize == 0 {
		s.size = max(s.size, int64(in.Offset+in.Length))
	}
	now := time.Now()
	s.dirty, s.wrote, s.mtime, s.last = true, true, now, now
	fs.watch(n, s)
	return fuse.OK
}

// Lseek implements fuse.RawFileSystem: files have no holes.
func (fs *filesystem) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.local.Lseek(cancel, in, out)
	}
	h := fs.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	const seekData, seekHole = 3, 4
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	if err := fs.load(h.in); err != nil {
		return status(err)
	}
	size := uint64(h.in.size())
	if in.Offset >= size {
		return fuse.Status(syscall.ENXIO)
	}
	switch in.Whence {
	case seekData:
		out.Offset = in.Offset
	case seekHole:
		out.Offset = size
	default:
		return fuse.EINVAL
	}
	return fuse.OK
}

// CopyFileRange implements fuse.RawFileSystem; the kernel copies itself.
func (fs *filesystem) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}
