package fs

import (
	"encoding/binary"
	"math/bits"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// inode is what the kernel knows by one number: a node of the folder, or a file
// that is not in the folder yet.
//
// There is one for each file that the kernel has asked about, which may be all: it is kept
// small, and what only some need is in the view.
type inode struct {
	id  uint64       // the kernel's number, never used twice in one mount
	ino uint64       // what stat shows
	alt crdt.Version // of a version shown beside the one under the name

	// Under filesystem.mu.
	lookups uint64
	listed  uint64 // of a directory: namesNow of the oldest bit of a listing that the kernel may keep, 0 if it keeps none
	handles int32

	// Read under filesystem.mu or mu, written under both.
	bits    uint32     // set-user-ID and set-group-ID, under mu
	owner   fuse.Owner // under mu
	node    crdt.NodeID
	parent  *inode // place while not bound, or while a rename waits
	name    string
	special *record // of a pipe, socket or device
	kind    crdt.Kind
	bound   bool // node is valid
	gone    bool // removed: open handles go on with its bytes
	unnamed bool // made without a name, which it may be given
	crossed bool // gone to be of this device: the kernel is to look its name up again

	// Under mu, as the view is.
	cached    bool   // while nothing is loaded: the kernel, or a reader, may have been given shownLast
	recalled  bool   // where the view says nothing of times, they are those that are kept of the node
	shownLast *shown // before the one that is shown
	told      int64  // the size that the kernel was told last, unknown if it asks before it reads

	mu
}

// draft holds the attributes of a file that is not in the folder yet.
type draft struct {
	mode   uint32
	mtime  time.Time // set by utimens
	xattrs map[string][]byte
	early  []*caller // who opened it for reading
}

// label is the name of a new file, for errors and logs. The caller does not hold
// in.mu.
func (in *inode) label() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.name
}

// bind makes the inode show a node. The caller holds filesystem.mu and in.mu.
func (fs *filesystem) bind(in *inode, node crdt.NodeID) {
	fs.unindex(in)
	fs.ownTimes(in)
	in.node, in.bound = node, true
	in.parent, in.name = nil, ""
	fs.nodes[key(node, nil)] = in
	fs.keepNumber(in)
	if err := fs.keepOwner(in); err != nil {
		fs.log.Error("keep the owner of a file", "path", fs.folder.Path(node), "err", err)
	}
}

// unbind takes the node from the inode. The caller holds filesystem.mu and in.mu.
func (fs *filesystem) unbind(in *inode) {
	fs.unindex(in)
	fs.ownTimes(in)
	in.node, in.bound = crdt.NodeID{}, false
}

func (fs *filesystem) unindex(in *inode) {
	if in.bound && fs.nodes[key(in.node, in.alt)] == in {
		delete(fs.nodes, key(in.node, in.alt))
	}
}

// nodeKey finds the inode of a node, or of a version of it shown beside.
type nodeKey struct {
	node crdt.NodeID
	alt  uint64 // 0: the node
}

func key(node crdt.NodeID, alt crdt.Version) nodeKey {
	k := nodeKey{node: node}
	for i, id := range alt {
		k.alt = bits.RotateLeft64(k.alt, i) ^ binary.BigEndian.Uint64(id[:])
	}
	return k
}

// get finds an inode by the kernel's number.
func (fs *filesystem) get(id uint64) *inode {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.inodes[id]
}

// add puts a new inode into the table. The caller holds filesystem.mu.
func (fs *filesystem) add(in *inode) *inode {
	fs.lastID++
	in.id = fs.lastID
	fs.inodes[in.id] = in
	if in.ino == 0 {
		in.ino = newNumber()
	}
	return in
}

// inodeFor finds or makes the inode of a node. The caller holds filesystem.mu.
func (fs *filesystem) inodeFor(info crdt.Info) *inode {
	var alt crdt.Version
	if info.Alt {
		alt = info.Version
	}
	k := key(info.Node, alt)
	if in := fs.nodes[k]; in != nil {
		return in
	}
	in := fs.add(&inode{kind: info.Kind, alt: alt, node: info.Node, bound: true, ino: fs.number(info.Node, alt)})
	fs.loadOwner(in)
	fs.recallTimes(in, info)
	if info.Kind == crdt.File && alt == nil {
		fs.guardAgain(in, info.Version)
	}
	fs.nodes[k] = in
	return in
}

// inoFor is the inode number of a node that had none before, the same after a restart.
func (fs *filesystem) inoFor(node crdt.NodeID, alt crdt.Version) uint64 {
	if node == crdt.Root {
		return fuse.FUSE_ROOT_ID
	}
	n := binary.BigEndian.Uint64(node[:8]) ^ binary.BigEndian.Uint64(node[8:])
	if len(alt) > 0 {
		n ^= binary.BigEndian.Uint64(alt[0][:8])
	}
	if n &^= madeBit | localBit; n < 1024 {
		n += 1024
	}
	return n
}

