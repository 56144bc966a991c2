package fs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Some names are never shared: they are real files of this device, in the home
// under the id of the directory that shows them, so that they follow it when it
// moves and outlive its removal by others. A loopback filesystem answers for
// them; its numbers are told from ours by localBit.

const localBit = 1 << 63

// IsLocal tells whether a name, with all that is under it, stays on this device:
// repositories, NFS's remains of removed files, and the locks and swap files by
// which an editor tells other editors of this machine that it is at work.
func IsLocal(name string) bool {
	switch {
	case name == ".git", strings.HasPrefix(name, ".nfs"), strings.HasPrefix(name, ".#"),
		strings.HasPrefix(name, ".~lock.") && strings.HasSuffix(name, "#"):
		return true
	}
	return swapOf(name) != ""
}

// swapOf is the name of the file that a name is vim's swap file of, or "".
func swapOf(name string) string {
	base, ok := strings.CutPrefix(name, ".")
	if i := len(base) - 4; ok && i > 0 {
		if ext := base[i:]; ext[:3] == ".sw" && ext[3] >= 'a' && ext[3] <= 'p' {
			return base[:i]
		}
	}
	return ""
}

// localNode is a node of the loopback that can be asked where it is.
type localNode struct {
	*gofs.LoopbackNode
}

// whereAttr is an attribute whose value is the node's path in the loopback. Only
// the handlers here ask for it; the kernel's requests for it are refused.
const whereAttr = "sheaf.where"

func (n *localNode) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	if attr == whereAttr {
		path := n.Path(nil)
		if len(path) > len(dest) {
			return uint32(len(path)), syscall.ERANGE
		}
		return uint32(copy(dest, path)), 0
	}
	return n.LoopbackNode.Getxattr(ctx, attr, dest)
}

// Lookup implements gofs.NodeLookuper. That there is nothing of a name the kernel may keep:
// what makes one goes through it. Of a directory that was moved away a moment ago, without
// the loopback's knowing it, nothing is said.
func (n *localNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	child, errno := n.LoopbackNode.Lookup(ctx, name, out)
	if errno == syscall.ENOENT && n.lacks(name) {
		out.SetEntryTimeout(forever)
	}
	return child, errno
}

// lacks tells whether the directory is where the loopback has it, and has nothing of that name.
func (n *localNode) lacks(name string) bool {
	fd, err := unix.Open(filepath.Join(n.RootData.Path, n.Path(nil)), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var dir, st unix.Stat_t
	return unix.Fstat(fd, &dir) == nil && dir.Dev == n.RootData.Dev && dir.Ino == n.StableAttr().Ino &&
		unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == unix.ENOENT
}

// Open implements gofs.NodeOpener. The kernel has the bytes as they were written through it,
// and has nothing to tell when a reader closes.
func (n *localNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	h, how, errno := n.LoopbackNode.Open(ctx, flags)
	how |= fuse.FOPEN_KEEP_CACHE
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		how |= fuse.FOPEN_NOFLUSH
	}
	return h, how, errno
}

// WrapChild makes the loopback's nodes ours.
func (n *localNode) WrapChild(_ context.Context, ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	return wrapLocal(ops)
}

func wrapLocal(ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	if l, ok := ops.(*gofs.LoopbackNode); ok {
		return &localNode{l}
	}
	return ops
}

// newLocal makes the loopback over the home's local files, with the virtual
// directory beside them.
func newLocal(dir string, v virtual) (fuse.RawFileSystem, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return nil, err
	}
	data := &gofs.LoopbackRoot{Path: dir, Dev: uint64(st.Dev)}
	root := &localTop{LoopbackNode: gofs.LoopbackNode{RootData: data}, virtual: v}
	data.RootNode = root
	ttl := forever
	return gofs.NewNodeFS(root, &gofs.Options{EntryTimeout: &ttl, AttrTimeout: &ttl, NullPermissions: true}), nil
}

// localDir is where the local names of a directory are.
func (fs *filesystem) localDir(dir crdt.NodeID) string {
	return filepath.Join(fs.localRootDir, dir.String())
}

// localPath is where a local name of a directory is.
func (fs *filesystem) localPath(dir crdt.NodeID, name string) string {
	return filepath.Join(fs.localDir(dir), name)
}

