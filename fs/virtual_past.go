package fs

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// remembered is how long the kernel may believe what it was told of the past, and how long a tree of
// then stays in memory after its last use.
const remembered = time.Minute

// pasts are the trees that were asked for lately. They are made when something in them is
// looked at, not before.
type pasts struct {
	folder *crdt.Folder

	mu     sync.Mutex
	list   []*pastAt // the last used at the end
	timer  *time.Timer
	closed bool
}

// maxPasts bounds how many trees are in memory; each takes as much as the folder's own.
const maxPasts = 2

// pastAt is one of them.
type pastAt struct {
	name string // of its directory
	time time.Time
	used time.Time
	once sync.Once
	past *crdt.Past
	err  error
}

// at finds the tree of a name that is a time: the same one for as long as it is used, however
// time goes on. It fails with crdt.ErrInvalid.
func (p *pasts) at(name string) (*pastAt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.list {
		if a.name == name && time.Since(a.used) < remembered {
			p.list = append(append(p.list[:i:i], p.list[i+1:]...), a)
			a.used = time.Now()
			return a, nil
		}
	}
	t, err := crdt.ParseTime(name, time.Now())
	if err != nil {
		return nil, err
	}
	a := &pastAt{name: name, time: t, used: time.Now()}
	p.list = append(p.list, a)
	if n := len(p.list) - maxPasts; n > 0 {
		p.list = append([]*pastAt(nil), p.list[n:]...)
	}
	if p.timer == nil && !p.closed {
		p.timer = time.AfterFunc(remembered, p.expire)
	}
	return a, nil
}

// expire lets go of what nobody used for a while.
func (p *pasts) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	var list []*pastAt
	for _, a := range p.list {
		if time.Since(a.used) < remembered {
			list = append(list, a)
		}
	}
	if p.list = list; len(list) > 0 && !p.closed {
		p.timer = time.AfterFunc(remembered, p.expire)
	}
}

func (p *pasts) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.list = true, nil
	if p.timer != nil {
		p.timer.Stop()
	}
}

// get returns the tree of a name.
func (p *pasts) get(name string) (*crdt.Past, error) {
	a, err := p.at(name)
	if err != nil {
		return nil, err
	}
	a.once.Do(func() { a.past, a.err = p.folder.PastAt(a.time) })
	return a.past, a.err
}

// moments is .sheaf/at: a directory for every time, none of them listed.
type moments struct {
	fixed
	pasts *pasts
}

func (m *moments) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFDIR|0o555, out)
}

func (m *moments) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if _, err := m.pasts.at(name); err != nil {
		return nil, syscall.ENOENT
	}
	n := &then{pasts: m.pasts, moment: name, info: crdt.Info{Node: crdt.Root, Kind: crdt.Dir, Mode: 0o755}}
	return n.child(ctx, &m.Inode, name, out)
}

func (m *moments) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	return listed(nil), 0
}

// then is a file, directory or symlink as it was.
type then struct {
	fixed
	pasts  *pasts
	moment string
	info   crdt.Info
}

// child makes the node the child of parent that has this name.
func (n *then) child(ctx context.Context, parent *gofs.Inode, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.attr(&out.Attr); errno != 0 {
		return nil, errno
	}
	out.SetEntryTimeout(remembered)
	out.SetAttrTimeout(remembered)
	what := fmt.Sprint(n.info.Node, n.info.Version, n.info.Mode, n.info.Mtime.UnixNano())
	return parent.NewInode(ctx, n, virtualID(parent, name, what, out.Mode)), 0
}

func (n *then) attr(out *fuse.Attr) syscall.Errno {
	out.Mode = modeOf(n.info.Kind) | n.info.Mode&0o555
	if n.info.Kind == crdt.Dir {
		out.Mode |= 0o555
	}
	if !n.info.Mtime.IsZero() {
		out.SetTimes(nil, &n.info.Mtime, &n.info.Mtime)
	}
	if n.info.Kind != crdt.File {
		out.Size = uint64(n.info.Size)
		return 0
	}
	p, err := n.pasts.get(n.moment)
	if err != nil {
		return syscall.Errno(status(err))
	}
	size, err := p.Size(n.info)
	setSize(out, size)
	return syscall.Errno(status(err))
}

func setSize(out *fuse.Attr, size int64) {
	out.Size, out.Blksize, out.Blocks = uint64(size), 4096, uint64(size+511)/512
}

func modeOf(k crdt.Kind) uint32 {
	switch k {
	case crdt.Dir:
		return syscall.S_IFDIR
	case crdt.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

func (n *then) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.SetTimeout(remembered)
	return n.attr(&out.Attr)
}

func (n *then) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	p, err := n.pasts.get(n.moment)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	i, err := p.Lookup(n.info.Node, name)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	return (&then{pasts: n.pasts, moment: n.moment, info: i}).child(ctx, &n.Inode, name, out)
}

func (n *then) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	p, err := n.pasts.get(n.moment)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	is, err := p.ReadDir(n.info.Node)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	list := make([]fuse.DirEntry, 0, len(is))
	for _, i := range is {
		list = append(list, fuse.DirEntry{Name: i.Name, Mode: modeOf(i.Kind)})
	}
	return listed(list), 0
}

func (n *then) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(n.info.Target), 0 }

func (n *then) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return openContent(n.pasts.folder, n.info.Node, n.info.Version, flags)
}

// openContent opens what a file held at a version, for reading.
func openContent(f *crdt.Folder, node crdt.NodeID, v crdt.Version, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0 {
		return nil, 0, syscall.EROFS
	}
	c, err := f.ContentAt(node, v)
	if err != nil {
		return nil, 0, syscall.Errno(status(err))
	}
	if c.Object == nil {
		return madeUp(c.Text), 0, 0
	}
	fd, err := syscall.Open(f.Home().Objects().Path([32]byte(c.Object.Hash)), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, syscall.EIO // it expired here, or has not come yet
	}
	return gofs.NewLoopbackFile(fd), 0, 0
}
