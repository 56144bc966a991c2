package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// GetAttr implements fuse.RawFileSystem.
func (fs *filesystem) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if toLocal(&in.InHeader) {
		if fs.hasCrossed(in.NodeId) {
			return fuse.Status(syscall.ESTALE)
		}
		return fs.orMoved(cancel, &in.InHeader, fs.localAttr(fs.local.GetAttr(cancel, in, out), out))
	}
	n := fs.get(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	if n.kind != crdt.File && n.isCrossed() { // a file that is open goes on
		return fuse.Status(syscall.ESTALE)
	}
	var who *caller
	n.mu.Lock()
	if len(n.guards) > 0 {
		n.mu.Unlock()
		who = fs.resolver.see(in.Pid, false, nil).wait()
		n.mu.Lock()
	}
	defer n.mu.Unlock()
	return fs.attrOut(n, who, out)
}

// attrOut fills in an answer. The caller holds in.mu.
func (fs *filesystem) attrOut(n *inode, who *caller, out *fuse.AttrOut) fuse.Status {
	st := fs.attr(n, &out.Attr)
	if !st.Ok() {
		return st
	}
	out.SetTimeout(forever)
	if len(n.guards) > 0 {
		out.SetTimeout(0)
		if who != nil {
			fs.guardAttr(n, who, &out.Attr)
		}
	}
	return fuse.OK
}

// SetAttr implements fuse.RawFileSystem: truncate, chmod, chown, utimens.
func (fs *filesystem) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if toLocal(&in.InHeader) {
		if fs.hasCrossed(in.NodeId) {
			return fuse.Status(syscall.ESTALE)
		}
		return fs.localAttr(fs.local.SetAttr(cancel, in, out), out)
	}
	n := fs.get(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	if n.isCrossed() {
		return fuse.Status(syscall.ESTALE)
	}
	var by *handle
	if fh, ok := in.GetFh(); ok {
		if by = fs.handle(fh); by != nil && by.in != n {
			by = nil
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !fs.isPoke(in.Pid) {
		if st := fs.setAttr(n, by, in); !st.Ok() {
			return st
		}
	}
	return fs.attrOut(n, nil, out)
}

func (fs *filesystem) setAttr(n *inode, by *handle, in *fuse.SetAttrIn) fuse.Status {
	if n.alt != nil {
		return fuse.EROFS
	}
	uid, setUID := in.GetUID()
	gid, setGID := in.GetGID()
	mode, setMode := in.GetMode()
	mtime, setMtime := in.GetMTime()
	atime, setAtime := in.GetATime()
	if setAtime {
		n.atime, n.touch = atime, time.Now()
	}
	if setMode || setMtime {
		if err := fs.change(n, setMode, mode, setMtime, mtime); err != nil {
			return status(err)
		}
		n.touch = time.Now()
	}
	if setUID || setGID {
		if err := fs.chown(n, uid, setUID, gid, setGID); err != nil {
			return status(err)
		}
		n.touch = time.Now()
	}
	size, setSize := in.GetSize()
	if !setSize {
		return fuse.OK
	}
	if n.kind != crdt.File {
		return fuse.EINVAL
	}
	return status(fs.resize(n, by, in, int64(size)))
}

// chown gives a file to another owner of this device; the kernel has checked
// that the caller may. The caller holds in.mu.
func (fs *filesystem) chown(n *inode, uid uint32, setUID bool, gid uint32, setGID bool) error {
	if setUID {
		n.owner.Uid = uid
	}
	if setGID {
		n.owner.Gid = gid
	}
	switch {
	case n.special != nil:
		return fs.keepSpecial(n)
	case !n.bound && n.sess != nil:
		fs.place(n, &n.sess.record)
		return fs.journal.put(n.sess.record)
	case !n.bound, n.gone:
		return nil
	}
	return fs.keepOwner(n)
}

// change sets mode and time of a node or a file to be.
func (fs *filesystem) change(n *inode, setMode bool, mode uint32, setMtime bool, mtime time.Time) error {
	if setMtime {
		n.mtime = mtime
		if n.sess != nil {
			n.sess.mtime = mtime
		}
	}
	switch {
	case n.special != nil:
		if setMode {
			n.special.Mode = n.special.Mode&syscall.S_IFMT | mode&0o7777
		}
		return fs.keepSpecial(n)
	case n.gone && n.bound:
		if setMode {
			n.draft.mode, n.bits = mode&modeBits, mode&setID
		}
		return nil
	case fs.outlives(n):
		return nil // what its save brings back has the mode that it had
	}
	if !n.bound {
		if setMode {
			n.draft.mode, n.bits = mode&modeBits, mode&setID
			if n.sess != nil {
				fs.place(n, &n.sess.record)
				return fs.journal.put(n.sess.record)
			}
		}
		if setMtime {
			n.draft.mtime = mtime
		}
		return nil
	}
	if setMtime {
		fs.ownTimes(n)
		n.savedMtime, n.dated = mtime, nil
	}
	if setMode {
		n.bits = mode & setID
		if err := fs.keepOwner(n); err != nil {
			return err
		}
	}
	return fs.update(func(tx *crdt.Tx) error {
		if setMode {
			if err := tx.SetMode(n.node, mode&modeBits); err != nil {
				return err
			}
		}
		if setMtime {
			return tx.SetMtime(n.node, mtime)
		}
		return nil
	})
}

// resize truncates or extends, through a handle if by is not nil. The caller holds in.mu.
func (fs *filesystem) resize(n *inode, by *handle, in *fuse.SetAttrIn, size int64) error {
	if err := fs.load(n); err != nil {
		return err
	}
	if by != nil && size > 0 {
		if err := fs.stepBack(by, size); err != nil {
			return err
		}
	}
	if size == n.size() && (size > 0 || n.sess == nil) {
		return nil
	}
	if size < 0 {
		return syscall.EINVAL
	}
	var who *caller
	if in.Pid != 0 {
		who = fs.resolver.see(in.Pid, true, nil)
	}
	h := whole
	if size == 0 {
		h = truncate
	}
	s, err := fs.begin(n, who, h)
	if err != nil {
		return err
	}
	if size > 0 {
		if err := fs.cut(s, size); err != nil {
			return err
		}
	}
	if by != nil {
		by.changed(s)
	}
	if in.Uid != 0 {
		fs.dropPrivileges(n, in.Owner)
	}
	fs.watch(n, s)
	return nil
}

// StatFs implements fuse.RawFileSystem: the space is that of the home's disk.
func (fs *filesystem) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	var st syscall.Statfs_t
	if err := syscall.Statfs(fs.home.Dir(), &st); err != nil {
		return status(err)
	}
	out.FromStatfsT(&st)
	out.NameLen = nameMax
	return fuse.OK
}

// Access implements fuse.RawFileSystem; the kernel checks permissions itself.
func (fs *filesystem) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	return fuse.ENOSYS
}
