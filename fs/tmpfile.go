package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Tmpfile implements fuse.RawFileSystem: O_TMPFILE makes a file without a name,
// which linkat may give one. Until then it is like one that was removed.
func (fs *filesystem) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if in.NodeId&localBit != 0 {
		return fuse.ENOTSUP
	}
	who := fs.resolver.see(in.Pid, true, nil)
	fs.mu.Lock()
	dir, st := fs.directory(in.NodeId)
	if !st.Ok() {
		fs.mu.Unlock()
		return st
	}
	owner, _ := newOwner(dir, in.Owner)
	now := time.Now()
	n := fs.add(&inode{kind: crdt.File, owner: owner, gone: true, unnamed: in.Flags&syscall.O_EXCL == 0})
	n.mu.Lock()
	n.draft.mode, n.bits, n.loaded, n.mtime, n.writer = in.Mode&modeBits, in.Mode&setID, true, now, who
	n.mu.Unlock()
	st = fs.entry(n, &out.EntryOut)
	fs.mu.Unlock()
	if !st.Ok() {
		return st
	}
	if st := fs.openInode(n, &in.InHeader, in.Flags&^(syscall.O_EXCL|syscall.O_TRUNC), &out.OpenOut); !st.Ok() {
		fs.Forget(out.NodeId, 1)
		return st
	}
	return fuse.OK
}

// Link implements fuse.RawFileSystem. A folder has no hard links: a file is one
// name with one history. Only a file without any name can be given one.
func (fs *filesystem) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if in.NodeId&in.Oldnodeid&localBit != 0 {
		in.NodeId, in.Oldnodeid = in.NodeId&^localBit, in.Oldnodeid&^localBit
		return fs.localEntry(fs.local.Link(cancel, in, name, out), out)
	}
	if in.NodeId&localBit != in.Oldnodeid&localBit {
		return fuse.EXDEV
	}
	if st := checkName(name); !st.Ok() {
		return st
	}
	who := fs.resolver.see(in.Pid, true, nil)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.inodes[in.Oldnodeid]
	if n == nil || !n.unnamed || IsLocal(name) {
		return fuse.EPERM
	}
	dir, st := fs.directory(in.NodeId)
	if !st.Ok() {
		return st
	}
	if _, err := fs.find(dir, name); err == nil {
		return fuse.Status(syscall.EEXIST)
	}
	if err := fs.settleLocked(); err != nil {
		return status(err)
	}
	if err := fs.giveName(n, dir, name, who); err != nil {
		return status(err)
	}
	fs.touched(dir)
	return fs.entry(n, out)
}

// giveName makes a file without a name a new file of the folder.
func (fs *filesystem) giveName(n, dir *inode, name string, who *caller) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = false
	fs.put(n, dir, name)
	s, err := fs.begin(n, who, whole)
	if err == nil {
		fs.place(n, &s.record)
		s.Unnamed, s.closed = false, time.Now()
		err = fs.journal.put(s.record)
	}
	if err != nil {
		fs.hide(n)
		n.gone = true
		return err
	}
	n.unnamed, n.touch = false, time.Now()
	fs.ripen(n)
	return nil
}
