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

// Directories are not opened: the kernel, once told so, lists them without asking first,
// and keeps each listing until it changes the directory itself or is told to drop it.
// Where any name of the folder changes, it is told of every listing that it may have.

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

// listing is what a directory showed when somebody began to list it, until all of it was
// handed out: who lists a directory bit by bit goes on in what it began with.
type listing struct {
	dir        *inode
	list       []dirent
	names      uint64    // namesNow when it was made
	from, next uint64    // the last bit: where it began, and where the next one does
	used       time.Time // when that was handed out
}

const (
	listingsAtMost = 8           // that are half read
	listingFor     = time.Second // how long one waits for its reader
)

// OpenDir implements fuse.RawFileSystem. Answered ENOSYS, the kernel does not ask again.
func (fs *filesystem) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if fs.server.KernelSettings().Flags64()&fuse.CAP_NO_OPENDIR_SUPPORT != 0 {
		return fuse.ENOSYS
	}
	return fuse.OK // before Linux 5.1: opened, and nothing kept
}

// ReleaseDir implements fuse.RawFileSystem.
func (fs *filesystem) ReleaseDir(in *fuse.ReleaseIn) {}

// ReadDir implements fuse.RawFileSystem.
func (fs *filesystem) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.listLocal(cancel, in, out, fs.local.ReadDir)
	}
	return fs.readDir(in, func(e fuse.DirEntry, _ dirent, _ bool) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus implements fuse.RawFileSystem.
func (fs *filesystem) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.listLocal(cancel, in, out, fs.localReadDirPlus)
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
			n, err = fs.find(fs.inodes[in.NodeId], d.name)
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

// readDir lists from the listing that was made at offset 0. add is told whether that was
// just now, under the lock that is held: then it is also what the names stand for.
func (fs *filesystem) readDir(in *fuse.ReadIn, add func(e fuse.DirEntry, d dirent, fresh bool) bool) fuse.Status {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir := fs.inodes[in.NodeId]
	switch {
	case dir == nil:
		return fuse.ENOENT
	case dir.crossed:
		return fuse.Status(syscall.ESTALE)
	case dir.gone:
		return fuse.OK
	}
	l := fs.begun(dir, in.Offset)
	fresh := l == nil
	if fresh {
		var err error
		if l, err = fs.listingOf(dir); err != nil {
			return status(err)
		}
	}
	fs.keepsListing(dir, l.names)
	l.from, l.next, l.used = in.Offset, in.Offset, time.Now()
	from := sort.Search(len(l.list), func(i int) bool { return l.list[i].cookie > in.Offset })
	for _, d := range l.list[from:] {
		e := fuse.DirEntry{Name: d.name, Off: d.cookie, Mode: syscall.S_IFDIR, Ino: dir.ino}
		if d.local.mode != 0 {
			e.Mode, e.Ino = d.local.mode, d.local.ino
		} else if d.name != "." && d.name != ".." {
			e.Mode, e.Ino = fs.direntMode(d)
		}
		if !add(e, d, fresh) {
			break
		}
		l.next = d.cookie
	}
	if from < len(l.list) {
		fs.halfRead(l)
	}
	return fuse.OK
}

// listingOf lists a directory. The caller holds filesystem.mu.
func (fs *filesystem) listingOf(dir *inode) (*listing, error) {
	names := fs.namesNow() // before the listing is made, which may then be newer
	list, err := fs.list(dir)
	if err != nil {
		return nil, err
	}
	for name, n := range fs.locals.list(dir.node) {
		list = append(list, dirent{name: name, local: n})
	}
	return &listing{dir: dir, list: inOrder(list), names: names}, nil
}

// begun takes out the listing that somebody got up to offset, nil if there is none. The
// caller holds filesystem.mu.
func (fs *filesystem) begun(dir *inode, offset uint64) *listing {
	for i, l := range slices.Backward(fs.listings) {
		if l.dir == dir && l.from < offset && offset <= l.next {
			fs.listings = slices.Delete(fs.listings, i, i+1)
			return l
		}
	}
	return nil
}

// halfRead keeps a listing for the rest of it. The caller holds filesystem.mu.
func (fs *filesystem) halfRead(l *listing) {
	if len(fs.listings) >= listingsAtMost {
		fs.listings = slices.Delete(fs.listings, 0, 1)
	}
	if fs.listings = append(fs.listings, l); len(fs.listings) == 1 {
		fs.later(listingFor, fs.dropListings)
	}
}

// dropListings lets go of listings that nobody went on with. It runs on the queue.
func (fs *filesystem) dropListings() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	now := time.Now()
	fs.listings = slices.DeleteFunc(fs.listings, func(l *listing) bool { return now.Sub(l.used) >= listingFor })
	if len(fs.listings) > 0 {
		fs.later(listingFor, fs.dropListings)
	}
}

