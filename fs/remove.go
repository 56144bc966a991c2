package fs

import (
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Unlink implements fuse.RawFileSystem.
func (fs *filesystem) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if toLocal(h) {
		st := fs.local.Unlink(cancel, h, name)
		fs.localTouched(cancel, h, name, st)
		return st
	}
	if fs.isPoke(h.Pid) {
		return fuse.OK
	}
	if fs.stays(h.NodeId, name) {
		return fs.unmakeLocal(cancel, h, name, func(h *fuse.InHeader) fuse.Status {
			return fs.local.Unlink(cancel, h, name)
		})
	}
	who := fs.resolver.see(h.Pid, true, nil)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir, st := fs.directory(h.NodeId)
	if !st.Ok() {
		return st
	}
	in, err := fs.find(dir, name)
	if err != nil {
		return status(err)
	}
	if in.kind == crdt.Dir {
		return fuse.EISDIR
	}
	if in.kind == special {
		if err := fs.dropSpecial(in); err != nil {
			return status(err)
		}
		fs.touched(dir)
		return fuse.OK
	}
	if in.alt != nil {
		// Of versions that do not merge, the one under the name is chosen.
		err := fs.update(func(tx *crdt.Tx) error { return tx.Resolve(in.node, in.alt) })
		if err != nil {
			return status(err)
		}
	} else if in.bound {
		if in.parent != nil {
			if err := fs.settleLocked(); err != nil {
				return status(err)
			}
		}
		if err := fs.postpone(in, dir, name, nil, "", who); err != nil {
			return status(err)
		}
	}
	fs.detach(in)
	in.mu.Lock()
	if !in.bound {
		// A temporary file: nobody else ever hears of it.
		if s := in.sess; s != nil && in.handles > 0 {
			s.Unnamed = true
			if err := fs.journal.put(s.record); err != nil {
				fs.log.Error("remove a new file", "name", name, "err", err)
			}
		} else {
			fs.discardSession(in)
		}
		fs.hide(in)
	}
	in.mu.Unlock()
	fs.release(in)
	fs.touched(dir)
	return fuse.OK
}

// Rmdir implements fuse.RawFileSystem.
func (fs *filesystem) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if toLocal(h) {
		return fs.local.Rmdir(cancel, h, name)
	}
	if fs.isPoke(h.Pid) {
		return fuse.OK
	}
	if fs.stays(h.NodeId, name) {
		return fs.unmakeLocal(cancel, h, name, func(h *fuse.InHeader) fuse.Status {
			return fs.local.Rmdir(cancel, h, name)
		})
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir, st := fs.directory(h.NodeId)
	if !st.Ok() {
		return st
	}
	in, err := fs.find(dir, name)
	if err != nil {
		return status(err)
	}
	if in.kind != crdt.Dir {
		return fuse.ENOTDIR
	}
	if err := fs.settleLocked(); err != nil {
		return status(err)
	}
	if in.isRemains() {
		err := fs.endRemains(in)
		if err == nil {
			fs.release(in)
			fs.touched(dir)
		}
		return status(err)
	}
	if fs.occupied(in) {
		return fuse.Status(syscall.ENOTEMPTY)
	}
	if err := gone(fs.update(func(tx *crdt.Tx) error { return tx.Remove(in.node) })); err != nil {
		return status(err)
	}
	os.Remove(fs.localDir(in.node)) // it is empty
	fs.detach(in)
	fs.unbindGone(in)
	fs.release(in)
	fs.touched(dir)
	return fuse.OK
}
