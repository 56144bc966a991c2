package fs

import (
	"errors"
	"os"
	"syscall"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A directory that was removed elsewhere goes on here, if it holds names of this
// device or another such directory: it is shown where it was, with these alone.
// What is made in it for all brings it back for all; its removal here ends it.

// isRemains tells whether a directory is not in the folder any more. The caller
// holds filesystem.mu.
func (in *inode) isRemains() bool { return in.kind == crdt.Dir && in.bound && in.parent != nil }

// remaining are the directories of that kind.
func (fs *filesystem) remaining() map[crdt.NodeID]crdt.Place {
	out := map[crdt.NodeID]crdt.Place{}
	for _, dir := range fs.locals.holders() {
		for dir != crdt.Root && len(out) < maxDepth {
			p, ok := fs.folder.LastPlace(dir)
			if !ok || p.Visible {
				break
			}
			out[dir] = p
			dir = p.Dir
		}
	}
	return out
}

// showRemains has all of them shown. The caller holds filesystem.mu.
func (fs *filesystem) showRemains() {
	all := fs.remaining()
	for dir := range all {
		fs.showRemain(dir, all)
	}
}

func (fs *filesystem) showRemain(dir crdt.NodeID, all map[crdt.NodeID]crdt.Place) *inode {
	p, ok := all[dir]
	if !ok {
		if in := fs.nodes[key(dir, nil)]; in != nil {
			return in
		}
		info, err := fs.folder.Get(dir)
		if err != nil {
			return nil
		}
		return fs.inodeFor(info)
	}
	in := fs.nodes[key(dir, nil)]
	if in != nil && in.parent != nil {
		return in
	}
	above := fs.showRemain(p.Dir, all)
	if above == nil {
		return nil
	}
	if in == nil {
		in = fs.add(&inode{kind: crdt.Dir, node: dir, bound: true, ino: fs.inoFor(dir, nil)})
		fs.nodes[key(dir, nil)] = in
	}
	fs.showAt(in, above, p.Name)
	return in
}

// showAt gives a remaining directory its name, or one beside it where the folder
// has given that to something else.
func (fs *filesystem) showAt(in, above *inode, name string) {
	for fs.exists(above.node, name) {
		name += " (here)"
	}
	in.mu.Lock()
	fs.put(in, above, name)
	in.mu.Unlock()
}

// remain is called when a directory was removed elsewhere, and tells whether it
// goes on here.
func (fs *filesystem) remain(dir crdt.NodeID) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	all := fs.remaining()
	if _, ok := all[dir]; !ok {
		return false
	}
	return fs.showRemain(dir, all) != nil
}

// comesBack is called when the folder shows something at a place: a directory that
// remained there is that one again, or joins it, or steps aside.
func (fs *filesystem) comesBack(c crdt.Change) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if in := fs.nodes[key(c.Node, nil)]; in != nil && in.isRemains() {
		in.mu.Lock()
		fs.hide(in)
		in.mu.Unlock()
	}
	old := fs.over[place{c.After.Dir, c.After.Name}]
	if old == nil || !old.isRemains() {
		return
	}
	above := old.parent
	info, err := fs.folder.Get(c.Node)
	if err == nil && info.Kind == crdt.Dir {
		err = fs.join(old.node, c.Node)
	}
	old.mu.Lock()
	fs.hide(old)
	old.mu.Unlock()
	if fs.locals.list(old.node) != nil || len(fs.overIn[old.node]) > 0 {
		fs.showAt(old, above, c.After.Name)
		if err != nil {
			fs.log.Warn("join a directory that remained", "name", c.After.Name, "err", err)
		}
		return
	}
	fs.detach(old)
	fs.unbindGone(old)
}

// join gives the local names of one directory to another, but for those that are
// taken there.
func (fs *filesystem) join(from, to crdt.NodeID) error {
	var errs []error
	for name, n := range fs.locals.list(from) {
		if fs.exists(to, name) {
			continue
		}
		if err := fs.keepIn(fs.localPath(from, name), to, name, n.writer); err != nil {
			errs = append(errs, err)
			continue
		}
		fs.locals.drop(from, name)
	}
	os.Remove(fs.localDir(from)) // if it is empty
	return errors.Join(errs...)
}

// bringBack makes a directory that remained one of the folder again, for what is to
// be made in it. The caller holds filesystem.mu.
func (fs *filesystem) bringBack(dir *inode) error {
	if !dir.isRemains() {
		return nil
	}
	if err := fs.update(func(tx *crdt.Tx) error { return tx.Return(dir.node) }); err != nil {
		return err
	}
	for d := dir; d != nil && d.isRemains(); {
		above := d.parent
		d.mu.Lock()
		fs.hide(d)
		d.mu.Unlock()
		d = fs.nodes[key(above.node, nil)]
	}
	return nil
}

// endRemains removes a directory that remained, once it is empty. The caller holds
// filesystem.mu.
func (fs *filesystem) endRemains(in *inode) error {
	if fs.occupied(in) {
		return syscall.ENOTEMPTY
	}
	in.mu.Lock()
	fs.hide(in)
	in.mu.Unlock()
	os.Remove(fs.localDir(in.node))
	fs.detach(in)
	fs.unbindGone(in)
	return nil
}
