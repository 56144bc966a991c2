package fs

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sort"
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
	fs.renamed.Add(1)
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
		fs.renamed.Add(1)
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
		return fs.orMoved(cancel, h, fs.localEntry(fs.local.Lookup(cancel, h, name, out), out))
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

// dirent is one line of a directory.
type dirent struct {
	name string
	info crdt.Info
	in   *inode // instead of info

	local localName // instead of both

	cookie uint64 // where a listing goes on after it
}

// list is what a directory shows. The caller holds filesystem.mu for reading.
func (fs *filesystem) list(dir *inode) ([]dirent, error) {
	infos, err := fs.folder.ReadDir(dir.node)
	if err != nil && !dir.isRemains() {
		return nil, err
	}
	out := make([]dirent, 0, len(infos)+len(fs.overIn[dir.node]))
	for _, i := range infos {
		p := at(dir, i.Name)
		if fs.waits[p] == nil && fs.over[p] == nil && !IsLocal(i.Name) && fs.locals.get(dir.node, i.Name) == nil {
			out = append(out, dirent{name: i.Name, info: i})
		}
	}
	if extra := fs.overIn[dir.node]; len(extra) > 0 {
		for name, in := range extra {
			out = append(out, dirent{name: name, in: in})
		}
	}
	return out, nil
}

// OpenDir implements fuse.RawFileSystem.
func (fs *filesystem) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.orMoved(cancel, &in.InHeader, fs.local.OpenDir(cancel, in, out))
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir := fs.inodes[in.NodeId]
	switch {
	case dir == nil:
		return fuse.ENOENT
	case dir.crossed:
		return fuse.Status(syscall.ESTALE)
	}
	out.Fh = fs.open(&handle{in: dir, flags: in.Flags})
	out.OpenFlags |= fuse.FOPEN_CACHE_DIR
	if dir.listed == fs.namesNow() {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	return fuse.OK
}

// namesNow counts changes of what listings show. It is never 0.
func (fs *filesystem) namesNow() uint64 { return 1 + fs.renamed.Load() + fs.locals.changes.Load() }

// ReadDir implements fuse.RawFileSystem.
func (fs *filesystem) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.local.ReadDir(cancel, in, out)
	}
	return fs.readDir(in, func(e fuse.DirEntry, _ dirent, _ bool) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus implements fuse.RawFileSystem.
func (fs *filesystem) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.localReadDirPlus(cancel, in, out)
	}
	return fs.readDir(in, func(e fuse.DirEntry, d dirent, fresh bool) bool {
		eo := out.AddDirLookupEntry(e)
		if eo == nil {
			return false
		}
		if e.Name == "." || e.Name == ".." || d.name == "" {
			return true
		}
		// What went away since the listing, or is busy, has no number: the kernel will ask.
		if d.local.mode != 0 {
			return true
		}
		var n *inode
		var err error
		if fresh = fresh && d.in == nil && !d.info.Alt; fresh {
			n = fs.inodeFor(d.info)
		} else {
			n, err = fs.find(fs.handles[in.Fh].in, d.name)
		}
		if err != nil || !n.mu.TryLock() {
			return true
		}
		defer n.mu.Unlock()
		st := fuse.OK
		if fresh {
			if st = fs.attrOf(n, d.info, &eo.Attr); st.Ok() {
				n.entry(eo)
			}
		} else {
			st = fs.entryOut(n, eo)
		}
		if st.Ok() {
			n.lookups++
		} else {
			*eo = fuse.EntryOut{}
		}
		return true
	})
}

// readDir lists from the snapshot that was taken at offset 0, so that every
// name that stays is seen once. add is told whether the snapshot was taken just now,
// under the lock that is held: then it is also what the names stand for.
//
// The kernel keeps a listing for who opens the directory later, until a name changes
// anywhere: OpenDir compares.
func (fs *filesystem) readDir(in *fuse.ReadIn, add func(e fuse.DirEntry, d dirent, fresh bool) bool) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	h := fs.handles[in.Fh]
	if h == nil {
		return fuse.EBADF
	}
	if h.in.gone {
		return fuse.OK
	}
	now := fs.namesNow() // before the listing is made, which may then be newer
	fresh := in.Offset == 0 || h.list == nil
	if fresh {
		list, err := fs.list(h.in)
		if err != nil {
			return status(err)
		}
		for name, n := range fs.locals.list(h.in.node) {
			list = append(list, dirent{name: name, local: n})
		}
		h.list, h.listed = inOrder(list), now
	}
	if h.in.listed = h.listed; h.listed != now {
		h.in.listed = 0 // the kernel may put the rest of an old listing behind a new one's beginning
	}
	from := sort.Search(len(h.list), func(i int) bool { return h.list[i].cookie > in.Offset })
	for _, d := range h.list[from:] {
		e := fuse.DirEntry{Name: d.name, Off: d.cookie, Mode: syscall.S_IFDIR, Ino: h.in.ino}
		if d.local.mode != 0 {
			e.Mode, e.Ino = d.local.mode, d.local.ino
		} else if d.name != "." && d.name != ".." {
			e.Mode, e.Ino = fs.direntMode(d)
		}
		if !add(e, d, fresh) {
			break
		}
	}
	return fuse.OK
}

// inOrder adds the two names that every directory has and brings a listing into the
// order of numbers that depend on the names alone: who got its beginning from the kernel's
// cache goes on where that ended, whatever came or went meanwhile.
func inOrder(list []dirent) []dirent {
	h := fnv.New64a()
	for i := range list {
		h.Reset()
		h.Write([]byte(list[i].name))
		list[i].cookie = h.Sum64()>>2 + 3
	}
	list = append(list, dirent{name: ".", cookie: 1}, dirent{name: "..", cookie: 2})
	slices.SortFunc(list, func(a, b dirent) int {
		return cmp.Or(cmp.Compare(a.cookie, b.cookie), cmp.Compare(a.name, b.name))
	})
	for i := range list[1:] {
		list[i+1].cookie = max(list[i+1].cookie, list[i].cookie+1)
	}
	return list
}

// direntMode is the type and number of what a listing names. The caller holds filesystem.mu.
func (fs *filesystem) direntMode(d dirent) (mode uint32, ino uint64) {
	kind := d.info.Kind
	if d.in != nil {
		kind, ino = d.in.kind, d.in.ino
	} else {
		var alt crdt.Version
		if d.info.Alt {
			alt = d.info.Version
		}
		if in := fs.nodes[key(d.info.Node, alt)]; in != nil {
			ino = in.ino
		} else {
			ino = fs.number(d.info.Node, alt)
		}
	}
	switch kind {
	case special:
		d.in.mu.Lock()
		defer d.in.mu.Unlock()
		return d.in.special.Mode & syscall.S_IFMT, ino
	case crdt.Dir:
		return syscall.S_IFDIR, ino
	case crdt.Symlink:
		return syscall.S_IFLNK, ino
	}
	return syscall.S_IFREG, ino
}

// ReleaseDir implements fuse.RawFileSystem.
func (fs *filesystem) ReleaseDir(in *fuse.ReleaseIn) {
	if toLocal(&in.InHeader) {
		fs.local.ReleaseDir(in)
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if h := fs.handles[in.Fh]; h != nil {
		delete(fs.handles, in.Fh)
		h.in.handles--
		fs.release(h.in)
	}
}

// FsyncDir implements fuse.RawFileSystem.
func (fs *filesystem) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.local.FsyncDir(cancel, in)
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
