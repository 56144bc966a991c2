package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A name in a directory is, in this order: a file that is not in the folder yet
// or that a rename will bring (over), nothing if a removal or rename of it
// waits (waits), else what the folder says.

// place is a name in a directory.
type place struct {
	dir  crdt.NodeID
	name string
}

func at(dir *inode, name string) place { return place{dir.node, name} }

// find is what a name stands for: an inode, or what the folder says. The caller
// holds filesystem.mu.
func (fs *filesystem) find(dir *inode, name string) (*inode, error) {
	if in := fs.over[at(dir, name)]; in != nil {
		return in, nil
	}
	if fs.waits[at(dir, name)] != nil {
		return nil, crdt.ErrNotExist
	}
	if !fs.folder.Names(dir.node, name) {
		return nil, crdt.ErrNotExist // each file that is made is looked for before
	}
	info, err := fs.folder.Lookup(dir.node, name)
	if err != nil {
		return nil, err
	}
	return fs.inodeFor(info), nil
}

// put makes a name stand for an inode that the folder does not have there. The
// caller holds filesystem.mu and in.mu.
func (fs *filesystem) put(in *inode, dir *inode, name string) {
	fs.hide(in)
	in.parent, in.name = dir, name
	fs.over[at(dir, name)] = in
	if fs.overIn[dir.node] == nil {
		fs.overIn[dir.node] = map[string]*inode{}
	}
	fs.overIn[dir.node][name] = in
	fs.nameChanged()
}

// hide takes back put. The caller holds filesystem.mu and in.mu.
func (fs *filesystem) hide(in *inode) {
	if in.parent == nil {
		return
	}
	p := at(in.parent, in.name)
	if fs.over[p] == in {
		delete(fs.over, p)
		if m := fs.overIn[p.dir]; m != nil {
			if delete(m, p.name); len(m) == 0 {
				delete(fs.overIn, p.dir)
			}
		}
		fs.nameChanged()
	}
	in.parent, in.name = nil, ""
}

// directory finds a directory that names may be made in.
func (fs *filesystem) directory(id uint64) (*inode, fuse.Status) {
	dir := fs.inodes[id]
	switch {
	case dir == nil:
		return nil, fuse.ENOENT
	case dir.kind != crdt.Dir:
		return nil, fuse.ENOTDIR
	case dir.crossed:
		return nil, fuse.Status(syscall.ESTALE)
	case dir.gone:
		return nil, fuse.ENOENT
	}
	return dir, fuse.OK
}

// Lookup implements fuse.RawFileSystem.
func (fs *filesystem) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if toLocal(h) {
		st := fs.localEntry(fs.local.Lookup(cancel, h, name, out), out)
		if st == fuse.ENOENT && out.EntryTimeout() == forever {
			return fuse.OK // localNode has made sure that there is nothing
		}
		return fs.orMoved(cancel, h, st)
	}
	if st := checkName(name); !st.Ok() {
		return st
	}
	if fs.stays(h.NodeId, name) && !fs.isPoke(h.Pid) {
		return fs.localRoot(cancel, h, name, false, func(h *fuse.InHeader) fuse.Status {
			return fs.local.Lookup(cancel, h, name, out)
		}, out)
	}
	if name == virtualName && h.NodeId == fuse.FUSE_ROOT_ID {
		return fs.localEntry(fs.local.Lookup(cancel, h, name, out), out)
	}
	in, st := fs.lookup(h, name)
	switch {
	case st == unknownYet:
		return fuse.ENOENT // so that the guardian's mknod comes through to us
	case st == fuse.ENOENT:
		out.SetEntryTimeout(forever) // the kernel may remember that there is nothing
		return fuse.OK
	case !st.Ok():
		return st
	}
	in.mu.Lock()
	st = fs.entryOut(in, out)
	in.mu.Unlock()
	if !st.Ok() {
		fs.Forget(in.id, 1)
	}
	return st
}

// unknownYet is lookup's answer to the guardian for a name it is to make known.
const unknownYet = fuse.Status(-1)

