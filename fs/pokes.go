package fs

import (
	"time"

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

// poke asks for a poke; then runs on the queue when it was made, or at once
// without a watcher.
func (fs *filesystem) poke(p guardian.Poke, then func()) {
	if fs.watcher == nil {
		if then != nil {
			then()
		}
		return
	}
	if then != nil {
		p.Done = func(error) { fs.queue.put(then) }
	}
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

// known tells whether the kernel holds a directory: nobody watches one that it
// does not.
func (fs *filesystem) known(dir crdt.NodeID) bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.nodes[key(dir, nil)] != nil
}

// createPoke tells watchers of a new name. Until the guardian has made its call
// the kernel must not know the name, or the call would fail with EEXIST.
func (fs *filesystem) createPoke(node crdt.NodeID, dir *inode, name string) {
	if fs.watcher == nil {
		return
	}
	info, err := fs.folder.Get(node)
	if err != nil {
		return
	}
	p := at(dir, name)
	fs.mu.Lock()
	fs.expecting[p] = node
	fs.mu.Unlock()
	poke := guardian.Poke{Op: guardian.Create, Path: fs.folder.Path(node), Mode: info.Mode, To: info.Target, Mtime: info.Mtime,
		NoOpen: info.Mode&0o111 != 0 || info.Mode&0o200 == 0}
	switch info.Kind {
	case crdt.Dir:
		poke.Kind = guardian.Dir
	case crdt.Symlink:
		poke.Kind = guardian.Symlink
	}
	fs.poke(poke, func() {
		fs.mu.Lock()
		delete(fs.expecting, p)
		fs.mu.Unlock()
		fs.server.EntryNotify(dir.id, name) // in case the call did not come through
	})
}

func pokeKind(in *inode) guardian.Kind {
	switch in.kind {
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

// mtimeOf is the time that stat shows of a node.
func (fs *filesystem) mtimeOf(in *inode) time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	info, _ := fs.folder.Get(in.node)
	_, t := in.sizeAndTime(info)
	return t
}
