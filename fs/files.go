package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

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
	} else if err := fs.stepBack(h, off); err != nil {
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
	fs.guess(n, s, off, total(data))
	done, err := s.write(data, off)
	if err != nil {
		return 0, status(err)
	}
	if h.wrote = s; !appends {
		h.place()
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

// changed notes that a handle changed the size of what a session shows: what it writes next is
// meant for that. The caller holds in.mu.
func (h *handle) changed(s *session) {
	if h.wrote = s; !h.appends() {
		h.place()
	}
}

// place counts a handle among those that write at offsets of their own. The caller holds in.mu.
func (h *handle) place() {
	if !h.placed {
		h.placed = true
		h.in.placed++
	}
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
	if err := fs.settleRename(h); err != nil {
		return status(err)
	}
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
		fs.ripenClosed(n, s)
		return fuse.OK
	}
	if s.Object && n.active > 0 {
		return fuse.OK // the last writer publishes an object
	}
	return status(fs.publish(n))
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
	if err := fs.stepBack(h, int64(in.Offset)); err != nil {
		return status(err)
	}
	s, err := fs.begin(n, h.by, whole)
	if err != nil {
		return status(err)
	}
	if err := s.unpack(); err != nil {
		return status(err)
	}
	s.text = nil
	if err := syscall.Fallocate(s.fd, in.Mode, int64(in.Offset), int64(in.Length)); err != nil {
		return status(err)
	}
	if in.Mode&fallocKeepSize == 0 {
		s.size = max(s.size, int64(in.Offset+in.Length))
	}
	now := time.Now()
	s.track, s.text = nil, nil
	s.dirty, s.wrote, s.mtime, s.last = true, true, now, now
	h.changed(s)
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
