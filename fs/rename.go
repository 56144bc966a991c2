package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

const (
	renameNoReplace = 1
	renameExchange  = 2
)

// Rename implements fuse.RawFileSystem.
func (fs *filesystem) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if fs.isPoke(in.Pid) {
		return fuse.OK // the folder has it already
	}
	if in.Flags&^(renameNoReplace|renameExchange) != 0 || in.Flags == renameNoReplace|renameExchange {
		return fuse.EINVAL
	}
	if st, done := fs.renameLocal(cancel, in, oldName, newName); done {
		return st
	}
	if st := checkName(newName); !st.Ok() {
		return st
	}
	if in.Newdir == fuse.FUSE_ROOT_ID && newName == virtualName {
		return fuse.EPERM
	}
	who := fs.resolver.see(in.Pid, true, nil)
	fs.prepare(in.NodeId, oldName, in.Newdir, newName)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	from, st := fs.directory(in.NodeId)
	if !st.Ok() {
		return st
	}
	to, st := fs.directory(in.Newdir)
	if !st.Ok() {
		return st
	}
	src, err := fs.find(from, oldName)
	if err != nil {
		return status(err)
	}
	if src.alt != nil && in.Flags == renameExchange {
		return fuse.EROFS
	}
	if src.isRemains() {
		return fuse.EXDEV // only what is in it is left, and is moved itself
	}
	if err := fs.bringBack(to); err != nil {
		return status(err)
	}
	if in.Flags == renameExchange {
		if dst, err := fs.find(to, newName); src.kind == special || err == nil && dst.kind == special {
			return fuse.EINVAL
		}
		return status(fs.exchange(src, from, oldName, to, newName))
	}
	dst, err := fs.find(to, newName)
	switch {
	case err != nil && status(err) != fuse.ENOENT:
		return status(err)
	case err != nil:
		dst = nil
	case in.Flags == renameNoReplace:
		return fuse.Status(syscall.EEXIST)
	case dst == src:
		return fuse.OK
	case dst.alt != nil:
		return fuse.EROFS
	}
	if src.alt != nil {
		err = fs.renameBeside(src, dst, to, newName)
	} else {
		err = fs.rename(src, from, oldName, dst, to, newName, who)
	}
	if err == nil {
		fs.touched(from)
		fs.touched(to)
		src.mu.Lock()
		src.touch = time.Now()
		src.mu.Unlock()
	}
	return status(err)
}

