package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Create implements fuse.RawFileSystem. The new file is in the journal, not in
// the folder: it gets there with its content.
func (fs *filesystem) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if toLocal(&in.InHeader) {
		st := fs.localEntry(fs.local.Create(cancel, in, name, out), &out.EntryOut)
		fs.localTouched(cancel, &in.InHeader, name, st)
		return st
	}
	if fs.staysNew(&in.InHeader, name, false) {
		return fs.makeLocal(cancel, &in.InHeader, name, func(h *fuse.InHeader) fuse.Status {
			in.NodeId = h.NodeId
			return fs.local.Create(cancel, in, name, out)
		}, &out.EntryOut)
	}
	n, made, st := fs.create(&in.InHeader, name, in.Mode, in.Flags&syscall.O_EXCL != 0, &out.EntryOut)
	if !st.Ok() {
		return st
	}
	if n == nil {
		return fuse.EPERM // the guardian makes nodes, and opens them later
	}
	flags := in.Flags
	if made {
		flags &^= syscall.O_TRUNC
	}
	if st := fs.openInode(n, &in.InHeader, flags, &out.OpenOut); !st.Ok() {
		fs.Forget(out.NodeId, 1)
		return st
	}
	return fuse.OK
}

// Mknod implements fuse.RawFileSystem.
func (fs *filesystem) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.localEntry(fs.local.Mknod(cancel, in, name, out), out)
	}
	if fs.staysNew(&in.InHeader, name, false) {
		return fs.makeLocal(cancel, &in.InHeader, name, func(h *fuse.InHeader) fuse.Status {
			in.NodeId = h.NodeId
			return fs.local.Mknod(cancel, in, name, out)
		}, out)
	}
	if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fs.mknodSpecial(in, name, out)
	}
	n, _, st := fs.create(&in.InHeader, name, in.Mode, true, out)
	if st.Ok() && n != nil {
		n.mu.Lock()
		if n.sess != nil {
			n.sess.closed = time.Now()
		}
		n.mu.Unlock()
		fs.ripen(n)
	}
	return st
}

// create makes a file, or finds the one there if it need not be new. It returns
// no inode to the guardian, who was only to make a name known.
func (fs *filesystem) create(h *fuse.InHeader, name string, mode uint32, excl bool, out *fuse.EntryOut) (n *inode, made bool, st fuse.Status) {
	if st := checkName(name); !st.Ok() {
		return nil, false, st
	}
	who := fs.resolver.see(h.Pid, true, nil)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir, st := fs.directory(h.NodeId)
	if !st.Ok() {
		return nil, false, st
	}
	if fs.expected(h.Pid, dir, name) {
		return nil, false, fs.hand(dir, name, out)
	}
	owner, _ := newOwner(dir, h.Owner)
	if w := fs.waits[at(dir, name)]; w != nil && fs.over[at(dir, name)] == nil && w.in.kind == crdt.File {
		if w.by.related(who) {
			n, err := fs.revive(w, who, mode, owner)
			if err != nil {
				return nil, false, status(err)
			}
			fs.touched(dir)
			return n, true, fs.entry(n, out)
		}
		if err := fs.settleLocked(); err != nil {
			return nil, false, status(err)
		}
	}
	if n, err := fs.find(dir, name); err == nil {
		if excl {
			return nil, false, fuse.Status(syscall.EEXIST)
		}
		return n, false, fs.entry(n, out)
	}
	now := time.Now()
	n = fs.add(&inode{kind: crdt.File, owner: owner})
	n.mu.Lock()
	n.draft.mode, n.bits = mode&modeBits, mode&setID
	n.loaded, n.mtime = true, now
	fs.put(n, dir, name)
	_, err := fs.begin(n, who, whole)
	if err != nil {
		fs.hide(n)
		delete(fs.inodes, n.id)
		n.mu.Unlock()
		return nil, false, status(err)
	}
	n.writer = who
	n.mu.Unlock()
	fs.touched(dir)
	return n, true, fs.entry(n, out)
}