// makeLocalDir makes the directory of a directory's local names.
func (fs *filesystem) makeLocalDir(dir crdt.NodeID) error {
	if err := os.Mkdir(fs.localDir(dir), 0o700); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// whereLocal is where a directory of the loopback is.
func (fs *filesystem) whereLocal(cancel <-chan struct{}, h *fuse.InHeader) (string, fuse.Status) {
	inner := *h
	inner.NodeId &^= localBit
	buf := make([]byte, 8192)
	n, st := fs.local.GetXAttr(cancel, &inner, whereAttr, buf)
	if !st.Ok() {
		return "", st
	}
	return filepath.Join(fs.localRootDir, string(buf[:n])), fuse.OK
}

// localTouched takes up what a call changed in a directory of this device, if git
// means something by it.
func (fs *filesystem) localTouched(cancel <-chan struct{}, h *fuse.InHeader, name string, st fuse.Status) {
	if !st.Ok() || !gitMeans(name) {
		return
	}
	inner := *h
	if where, st := fs.whereLocal(cancel, &inner); st.Ok() {
		fs.gitTouched(where, name)
	}
}

// stays tells whether a name in a directory is one of this device, as it is.
func (fs *filesystem) stays(dir uint64, name string) bool {
	if IsLocal(name) {
		return true
	}
	fs.mu.RLock()
	in := fs.inodes[dir]
	fs.mu.RUnlock()
	return in != nil && fs.locals.get(in.node, name) != nil
}

// staysNew tells whether a name that may be new is, or is to be, one of this device.
func (fs *filesystem) staysNew(h *fuse.InHeader, name string, isDir bool) bool {
	if fs.isPoke(h.Pid) {
		return false
	}
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	in := fs.inodes[h.NodeId]
	if in == nil || in.kind != crdt.Dir || len(name) > nameMax {
		return false
	}
	if IsLocal(name) || fs.locals.get(in.node, name) != nil {
		return true
	}
	if name == ignoreName {
		fs.ruled(in.node)
	}
	if in.parent == nil && name == virtualName && h.NodeId == fuse.FUSE_ROOT_ID {
		return false
	}
	if fs.exists(in.node, name) {
		return false
	}
	return fs.keeps(in.node, name, isDir)
}

// makeLocal makes a local name in a directory of the folder by a call of the
// loopback's.
func (fs *filesystem) makeLocal(cancel <-chan struct{}, h *fuse.InHeader, name string, f func(*fuse.InHeader) fuse.Status, out *fuse.EntryOut) fuse.Status {
	writer := fs.resolver.see(h.Pid, true, nil)
	dir := fs.get(h.NodeId)
	if dir == nil {
		return fuse.ENOENT
	}
	st := fs.localRoot(cancel, h, name, true, f, out)
	if st.Ok() {
		if err := fs.locals.stat(fs.localRootDir, dir.node, name, writer); err != nil {
			return status(err)
		}
		fs.touched(dir)
	}
	return st
}

// unmakeLocal removes one.
func (fs *filesystem) unmakeLocal(cancel <-chan struct{}, h *fuse.InHeader, name string, f func(*fuse.InHeader) fuse.Status) fuse.Status {
	dir := fs.get(h.NodeId)
	if dir == nil {
		return fuse.ENOENT
	}
	st := fs.localRoot(cancel, h, name, false, f, nil)
	if st.Ok() {
		fs.lost(dir.node, name)
		fs.touched(dir)
	}
	return st
}

// lost takes up that a local name is gone.
func (fs *filesystem) lost(dir crdt.NodeID, name string) {
	fs.locals.drop(dir, name)
	if _, ok := databaseOf(name); ok {
		fs.later(0, func() { fs.sideGone(dir, name) })
	}
	if fs.locals.list(dir) == nil {
		os.Remove(fs.localDir(dir)) // it is empty
	}
}

// toLocal tells whether a request is the loopback's, and makes its number the
// loopback's own.
func toLocal(h *fuse.InHeader) bool {
	if h.NodeId&localBit == 0 {
		return false
	}
	h.NodeId &^= localBit
	return true
}

// localRoot calls f with the loopback's directory of a directory's local names;
// make says that f may need it to be made.
func (fs *filesystem) localRoot(cancel <-chan struct{}, h *fuse.InHeader, name string, make bool, f func(*fuse.InHeader) fuse.Status, out *fuse.EntryOut) fuse.Status {
	if st := checkName(name); !st.Ok() {
		return st
	}
	dir := fs.get(h.NodeId)
	if dir == nil || dir.kind != crdt.Dir {
		return fuse.ENOENT
	}
	id, st := fs.localID(cancel, h, dir, make)
	if st.Ok() {
		inner := *h
		inner.NodeId = id
		st = f(&inner)
	}
	if out == nil {
		return st
	}
	if st == fuse.ENOENT && !make {
		out.SetEntryTimeout(forever)
		return fuse.OK
	}
	return fs.localEntry(st, out)
}

// localID looks up the loopback's directory. The reference that it counts is kept: a
// node that nobody refers to is made anew when it is looked up, without its children.
func (fs *filesystem) localID(cancel <-chan struct{}, h *fuse.InHeader, dir *inode, make bool) (uint64, fuse.Status) {
	path := fs.localDir(dir.node)
	if make {
		if err := fs.makeLocalDir(dir.node); err != nil {
			return 0, status(err)
		}
	}
	inner := *h
	inner.NodeId = fuse.FUSE_ROOT_ID
	var out fuse.EntryOut
	st := fs.local.Lookup(cancel, &inner, filepath.Base(path), &out)
	if st.Ok() && out.NodeId == 0 {
		st = fuse.ENOENT
	}
	return out.NodeId, st
}

// localEntry makes the loopback's answer ours.
func (fs *filesystem) localEntry(st fuse.Status, out *fuse.EntryOut) fuse.Status {
	if st.Ok() && out.NodeId != 0 {
		out.NodeId |= localBit
		out.Attr.Ino |= localBit
	}
	return st
}

func (fs *filesystem) localAttr(st fuse.Status, out *fuse.AttrOut) fuse.Status {
	if st.Ok() {
		out.Attr.Ino |= localBit
	}
	return st
}

// localReadDirPlus makes the numbers in the loopback's listing ours.
func (fs *filesystem) localReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	buf := make([]byte, in.Size)
	list := fuse.NewDirEntryList(buf, in.Offset)
	if st := fs.local.ReadDirPlus(cancel, in, list); !st.Ok() {
		return st
	}
	entries, outs, err := fuse.ParseDirLookupEntries(list.Bytes())
	if err != nil {
		return status(err)
	}
	for i, e := range entries {
		e.Ino |= localBit
		eo := out.AddDirLookupEntry(e)
		if eo == nil {
			break
		}
		*eo = outs[i]
		fs.localEntry(fuse.OK, eo)
	}
	return fuse.OK
}
