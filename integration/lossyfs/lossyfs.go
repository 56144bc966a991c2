// Package lossyfs is a filesystem in memory that loses what was not synced, as a
// disk does when the power goes.
//
// It keeps two states: what programs see, and what is on the disk. fsync of a file
// moves its bytes to the disk, fsync of a directory its names; nothing else does.
// [FS.Lose] throws away what programs see. Given a seed it lets some of the unsynced
// changes survive, as real disks do, each file and directory by itself, a file
// possibly cut short: that is what makes torn logs and names of empty files.
//
// It is stricter than ext4, which syncs a new file's name together with its bytes.
package lossyfs

import (
	"context"
	"math/rand"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FS is one such filesystem. All its methods may be called from any goroutine.
type FS struct {
	mu   sync.Mutex
	root *inode
	last uint64
	size int64 // bytes in files, as seen
	cap  int64
	lies bool
	keep bool // let the kernel cache
}

// inode is a file, directory, symlink or socket. All fields are guarded by FS.mu.
type inode struct {
	ino    uint64
	mode   uint32 // with its kind
	target string
	mtime  time.Time
	seen   []byte // a file's bytes
	names  map[string]*inode
	parent *inode

	disk      []byte // what a power loss leaves
	diskNames map[string]*inode
	lo, hi    int // bytes of seen that differ from disk
	cut       bool
}

// New makes an empty filesystem that holds capacity bytes; 0 for no limit.
func New(capacity int64) *FS {
	f := &FS{cap: capacity}
	f.root = f.make(syscall.S_IFDIR|0o755, nil)
	return f
}

// Cached lets the kernel cache names, attributes and content, and spare the call at the
// end of an open for reading. The filesystem is then one that only answers, and is asked
// of each open: what any FUSE server costs. Lose must not be used. To be called before
// Mount.
func (f *FS) Cached() *FS {
	f.keep = true
	return f
}

// flags are the answer to an open.
func (f *FS) flags(open uint32) uint32 {
	switch {
	case !f.keep:
		return fuse.FOPEN_DIRECT_IO
	case open&syscall.O_ACCMODE == syscall.O_RDONLY:
		return fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	}
	return fuse.FOPEN_KEEP_CACHE
}

// Mount shows the filesystem at point, until Unmount of the server.
func (f *FS) Mount(point string) (*fuse.Server, error) {
	ttl := time.Duration(0) // nothing is cached, so that Lose need not tell the kernel
	if f.keep {
		ttl = time.Hour
	}
	o := fuse.MountOptions{DirectMount: true, FsName: "lossyfs", Name: "lossyfs", Options: []string{"default_permissions"}, MaxWrite: 1 << 20}
	if os.Geteuid() == 0 {
		o.AllowOther, o.Options = true, append(o.Options, "dev")
	}
	return fs.Mount(point, &node{fs: f, in: f.root}, &fs.Options{EntryTimeout: &ttl, AttrTimeout: &ttl, NegativeTimeout: &ttl,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), MountOptions: o})
}

func (f *FS) make(mode uint32, parent *inode) *inode {
	f.last++
	in := &inode{ino: f.last, mode: mode, mtime: time.Now(), parent: parent}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		in.names, in.diskNames = map[string]*inode{}, map[string]*inode{}
	}
	return in
}

// sync moves one inode's state to the disk.
func (in *inode) sync() {
	if in.names != nil {
		clear(in.diskNames)
		for n, c := range in.names {
			in.diskNames[n] = c
		}
		return
	}
	if in.cut || len(in.disk) > len(in.seen) {
		in.disk = in.disk[:min(len(in.disk), len(in.seen))]
	}
	if in.lo < in.hi || len(in.disk) != len(in.seen) {
		lo := min(in.lo, len(in.disk), len(in.seen))
		if in.lo == in.hi {
			lo = min(len(in.disk), len(in.seen))
		}
		in.disk = append(in.disk[:lo], in.seen[lo:]...)
	}
	in.lo, in.hi, in.cut = 0, 0, false
}

