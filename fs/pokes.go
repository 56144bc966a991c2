package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs/guardian"
)

// Watcher makes programs that watch the mount hear of changes from elsewhere,
// by calls through the mount that the handlers recognise and answer without
// changing anything.
type Watcher interface {
	// Is tells whether a request by this thread is such a call.
	Is(tid uint32) bool
	// Poke queues a call and returns at once; Done is called once.
	Poke(guardian.Poke)
	// Stop ends the calls; none is under way when it returns.
	Stop()
}

func (fs *filesystem) isPoke(tid uint32) bool {
	return fs.watcher != nil && fs.watcher.Is(tid)
}

// poke asks for a poke; then runs on the queue when it was made or has failed. It
// fails at once without a watcher.
func (fs *filesystem) poke(p guardian.Poke, then func(error)) {
	if fs.watcher == nil {
		then(guardian.ErrClosed)
		return
	}
	p.Done = func(err error) { fs.queue.put(func() { then(err) }) }
	fs.watcher.Poke(p)
}

// touchPoke tells watchers of new content.
func (fs *filesystem) touchPoke(node crdt.NodeID) {
	if fs.watcher == nil {
		return
	}
	info, err := fs.folder.Get(node)
	if err != nil || info.Kind != crdt.File || !fs.known(info.Parent) {
		return
	}
	fs.watcher.Poke(guardian.Poke{
		Op: guardian.Touch, Path: fs.folder.Path(node), Mtime: info.Mtime,
		NoOpen: info.Mode&0o111 != 0 || info.Mode&0o200 == 0,
	})
}

// attrPoke tells watchers of other attributes.
func (fs *filesystem) attrPoke(node crdt.NodeID) {
	if fs.watcher == nil {
		return
	}
	info, err := fs.folder.Get(node)
	if err != nil || node == crdt.Root || !fs.known(info.Parent) {
		return
	}
	fs.watcher.Poke(guardian.Poke{Op: guardian.Attr, Path: fs.folder.Path(node), Mtime: info.Mtime})
}

// known tells whether the kernel holds a directory: nobody watches one that it
// does not.
func (fs *filesystem) known(dir crdt.NodeID) bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.nodes[key(dir, nil)] != nil
}

// createPoke tells watchers of a new name, and the kernel if that fails. Until
// the guardian has made its call the kernel must not know the name, or the call
// would fail with EEXIST.
func (fs *filesystem) createPoke(node crdt.NodeID, dir *inode, name string) {
	info, err := fs.folder.Get(node)
	if err != nil {
		return
	}
	p := guardian.Poke{Op: guardian.Create, Kind: pokeKind(info.Kind), Path: fs.folder.Path(node), Mode: info.Mode,
		To: info.Target, Mtime: info.Mtime, NoOpen: info.Mode&0o111 != 0 || info.Mode&0o200 == 0}
	done := fs.expect(node, crdt.Place{}, crdt.Place{Dir: dir.node, Name: name})
	fs.poke(p, func(err error) {
		if done(); err != nil {
			fs.server.EntryNotify(dir.id, name)
			fs.touchPoke(node) // somebody may have looked for the name before
		}
	})
}

// renamePoke does the same for a name that changed. The kernel need not know the new
// directory, in which case after is nil: it does once the guardian has looked for it.
func (fs *filesystem) renamePoke(c crdt.Change, before, after *inode) {
	p := guardian.Poke{Op: guardian.Rename, Path: join(fs.folder.Path(c.Before.Dir), c.Before.Name),
		To: join(fs.folder.Path(c.After.Dir), c.After.Name)}
	if info, err := fs.folder.Get(c.Node); err == nil {
		p.Kind = pokeKind(info.Kind)
	}
	done := fs.expect(c.Node, c.Before, c.After)
	fs.poke(p, func(err error) {
		if done(); err != nil {
			fs.server.EntryNotify(before.id, c.Before.Name)
			if after != nil {
				fs.server.EntryNotify(after.id, c.After.Name)
			}
		}
	})
}

// removePoke does the same for a name that went; id is 0 if the kernel does not know what
// it stood for.
func (fs *filesystem) removePoke(c crdt.Change, dir *inode, id uint64) {
	p := guardian.Poke{Op: guardian.Remove, Kind: pokeKind(fs.folder.KindOf(c.Node)), Path: join(fs.folder.Path(c.Before.Dir), c.Before.Name)}
	done := fs.expect(c.Node, c.Before, crdt.Place{})
	fs.poke(p, func(err error) {
		switch done(); {
		case err == nil:
		case id == 0:
			fs.server.EntryNotify(dir.id, c.Before.Name)
		default:
			fs.server.DeleteNotify(dir.id, id, c.Before.Name)
		}
	})
}

// expect makes lookups by the guardian find a node where it was, and nothing
// where it is to be, until done is called. A place without a name is none.
func (fs *filesystem) expect(node crdt.NodeID, from, to crdt.Place) (done func()) {
	was, is := place{from.Dir, from.Name}, place{to.Dir, to.Name}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if from.Name != "" {
		fs.departed[was] = node
	}
	if to.Name != "" {
		fs.expecting[is] = node
	}
	return func() {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		if from.Name != "" {
			delete(fs.departed, was)
		}
		if to.Name != "" {
			delete(fs.expecting, is)
		}
	}
}

// ghost is what the guardian takes away, or moves, where the kernel does not know what
// had the name: a program that watches a directory need not have looked at what is in
// it. The caller holds filesystem.mu.
func (fs *filesystem) ghost(node crdt.NodeID) *inode {
	if in := fs.nodes[key(node, nil)]; in != nil {
		return in
	}
	if info, err := fs.folder.Get(node); err == nil {
		return fs.inodeFor(info)
	}
	in := fs.add(&inode{kind: fs.folder.KindOf(node)}) // until the kernel forgets it
	in.mu.Lock()
	in.draft.mode = 0o600
	in.mu.Unlock()
	return in
}

func pokeKind(k crdt.Kind) guardian.Kind {
	switch k {
	case crdt.Dir:
		return guardian.Dir
	case crdt.Symlink:
		return guardian.Symlink
	}
	return guardian.File
}

// expected tells whether the guardian is about to make this name known. The
// caller holds filesystem.mu.
func (fs *filesystem) expected(tid uint32, dir *inode, name string) bool {
	_, ok := fs.expecting[at(dir, name)]
	return ok && fs.isPoke(tid)
}

// hand answers the guardian's creation of a name with the node that has it.
// The caller holds filesystem.mu.
func (fs *filesystem) hand(dir *inode, name string, out *fuse.EntryOut) fuse.Status {
	delete(fs.expecting, at(dir, name))
	in, err := fs.find(dir, name)
	if err != nil {
		return status(err)
	}
	return fs.entry(in, out)
}
