package fs

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A rename may cross the boundary between what is shared and what is this
// device's. The kernel has then moved a name to an inode that is not the one
// behind it any more: it is told to forget the name, and until it has, whoever
// opens the old inode is answered ESTALE, on which the kernel looks the name up
// again.

// mostMoved bounds what a directory may hold to be moved across in one call;
// beyond it the program is told EXDEV, and copies.
const (
	mostMovedNames = 2000
	mostMovedBytes = 64 << 20
)

// renameLocal is Rename where one of the names is, or is to be, of this device.
// It reports false where none is.
func (fs *filesystem) renameLocal(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) (fuse.Status, bool) {
	oldLocal := in.NodeId&localBit != 0 || fs.stays(in.NodeId, oldName)
	newLocal := in.Newdir&localBit != 0 || fs.stays(in.Newdir, newName)
	src, st := fs.localSource(cancel, in, oldName, oldLocal)
	if !st.Ok() {
		return st, oldLocal || newLocal
	}
	if !newLocal {
		newLocal = fs.toStay(in, newName, src)
	}
	switch {
	case !oldLocal && !newLocal:
		return fuse.OK, false
	case oldLocal && newLocal:
		return fs.renameWithin(cancel, in, oldName, newName), true
	case in.Flags&renameExchange != 0:
		return fuse.EXDEV, true // two programs' worth of moves: let it do them itself
	case oldLocal:
		return fs.bringIn(cancel, in, oldName, newName, src), true
	}
	return fs.takeOut(cancel, in, oldName, newName), true
}

// localSource describes what a rename moves: where it is, if it is of this device.
type localSource struct {
	path  string
	mode  uint32
	isDir bool
}

func (fs *filesystem) localSource(cancel <-chan struct{}, in *fuse.RenameIn, name string, local bool) (localSource, fuse.Status) {
	if !local {
		fs.mu.RLock()
		defer fs.mu.RUnlock()
		dir := fs.inodes[in.NodeId]
		if dir == nil {
			return localSource{}, fuse.ENOENT
		}
		if n := fs.over[at(dir, name)]; n != nil {
			return localSource{isDir: n.kind == crdt.Dir}, fuse.OK
		}
		info, err := fs.folder.Lookup(dir.node, name)
		return localSource{isDir: err == nil && info.Kind == crdt.Dir}, fuse.OK
	}
	dir, st := fs.whereIs(cancel, &in.InHeader, in.NodeId)
	if !st.Ok() {
		return localSource{}, st
	}
	s := localSource{path: filepath.Join(dir, name)}
	var stat syscall.Stat_t
	if err := syscall.Lstat(s.path, &stat); err != nil {
		return s, status(err)
	}
	s.mode = stat.Mode
	s.isDir = stat.Mode&syscall.S_IFMT == syscall.S_IFDIR
	return s, fuse.OK
}

// whereIs is the real directory behind a directory's local names.
func (fs *filesystem) whereIs(cancel <-chan struct{}, h *fuse.InHeader, id uint64) (string, fuse.Status) {
	if id&localBit == 0 {
		dir := fs.get(id)
		if dir == nil {
			return "", fuse.ENOENT
		}
		return fs.localDir(dir.node), fuse.OK
	}
	inner := *h
	inner.NodeId = id
	return fs.whereLocal(cancel, &inner)
}

// toStay tells whether a name that a rename makes in a directory of the folder
// is to be of this device. A repository is, whatever it is called.
func (fs *filesystem) toStay(in *fuse.RenameIn, name string, src localSource) bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	dir := fs.inodes[in.Newdir]
	if dir == nil || dir.kind != crdt.Dir || len(name) > nameMax {
		return false
	}
	if name == ignoreName {
		fs.ruled(dir.node)
	}
	if in.Newdir == fuse.FUSE_ROOT_ID && name == virtualName {
		return false
	}
	if src.isDir && src.path != "" && isRepository(src.path) {
		return true
	}
	p := at(dir, name)
	if fs.over[p] != nil {
		return false
	}
	if fs.waits[p] == nil {
		if _, err := fs.folder.Lookup(dir.node, name); err == nil {
			return false
		}
	}
	return fs.keeps(dir.node, name, src.isDir)
}

// isRepository tells whether a directory is one in which git keeps its own.
func isRepository(path string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(path, name)); err != nil {
			return false
		}
	}
	return true
}

// renameWithin renames between names of this device.
func (fs *filesystem) renameWithin(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	resolve := func(id uint64) (inner uint64, dir *inode, st fuse.Status) {
		if id&localBit != 0 {
			return id &^ localBit, nil, fuse.OK
		}
		if dir = fs.get(id); dir == nil {
			return 0, nil, fuse.ENOENT
		}
		inner, st = fs.localID(cancel, &in.InHeader, dir, true)
		return inner, dir, st
	}
	from, fromDir, st := resolve(in.NodeId)
	if !st.Ok() {
		return st
	}
	to, toDir, st := resolve(in.Newdir)
	if !st.Ok() {
		return st
	}
	var writer *caller
	if fromDir != nil {
		if n := fs.locals.get(fromDir.node, oldName); n != nil {
			writer = n.writer
		}
	}
	inner := *in
	inner.NodeId, inner.Newdir = from, to
	st = fs.local.Rename(cancel, &inner, oldName, newName)
	if fromDir == nil {
		fs.localTouched(cancel, &in.InHeader, oldName, st)
	}
	if !st.Ok() {
		return st
	}
	if toDir != nil {
		if err := fs.locals.stat(fs.localRootDir, toDir.node, newName, writer); err != nil {
			return status(err)
		}
		fs.touched(toDir)
	}
	if fromDir != nil {
		if fs.locals.stat(fs.localRootDir, fromDir.node, oldName, nil) != nil { // not exchanged
			fs.lost(fromDir.node, oldName)
		}
		fs.touched(fromDir)
	}
	return fuse.OK
}

// staleName has the kernel forget a name that it moved across the boundary.
func (fs *filesystem) staleName(dir *inode, dirID uint64, name string) {
	if dir != nil {
		dirID = dir.id
	}
	fs.later(0, func() { fs.server.EntryNotify(dirID, name) })
}

// staleDir has the kernel ask for a directory's attributes before it opens it, or what is in
// it, the next time: it is answered ESTALE. It must know by the end of the call that moved
// the directory across the boundary, so this is called in a handler; the kernel takes no
// lock for it that it holds for a call.
func (fs *filesystem) staleDir(id uint64) { fs.server.InodeNotify(id, -1, 0) }

// hasCrossed tells whether one of the loopback's numbers stands for something that
// is in the folder now.
func (fs *filesystem) hasCrossed(id uint64) bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	_, ok := fs.crossed[id]
	return ok
}

// orMoved makes ENOENT of the loopback ESTALE where it is because what the call is about was
// moved into the folder, by itself or with a directory above it.
func (fs *filesystem) orMoved(cancel <-chan struct{}, h *fuse.InHeader, st fuse.Status) fuse.Status {
	if st != fuse.ENOENT {
		return st
	}
	fs.mu.RLock()
	some := len(fs.crossed) > 0
	fs.mu.RUnlock()
	if !some {
		return st
	}
	if where, found := fs.whereLocal(cancel, h); found.Ok() {
		if _, err := os.Lstat(where); err == nil {
			return st
		}
	}
	return fuse.Status(syscall.ESTALE)
}

func (in *inode) isCrossed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.crossed
}
