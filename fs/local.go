package fs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

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
	case name == ".git", strings.HasPrefix(name, ".nfs"), strings.HasPrefix(name, ".#"):
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

// localNames lists the local names of a directory.
func (fs *filesystem) localNames(dir *inode) []os.DirEntry {
	list, _ := os.ReadDir(fs.localDir(dir.node))
	return list
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
		fs.local.Forget(id, 1)
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

// localID looks up the loopback's directory, with one reference.
func (fs *filesystem) localID(cancel <-chan struct{}, h *fuse.InHeader, dir *inode, make bool) (uint64, fuse.Status) {
	path := fs.localDir(dir.node)
	if make {
		if err := syscall.Mkdir(path, 0o700); err != nil && err != syscall.EEXIST {
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

// localRename renames between local names.
func (fs *filesystem) localRename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	resolve := func(id uint64, name string) (uint64, bool, fuse.Status) {
		if id&localBit != 0 {
			return id &^ localBit, false, fuse.OK
		}
		dir := fs.get(id)
		if dir == nil {
			return 0, false, fuse.ENOENT
		}
		inner, st := fs.localID(cancel, &in.InHeader, dir, true)
		return inner, true, st
	}
	from, counted, st := resolve(in.NodeId, oldName)
	if !st.Ok() {
		return st
	}
	if counted {
		defer fs.local.Forget(from, 1)
	}
	to, counted2, st := resolve(in.Newdir, newName)
	if !st.Ok() {
		return st
	}
	if counted2 {
		defer fs.local.Forget(to, 1)
	}
	inner := *in
	inner.NodeId, inner.Newdir = from, to
	return fs.local.Rename(cancel, &inner, oldName, newName)
}
