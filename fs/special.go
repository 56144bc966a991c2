package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Pipes, sockets and devices are names of this machine: a process here answers
// behind them, elsewhere nobody would. So they are shown by this mount and are
// never in the folder. Each is a record in the journal for as long as it is
// there, which makes it outlive a restart. The kernel does everything but keep
// the name; devices cannot be opened, since the mount is nodev.

// special is the kind of an inode that is one of these.
const special crdt.Kind = 0xff

// mknodSpecial makes one.
func (fs *filesystem) mknodSpecial(in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if st := checkName(name); !st.Ok() {
		return st
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir, st := fs.directory(in.NodeId)
	if !st.Ok() {
		return st
	}
	if _, err := fs.find(dir, name); err == nil {
		return fuse.Status(syscall.EEXIST)
	}
	owner, _ := newOwner(dir, in.Owner)
	now := time.Now()
	n := fs.add(&inode{kind: special, owner: owner,
		special: &record{ID: fs.journal.number(), Kind: specialRecord, Mode: in.Mode, Rdev: in.Rdev}})
	n.mu.Lock()
	n.mtime, n.touch = now, now
	fs.put(n, dir, name)
	err := fs.keepSpecial(n)
	if err != nil {
		fs.hide(n)
		delete(fs.inodes, n.id)
	}
	n.mu.Unlock()
	if err != nil {
		return status(err)
	}
	fs.touched(dir)
	return fs.entry(n, out)
}

// keepSpecial writes down where and what it is. The caller holds in.mu.
func (fs *filesystem) keepSpecial(in *inode) error {
	r := in.special
	if in.parent != nil {
		r.Parent, r.Name = in.parent.node, in.name
		r.Path = join(fs.folder.Path(in.parent.node), in.name)
	}
	r.Owner = fs.ownerRecord(in)
	return fs.journal.put(*r)
}

// loadSpecial shows those that were there before a restart.
func (fs *filesystem) loadSpecial() {
	for _, r := range fs.journal.records() {
		if r.Kind != specialRecord {
			continue
		}
		info, err := fs.folder.Get(r.Parent)
		if err != nil {
			continue // its directory may come back
		}
		n := fs.add(&inode{kind: special, special: &r})
		fs.setOwner(n, r.Owner)
		n.mu.Lock()
		n.mtime = fs.started
		fs.put(n, fs.inodeFor(info), r.Name)
		n.mu.Unlock()
	}
}

// dropSpecial ends it. The caller holds filesystem.mu.
func (fs *filesystem) dropSpecial(in *inode) error {
	if err := fs.journal.drop(in.special.ID); err != nil {
		return err
	}
	in.mu.Lock()
	in.gone = true
	fs.hide(in)
	in.mu.Unlock()
	fs.release(in)
	return nil
}

// renameSpecial renames where a special file is what moves, what is replaced, or
// both. The caller holds filesystem.mu.
func (fs *filesystem) renameSpecial(src, from *inode, oldName string, dst, to *inode, newName string, who *caller) error {
	if dst != nil && dst.kind == special {
		if err := fs.dropSpecial(dst); err != nil {
			return err
		}
		dst = nil
	}
	if src.kind != special {
		return fs.rename(src, from, oldName, nil, to, newName, who)
	}
	if err := fs.settleLocked(); err != nil {
		return err
	}
	if dst != nil && dst.bound {
		if err := fs.update(func(tx *crdt.Tx) error { return tx.Remove(dst.node) }); err != nil {
			return err
		}
	}
	if dst != nil {
		fs.detach(dst)
		dst.mu.Lock()
		fs.hide(dst)
		dst.mu.Unlock()
		fs.unbindGone(dst)
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	fs.put(src, to, newName)
	return fs.keepSpecial(src)
}

// specialAttr fills in what stat shows. The caller holds in.mu.
func (fs *filesystem) specialAttr(in *inode, out *fuse.Attr) {
	out.Mode, out.Rdev = in.special.Mode, in.special.Rdev
	fs.fill(in, out, 0, in.mtime)
}