// namesNow counts changes of what listings show. It is never 0.
func (fs *filesystem) namesNow() uint64 { return 1 + fs.renamed.Load() + fs.locals.changes.Load() }

// nameChanged is called after the name of something came, went or changed.
func (fs *filesystem) nameChanged() {
	fs.renamed.Add(1)
	fs.relist()
}

// relist has the kernel drop the listings that are not what directories show any more.
func (fs *filesystem) relist() {
	if fs.kept.Load() > 0 && fs.relisting.CompareAndSwap(false, true) {
		fs.later(0, fs.dropKept)
	}
}

// keepsListing notes that the kernel may keep some of a listing. The caller holds filesystem.mu.
func (fs *filesystem) keepsListing(dir *inode, names uint64) {
	if dir.listed == 0 {
		fs.keptIn[dir] = struct{}{}
		fs.kept.Add(1)
	}
	if dir.listed == 0 || names < dir.listed {
		dir.listed = names
	}
	if dir.listed != fs.namesNow() {
		fs.relist() // the change may have come before the note
	}
}

// dropped takes the note back. The caller holds filesystem.mu.
func (fs *filesystem) dropped(dir *inode) {
	if dir.listed != 0 {
		dir.listed = 0
		delete(fs.keptIn, dir)
		fs.kept.Add(-1)
	}
}

// dropKept runs on the queue.
func (fs *filesystem) dropKept() {
	fs.relisting.Store(false)
	fs.mu.Lock()
	now := fs.namesNow()
	var ids []uint64
	for dir := range fs.keptIn {
		if dir.listed != now {
			fs.dropped(dir)
			ids = append(ids, dir.id)
		}
	}
	fs.mu.Unlock()
	for _, id := range ids {
		fs.dropListing(id)
	}
}

// dropListing has the kernel drop what it keeps of a directory's listing. It runs on the
// queue.
func (fs *filesystem) dropListing(id uint64) {
	// What is being handed out goes into what is kept as well. To look for a name, such as
	// one that nobody uses, the kernel waits until it has.
	fs.server.EntryNotify(id, "\x01")
	fs.server.InodeNotify(id, 0, 0)
}

// listLocal lists a directory of this device, or one that is made up. Nothing tells when
// these change, so the kernel keeps no listing of them.
func (fs *filesystem) listLocal(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList, list func(<-chan struct{}, *fuse.ReadIn, *fuse.DirEntryList) fuse.Status) fuse.Status {
	return fs.withLocalDir(cancel, &in.InHeader, func(fh uint64) fuse.Status {
		in.Fh = fh
		st := list(cancel, in, out)
		if st.Ok() && len(out.Bytes()) == 0 {
			// At the end: once it is answered the listing would be used. What is dropped before
			// is missed then, and no lock is taken for it that the kernel holds for a call.
			fs.server.InodeNotify(in.NodeId|localBit, 0, 0)
		}
		return st
	})
}

// withLocalDir calls f with a handle of a directory of the loopback.
func (fs *filesystem) withLocalDir(cancel <-chan struct{}, h *fuse.InHeader, f func(fh uint64) fuse.Status) fuse.Status {
	var out fuse.OpenOut
	st := fs.local.OpenDir(cancel, &fuse.OpenIn{InHeader: *h, Flags: syscall.O_DIRECTORY}, &out)
	if !st.Ok() {
		return fs.orMoved(cancel, h, st)
	}
	defer fs.local.ReleaseDir(&fuse.ReleaseIn{InHeader: *h, Fh: out.Fh})
	return f(out.Fh)
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