// Lose is the power loss. With seed 0 all that was not synced is lost; else a random
// part of it survives. No program may use the filesystem meanwhile.
func (f *FS) Lose(seed int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rnd *rand.Rand
	if seed != 0 {
		rnd = rand.New(rand.NewSource(seed))
	}
	f.size, f.lies = 0, false
	f.lose(f.root, rnd, map[*inode]bool{})
}

// Lie makes every fsync from now to the next power loss a lie, as some disks do.
func (f *FS) Lie() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lies = true
}

func (f *FS) lose(in *inode, rnd *rand.Rand, done map[*inode]bool) {
	if done[in] {
		return
	}
	done[in] = true
	if in.names == nil {
		if rnd != nil && (in.lo < in.hi || len(in.seen) != len(in.disk)) && rnd.Intn(2) == 0 {
			// The writes reached the disk up to some byte.
			keep := append([]byte(nil), in.seen...)
			if n := len(in.disk); len(keep) > n {
				keep = keep[:n+rnd.Intn(len(keep)-n+1)]
			}
			in.disk = keep
		}
		in.seen = append([]byte(nil), in.disk...)
		in.lo, in.hi, in.cut = 0, 0, false
		f.size += int64(len(in.seen))
		return
	}
	if rnd != nil && rnd.Intn(2) == 0 {
		in.sync()
	}
	clear(in.names)
	for n, c := range in.diskNames {
		in.names[n] = c
		c.parent = in
		f.lose(c, rnd, done)
	}
}

// node is one inode as go-fuse sees it; there may be several of one inode.
type node struct {
	fs.Inode
	fs *FS
	in *inode
}

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeSetattrer  = (*node)(nil)
	_ fs.NodeCreater    = (*node)(nil)
	_ fs.NodeMknoder    = (*node)(nil)
	_ fs.NodeMkdirer    = (*node)(nil)
	_ fs.NodeSymlinker  = (*node)(nil)
	_ fs.NodeReadlinker = (*node)(nil)
	_ fs.NodeLinker     = (*node)(nil)
	_ fs.NodeUnlinker   = (*node)(nil)
	_ fs.NodeRmdirer    = (*node)(nil)
	_ fs.NodeRenamer    = (*node)(nil)
	_ fs.NodeReaddirer  = (*node)(nil)
	_ fs.NodeOpener     = (*node)(nil)
	_ fs.NodeReader     = (*node)(nil)
	_ fs.NodeWriter     = (*node)(nil)
	_ fs.NodeFsyncer    = (*node)(nil)
	_ fs.NodeStatfser   = (*node)(nil)
)

func (n *node) attr(a *fuse.Attr) {
	in := n.in
	a.Ino, a.Mode, a.Nlink = in.ino, in.mode, 1
	a.Size = uint64(len(in.seen) + len(in.target))
	a.Blocks = (a.Size + 511) / 512
	a.SetTimes(nil, &in.mtime, &in.mtime)
}

// child gives the go-fuse inode of a name of n.
func (n *node) child(ctx context.Context, in *inode, o *fuse.EntryOut) *fs.Inode {
	c := &node{fs: n.fs, in: in}
	c.attr(&o.Attr)
	return n.NewInode(ctx, c, fs.StableAttr{Mode: in.mode & syscall.S_IFMT, Ino: in.ino})
}

func (n *node) Lookup(ctx context.Context, name string, o *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	in := n.in.names[name]
	if in == nil {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, in, o), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, o *fuse.AttrOut) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	n.attr(&o.Attr)
	return 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, i *fuse.SetAttrIn, o *fuse.AttrOut) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	in := n.in
	if size, ok := i.GetSize(); ok {
		if errno := n.fs.resize(in, int(size)); errno != 0 {
			return errno
		}
		in.mtime = time.Now()
	}
	if m, ok := i.GetMode(); ok {
		in.mode = in.mode&syscall.S_IFMT | m&07777
	}
	if t, ok := i.GetMTime(); ok {
		in.mtime = t
	}
	n.attr(&o.Attr)
	return 0
}