// lookup finds a name and counts one reference. A file that is being published
// keeps only those waiting who ask for itself, so its lock is taken later.
func (fs *filesystem) lookup(h *fuse.InHeader, name string) (*inode, fuse.Status) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir, st := fs.directory(h.NodeId)
	if !st.Ok() {
		return nil, st
	}
	if fs.expected(h.Pid, dir, name) {
		return nil, unknownYet
	}
	in, err := fs.find(dir, name)
	if node, ok := fs.departed[at(dir, name)]; ok && err != nil && fs.isPoke(h.Pid) {
		in = fs.ghost(node)
	} else if err != nil {
		return nil, status(err)
	}
	if in == nil {
		return nil, fuse.ENOENT
	}
	in.lookups++
	return in, fuse.OK
}

// FsyncDir implements fuse.RawFileSystem.
func (fs *filesystem) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.withLocalDir(cancel, &in.InHeader, func(fh uint64) fuse.Status {
			in.Fh = fh
			return fs.local.FsyncDir(cancel, in)
		})
	}
	if err := fs.journal.sync(); err != nil {
		return status(err)
	}
	return status(fs.folder.Sync())
}

// Mkdir implements fuse.RawFileSystem.
func (fs *filesystem) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.localEntry(fs.local.Mkdir(cancel, in, name, out), out)
	}
	if fs.staysNew(&in.InHeader, name, true) {
		return fs.makeLocal(cancel, &in.InHeader, name, func(h *fuse.InHeader) fuse.Status {
			in.NodeId = h.NodeId
			return fs.local.Mkdir(cancel, in, name, out)
		}, out)
	}
	return fs.make(&in.InHeader, name, out, func(tx *crdt.Tx, dir crdt.NodeID) (crdt.NodeID, error) {
		return tx.Mkdir(dir, name, in.Mode&modeBits)
	})
}

// Symlink implements fuse.RawFileSystem.
func (fs *filesystem) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if toLocal(h) {
		return fs.localEntry(fs.local.Symlink(cancel, h, target, name, out), out)
	}
	if fs.staysNew(h, name, false) {
		return fs.makeLocal(cancel, h, name, func(h *fuse.InHeader) fuse.Status {
			return fs.local.Symlink(cancel, h, target, name, out)
		}, out)
	}
	return fs.make(h, name, out, func(tx *crdt.Tx, dir crdt.NodeID) (crdt.NodeID, error) {
		node, err := tx.Symlink(dir, name, target)
		if err == nil {
			TrustLink(tx, node)
		}
		return node, err
	})
}

// make makes a directory or symlink, at once.
func (fs *filesystem) make(h *fuse.InHeader, name string, out *fuse.EntryOut, f func(tx *crdt.Tx, dir crdt.NodeID) (crdt.NodeID, error)) fuse.Status {
	if st := checkName(name); !st.Ok() {
		return st
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir, st := fs.directory(h.NodeId)
	if !st.Ok() {
		return st
	}
	if fs.expected(h.Pid, dir, name) {
		return fs.hand(dir, name, out)
	}
	if fs.over[at(dir, name)] != nil {
		return fuse.Status(syscall.EEXIST)
	}
	if fs.waits[at(dir, name)] != nil {
		if err := fs.settleLocked(); err != nil {
			return status(err)
		}
	}
	if err := fs.bringBack(dir); err != nil {
		return status(err)
	}
	owner, bits := newOwner(dir, h.Owner)
	var node crdt.NodeID
	err := fs.update(func(tx *crdt.Tx) (err error) {
		node, err = f(tx, dir.node)
		return err
	})
	if err != nil {
		return status(err)
	}
	info, err := fs.folder.Get(node)
	if err != nil {
		return status(err)
	}
	fs.touched(dir)
	n := fs.inodeFor(info)
	n.mu.Lock()
	if n.owner, n.touch = owner, time.Now(); n.kind == crdt.Dir {
		n.bits, n.mtime = bits, n.touch // one that was there before is the same node
	}
	err = fs.keepOwner(n)
	n.mu.Unlock()
	if err != nil {
		return status(err)
	}
	return fs.entry(n, out)
}

// touched sets the time of a directory whose names changed.
func (fs *filesystem) touched(dir *inode) {
	dir.mu.Lock()
	dir.touch = time.Now()
	dir.mtime = dir.touch
	dir.mu.Unlock()
}