// prepare stores the bytes of a file that is to be renamed, if they are an object
// to be under the new name, before the names are locked.
func (fs *filesystem) prepare(dir uint64, name string, newDir uint64, newName string) {
	var in *inode
	fs.mu.RLock()
	if d := fs.inodes[dir]; d != nil {
		in = fs.over[at(d, name)]
	}
	to := fs.inodes[newDir]
	fs.mu.RUnlock()
	if in == nil || to == nil {
		return
	}
	whole := fs.keepsWhole(fs.spotOf(to.node).under(newName))
	var over crdt.Holding
	if info, err := fs.folder.Lookup(to.node, newName); err == nil && info.Kind == crdt.File {
		if over, err = fs.folder.Holding(info.Node); err != nil {
			over = crdt.Holding{}
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.sess != nil && !in.sess.closed.IsZero() {
		if _, err := fs.content(in, in.sess, whole, over.Body); err != nil {
			fs.log.Warn("store a file to be renamed", "name", name, "err", err) // the rename tries again
		}
	}
}

func (fs *filesystem) rename(src, from *inode, oldName string, dst, to *inode, newName string, who *caller) error {
	w := fs.waits[at(to, newName)]
	switch {
	case dst != nil && src.kind == crdt.Dir && dst.kind != crdt.Dir:
		return crdt.ErrNotDir
	case dst != nil && src.kind != crdt.Dir && dst.kind == crdt.Dir:
		return crdt.ErrIsDir
	case src.kind == special, dst != nil && dst.kind == special:
		return fs.renameSpecial(src, from, oldName, dst, to, newName, who)
	case src.kind == crdt.Dir:
		return fs.renameDir(src, dst, to, newName)
	case dst == nil && w != nil && w.in != src && src.kind == crdt.File && w.in.kind == crdt.File && w.by.related(who):
		// The old file went aside a moment ago: this is a save.
		return fs.renameRevive(src, from, oldName, w, who)
	case dst == nil:
		return fs.renameFree(src, from, oldName, to, newName, who)
	case src.kind == crdt.File && dst.kind == crdt.File:
		return fs.renameOver(src, from, oldName, dst, to, newName, who)
	}
	return fs.renameReplace(src, from, oldName, dst, to, newName)
}

// renameDir moves a directory at once.
func (fs *filesystem) renameDir(src, dst, to *inode, newName string) error {
	if err := fs.settleLocked(); err != nil {
		return err
	}
	if dst != nil && fs.occupied(dst) {
		return crdt.ErrNotEmpty
	}
	err := fs.updateNames(func(tx *crdt.Tx) error {
		if dst != nil {
			if err := tx.Remove(dst.node); err != nil {
				return err
			}
		}
		return tx.Move(src.node, to.node, newName)
	}, src.node)
	if err == nil && dst != nil {
		fs.detach(dst)
		fs.unbindGone(dst)
	}
	return err
}

// occupied tells whether a directory holds anything this device's programs see.
func (fs *filesystem) occupied(dir *inode) bool {
	list, err := fs.list(dir)
	// One that lived only through what was in it went with the last name.
	return gone(err) != nil || len(list) > 0 || fs.locals.list(dir.node) != nil
}

// renameFree takes a file to a name that is free.
func (fs *filesystem) renameFree(src, from *inode, oldName string, to *inode, newName string, who *caller) error {
	if !src.bound {
		return fs.moveDraft(src, to, newName)
	}
	if src.parent != nil || fs.waits[at(to, newName)] != nil {
		// It is under way already, or its new name is being freed: one thing after the other.
		if err := fs.settleLocked(); err != nil {
			return err
		}
	}
	return fs.postpone(src, from, oldName, to, newName, who)
}

// moveDraft renames a file that is not in the folder yet.
func (fs *filesystem) moveDraft(src, to *inode, newName string) error {
	if fs.waits[at(to, newName)] != nil {
		if err := fs.settleLocked(); err != nil {
			return err
		}
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	fs.put(src, to, newName)
	if s := src.sess; s != nil {
		fs.place(src, &s.record)
		return fs.journal.put(s.record)
	}
	return nil
}

// renameOver is how many programs save: the bytes of src become a version of
// dst's node, in the name of who wrote them, and src is no more.
func (fs *filesystem) renameOver(src, from *inode, oldName string, dst, to *inode, newName string, who *caller) error {
	if src.parent != nil && src.bound || dst.parent != nil && dst.bound {
		if err := fs.settleLocked(); err != nil {
			return err
		}
	}
	if !dst.bound {
		// Neither the old file nor, perhaps, the new one is in the folder.
		fs.detach(dst)
		dst.mu.Lock()
		fs.hide(dst)
		dst.mu.Unlock()
		return fs.renameFree(src, from, oldName, to, newName, who)
	}
	dst.mu.Lock()
	err := fs.publish(dst)
	node := dst.node
	base := dst.shows()
	dst.mu.Unlock()
	if err != nil {
		return err
	}
	if base == nil {
		if info, err := fs.folder.Get(node); err == nil {
			base = info.Version
		}
	}
	if err := fs.commitOver(src, node, base, who); err != nil {
		return err
	}
	fs.detach(dst)
	fs.adopt(src, node, dst)
	return nil
}

// renameRevive is the same where the old file was renamed away or removed first.
func (fs *filesystem) renameRevive(src, from *inode, oldName string, w *waiting, who *caller) error {
	if src.parent != nil && src.bound {
		if err := fs.settleLocked(); err != nil {
			return err
		}
		return fs.postpone(src, from, oldName, w.dir, w.name, who)
	}
	old := w.in
	old.mu.Lock()
	err := fs.keepOld(w)
	base := old.version
	old.mu.Unlock()
	if err != nil {
		return err
	}
	fs.forgetWait(w)
	if err := fs.commitOver(src, w.node, base, who); err != nil {
		return err
	}
	fs.adopt(src, w.node, nil)
	return nil
}

// commitOver writes src's bytes to another node and takes src's own away. over
// is the version that the node's name showed. The caller holds filesystem.mu.
func (fs *filesystem) commitOver(src *inode, node crdt.NodeID, over crdt.Version, who *caller) error {
	src.mu.Lock()
	defer src.mu.Unlock()
	if err := fs.load(src); err != nil {
		return err
	}
	writer, whole := src.writer, fs.nodeWhole(node)
	c := crdt.Holding{Body: src.text, Object: src.object.Object}
	now := time.Now()
	s := &session{writer: writer, begun: now, created: src.writing, mtime: src.mtime, record: record{Base: over, Truncated: true, Path: fs.folder.Path(node)}}
	there, err := fs.folder.HoldingAt(node, over)
	if err != nil {
		there = crdt.Holding{}
	}
	mode := src.draft.mode
	if src.bound {
		info, err := fs.folder.Get(src.node)
		if err != nil {
			return err
		}
		mode = info.Mode
	}
	for src.sess != nil {
		open := src.sess
		s.created, s.writer, s.mtime = open.begun, open.writer, open.mtime
		if open.Appended {
			if err := fs.spell(src, open); err != nil {
				return err
			}
		}
		if src.sess == open {
			var err error
			if c, err = fs.content(src, open, whole, there.Body); err != nil {
				return err
			}
			if src.sess == open {
				break
			}
		}
		// It was published meanwhile.
		c = crdt.Holding{Body: src.text, Object: src.object.Object}
	}
	if s.writer == nil {
		s.writer = who
	}
	if c, err = fs.as(c, whole); err != nil {
		return err
	}
	if c.Object == nil && src.sess == nil {
		c.Body = c.Body.Share(there.Body)
	}
	v, err := fs.write(node, s, c)
	if err != nil {
		return err
	}
	info, err := fs.folder.Get(node)
	if err != nil {
		return err
	}
	err = fs.update(func(tx *crdt.Tx) error {
		if info.Mode != mode {
			if err := tx.SetMode(node, mode); err != nil {
				return err
			}
		}
		for k, v := range src.draft.xattrs {
			if err := tx.SetXattr(node, k, v); err != nil {
				return err
			}
		}
		if !src.draft.mtime.IsZero() {
			if err := tx.SetMtime(node, src.draft.mtime); err != nil {
				return err
			}
		}
		if src.bound {
			return tx.Remove(src.node)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fs.hide(src)
	if src.bound {
		fs.dropNumber(src.node)
	}
	fs.bind(src, node)
	src.draft = draft{}
	if src.sess == nil {
		fs.resolver.flush()
		fs.reads.saved(s.writer.wait(), node, v, now, &shown{version: v, size: sizeOf(c), mtime: s.mtime})
		if err := fs.show(src, crdt.Holding{Version: v, Body: c.Body, Object: c.Object}); err != nil {
			return err
		}
		src.keepTime(v, s.mtime)
		fs.hold(src, v)
		return nil
	}
	if len(src.guards) > 0 {
		src.guards = nil
	}
	fs.saved(src, src.sess, c, v)
	return nil
}

// adopt makes src the inode of node, which another had.
func (fs *filesystem) adopt(src *inode, node crdt.NodeID, old *inode) {
	if old != nil {
		src.mu.Lock()
		old.mu.Lock()
		src.guards = old.guards
		old.guards = nil
		if src.writer != nil {
			delete(src.guards, src.writer.wait().process)
		}
		old.mu.Unlock()
		src.mu.Unlock()
	}
	fs.nodes[key(node, nil)] = src
}

// renameReplace is for kinds that are not both files: the old node goes, the
// new one takes its name, at once.
func (fs *filesystem) renameReplace(src, from *inode, oldName string, dst, to *inode, newName string) error {
	if err := fs.settleLocked(); err != nil {
		return err
	}
	if !src.bound || !dst.bound {
		for _, n := range []*inode{src, dst} {
			if n.bound {
				continue
			}
			if err := fs.publishHere(n); err != nil {
				return err
			}
		}
	}
	err := fs.updateNames(func(tx *crdt.Tx) error {
		if err := tx.Remove(dst.node); err != nil {
			return err
		}
		return tx.Move(src.node, to.node, newName)
	}, src.node)
	if err == nil {
		fs.detach(dst)
		fs.unbindGone(dst)
	}
	return err
}

// publishHere brings one new file into the folder; the caller holds filesystem.mu.
func (fs *filesystem) publishHere(n *inode) error {
	n.mu.Lock()
	if n.sess != nil {
		n.sess.closed = time.Now()
	}
	n.mu.Unlock()
	return fs.publishNewLocked([]*inode{n})[n]
}

// exchange swaps two names, at once.
func (fs *filesystem) exchange(src, from *inode, oldName string, to *inode, newName string) error {
	if err := fs.settleLocked(); err != nil {
		return err
	}
	dst, err := fs.find(to, newName)
	if err != nil {
		return err
	}
	for _, n := range []*inode{src, dst} {
		if n.alt != nil {
			return crdt.ErrReadOnly
		}
		if !n.bound {
			if err := fs.publishHere(n); err != nil {
				return err
			}
		}
	}
	// A name between makes room; nobody sees it, since all of this is one batch.
	return fs.updateNames(func(tx *crdt.Tx) error {
		if err := tx.Move(src.node, from.node, ".sheaf-exchange-"+src.node.String()); err != nil {
			return err
		}
		if err := tx.Move(dst.node, from.node, oldName); err != nil {
			return err
		}
		return tx.Move(src.node, to.node, newName)
	}, src.node, dst.node)
}