// resize changes a file's size, with zeroes for what is new.
func (f *FS) resize(in *inode, size int) syscall.Errno {
	grow := size - len(in.seen)
	if grow > 0 && f.cap > 0 && f.size+int64(grow) > f.cap {
		return syscall.ENOSPC
	}
	f.size += int64(grow)
	if grow <= 0 {
		in.seen = in.seen[:size]
		in.cut = true
		// What is cut and written again differs from the disk from here on.
		in.touch(size, max(size, len(in.disk)))
		return 0
	}
	from := len(in.seen)
	in.seen = append(in.seen, make([]byte, grow)...)
	in.touch(from, size)
	return 0
}

func (in *inode) touch(lo, hi int) {
	if in.lo == in.hi {
		in.lo, in.hi = lo, hi
		return
	}
	in.lo, in.hi = min(in.lo, lo), max(in.hi, hi)
}

func (n *node) add(ctx context.Context, name string, mode uint32, o *fuse.EntryOut, target string) (*fs.Inode, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.in.names[name] != nil {
		return nil, syscall.EEXIST
	}
	in := n.fs.make(mode, n.in)
	in.target = target
	n.in.names[name] = in
	n.in.mtime = time.Now()
	return n.child(ctx, in, o), 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, o *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	c, errno := n.add(ctx, name, syscall.S_IFREG|mode&07777, o, "")
	return c, nil, n.fs.flags(flags), errno
}

func (n *node) Mknod(ctx context.Context, name string, mode, _ uint32, o *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, name, mode, o, "")
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, o *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, name, syscall.S_IFDIR|mode&07777, o, "")
}

func (n *node) Symlink(ctx context.Context, target, name string, o *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, name, syscall.S_IFLNK|0o777, o, target)
}

func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(n.in.target), 0 }

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, o *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	in := target.(*node).in
	n.in.names[name] = in
	return n.child(ctx, in, o), 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.in.names[name] == nil {
		return syscall.ENOENT
	}
	n.fs.size -= int64(len(n.in.names[name].seen))
	delete(n.in.names, name)
	return 0
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	n.fs.mu.Lock()
	in := n.in.names[name]
	n.fs.mu.Unlock()
	if in != nil && len(in.names) > 0 {
		return syscall.ENOTEMPTY
	}
	return n.Unlink(ctx, name)
}

func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, toName string, flags uint32) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	dir := to.(*node).in
	in, old := n.in.names[name], dir.names[toName]
	switch {
	case in == nil:
		return syscall.ENOENT
	case flags != 0:
		return syscall.EINVAL
	case old != nil && len(old.names) > 0:
		return syscall.ENOTEMPTY
	}
	if old != nil && old != in {
		n.fs.size -= int64(len(old.seen))
	}
	delete(n.in.names, name)
	dir.names[toName] = in
	in.parent = dir
	return 0
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	var l []fuse.DirEntry
	for name, in := range n.in.names {
		l = append(l, fuse.DirEntry{Name: name, Mode: in.mode & syscall.S_IFMT, Ino: in.ino})
	}
	return fs.NewListDirStream(l), 0
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, n.fs.flags(flags), 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	b := n.in.seen
	if off >= int64(len(b)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(append(dest[:0], b[off:min(int64(len(b)), off+int64(len(dest)))]...)), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	in := n.in
	end := int(off) + len(data)
	if end > len(in.seen) {
		if errno := n.fs.resize(in, end); errno != 0 {
			return 0, errno
		}
	}
	copy(in.seen[off:], data)
	in.touch(int(off), end)
	in.mtime = time.Now()
	return uint32(len(data)), 0
}

func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if !n.fs.lies {
		n.in.sync()
	}
	return 0
}

func (n *node) Statfs(_ context.Context, o *fuse.StatfsOut) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	c := n.fs.cap
	if c == 0 {
		c = 1 << 40
	}
	o.Bsize, o.Frsize, o.NameLen = 4096, 4096, 255
	o.Blocks = uint64(c) / 4096
	o.Bfree = uint64(max(c-n.fs.size, 0)) / 4096
	o.Bavail = o.Bfree
	o.Files, o.Ffree = 1<<20, 1<<20
	return 0
}