// Forget implements fuse.RawFileSystem.
func (fs *filesystem) Forget(id, n uint64) {
	if id&localBit != 0 {
		fs.local.Forget(id&^localBit, n)
		fs.mu.Lock()
		delete(fs.crossed, id&^localBit)
		fs.mu.Unlock()
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	in := fs.inodes[id]
	if in == nil {
		return
	}
	in.lookups -= min(n, in.lookups)
	fs.release(in)
}

// release drops an inode that neither the kernel nor a handle nor a session
// needs. The caller holds filesystem.mu.
func (fs *filesystem) release(in *inode) {
	if in.lookups > 0 || in.handles > 0 || in == fs.root || in.parent != nil && !in.gone {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.sess != nil && !in.gone {
		return
	}
	fs.discardSession(in)
	fs.keepTimes(in)
	in.unload()
	fs.unindex(in)
	fs.dropped(in)
	delete(fs.inodes, in.id)
}

// attr fills in what stat shows. The caller holds in.mu.
func (fs *filesystem) attr(in *inode, out *fuse.Attr) fuse.Status {
	if in.special != nil || in.ownAttr() {
		return fs.attrOf(in, crdt.Info{}, out)
	}
	info, err := fs.folder.Get(in.node)
	if in.alt != nil {
		info, err = fs.folder.GetAt(in.node, in.alt)
	}
	if err != nil && in.isRemains() {
		info, err = crdt.Info{Kind: in.kind, Mode: 0o755}, nil
	}
	if err != nil && fs.outlives(in) {
		mode, _ := fs.folder.LastMode(in.node)
		info, err = crdt.Info{Kind: in.kind, Mode: mode}, nil
	}
	if err != nil {
		return status(err)
	}
	return fs.attrOf(in, info, out)
}

// ownAttr tells whether the folder does not know the file, or not any more.
func (in *inode) ownAttr() bool {
	return in.draftOnly() || in.gone && in.kind == crdt.File && in.loaded
}

// attrOf is attr for who knows what the folder says. The caller holds in.mu.
func (fs *filesystem) attrOf(in *inode, info crdt.Info, out *fuse.Attr) fuse.Status {
	out.Ino = in.ino
	out.Nlink = 1 // not 0 while it has a name: an entry's invalidation would look like DELETE_SELF to watchers
	if in.gone && in.kind != crdt.Dir {
		out.Nlink = 0
	}
	out.Owner = in.owner
	out.Blksize = 4096
	if in.special != nil {
		fs.specialAttr(in, out)
		return fuse.OK
	}
	if in.ownAttr() {
		out.Mode = typeBits(in.kind) | in.draft.mode&modeBits | in.bits
		size, mtime := fs.sizeAndTime(in, crdt.Info{})
		fs.fill(in, out, size, mtime)
		return fuse.OK
	}
	out.Mode = typeBits(in.kind) | info.Mode&modeBits | in.bits
	switch in.kind {
	case crdt.Dir:
		out.Nlink = 2 + uint32(info.Dirs)
		fs.fill(in, out, 4096, fs.timeOfName(in, info))
	case crdt.Symlink:
		out.Mode = syscall.S_IFLNK | 0o777
		fs.fill(in, out, int64(len(fs.leadsTo(info))), fs.timeOfName(in, info))
	default:
		if in.alt != nil {
			out.Mode &^= 0o222
		}
		size, mtime := fs.sizeAndTime(in, info)
		fs.fill(in, out, size, mtime)
	}
	return fuse.OK
}

// typeBits is what a mode says of a kind.
func typeBits(k crdt.Kind) uint32 {
	switch k {
	case crdt.Dir:
		return syscall.S_IFDIR
	case crdt.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

func (in *inode) draftOnly() bool { return !in.bound }

func (fs *filesystem) fill(in *inode, out *fuse.Attr, size int64, mtime time.Time) {
	ctime := fs.ctime(in, mtime)
	if mtime.IsZero() {
		mtime, ctime = fs.started, fs.started
	}
	in.told = size
	out.Size = uint64(size)
	out.Blocks = uint64(size+511) / 512
	// Who reads is not recorded. It counts as read when it was last touched: chokidar, on which
	// bundlers stand, takes a file for changed whose access time is not after its modification.
	atime := ctime
	if !in.atime.IsZero() {
		atime = in.atime
	}
	out.SetTimes(&atime, &mtime, &ctime)
}

// forever is how long the kernel may keep what it was told; changes are announced.
const forever = 365 * 24 * time.Hour

// entry answers a lookup: it counts one reference. The caller holds
// filesystem.mu, and knows that nobody holds in.mu for long.
func (fs *filesystem) entry(in *inode, out *fuse.EntryOut) fuse.Status {
	in.mu.Lock()
	defer in.mu.Unlock()
	st := fs.entryOut(in, out)
	if st.Ok() {
		in.lookups++
	}
	return st
}

// entryOut fills in the answer to a lookup. The caller holds in.mu.
func (fs *filesystem) entryOut(in *inode, out *fuse.EntryOut) fuse.Status {
	st := fs.attr(in, &out.Attr)
	if st.Ok() {
		in.entry(out)
	}
	return st
}

// entry fills in the rest of an answer to a lookup, which has the attributes. The
// caller holds in.mu.
func (in *inode) entry(out *fuse.EntryOut) {
	out.NodeId = in.id
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	if len(in.guards) > 0 {
		out.SetAttrTimeout(0)
	}
	if in.alt != nil {
		// Nothing announces when a version stops being shown beside.
		out.SetEntryTimeout(time.Second)
		out.SetAttrTimeout(time.Second)
	}
}
