package fs

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// virtualName is a directory in the folder's root that is not listed, not
// shared, and made up as it is read:
//
//	.sheaf/automerge/PATH  the text at PATH as an Automerge document, with its history
const virtualName = ".sheaf"

// asked is how long the kernel may believe what it was told of these files.
const asked = time.Millisecond

// virtual is what the virtual directory is made of.
type virtual struct {
	folder  *crdt.Folder
	publish func() // has the folder know of files that were just closed
}

// localTop is the loopback's root, with the virtual directory in it.
type localTop struct {
	gofs.LoopbackNode
	virtual virtual
}

func (t *localTop) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if name != virtualName {
		return t.LoopbackNode.Lookup(ctx, name, out)
	}
	t.virtual.publish()
	dir := &shelf{names: map[string]gofs.InodeEmbedder{"automerge": &mirror{folder: t.virtual.folder, node: crdt.Root}}}
	return virtualChild(ctx, &t.Inode, dir, fuse.S_IFDIR, out), 0
}

func virtualChild(ctx context.Context, parent *gofs.Inode, child gofs.InodeEmbedder, mode uint32, out *fuse.EntryOut) *gofs.Inode {
	out.SetEntryTimeout(asked)
	out.SetAttrTimeout(asked)
	out.Mode = mode | 0o444
	if mode == fuse.S_IFDIR {
		out.Mode |= 0o111
	}
	return parent.NewInode(ctx, child, gofs.StableAttr{Mode: mode})
}

func virtualAttr(mode uint32, out *fuse.AttrOut) syscall.Errno {
	out.SetTimeout(asked)
	out.Mode = mode
	return 0
}

// shelf is a directory of fixed names.
type shelf struct {
	gofs.Inode
	names map[string]gofs.InodeEmbedder
}

func (s *shelf) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFDIR|0o555, out)
}

func (s *shelf) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if c := s.names[name]; c != nil {
		return virtualChild(ctx, &s.Inode, c, fuse.S_IFDIR, out), 0
	}
	return nil, syscall.ENOENT
}

func (s *shelf) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	for name := range s.names {
		list = append(list, fuse.DirEntry{Name: name, Mode: fuse.S_IFDIR})
	}
	return gofs.NewListDirStream(list), 0
}

// mirror is a directory of the folder with the files that have an Automerge
// document.
type mirror struct {
	gofs.Inode
	folder *crdt.Folder
	node   crdt.NodeID
}

func (m *mirror) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFDIR|0o555, out)
}

// mirrored tells whether the mirror has something at what the folder has.
func mirrored(i crdt.Info) (mode uint32, ok bool) {
	switch {
	case i.Kind == crdt.Dir:
		return fuse.S_IFDIR, true
	case i.Kind == crdt.File && i.Object == nil && !i.Alt:
		return fuse.S_IFREG, true
	}
	return 0, false
}

func (m *mirror) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	i, err := m.folder.Lookup(m.node, name)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	mode, ok := mirrored(i)
	if !ok {
		return nil, syscall.ENOENT
	}
	var child gofs.InodeEmbedder = &mirror{folder: m.folder, node: i.Node}
	if mode == fuse.S_IFREG {
		child = &document{folder: m.folder, node: i.Node}
	}
	return virtualChild(ctx, &m.Inode, child, mode, out), 0
}

func (m *mirror) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	is, err := m.folder.ReadDir(m.node)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	var list []fuse.DirEntry
	for _, i := range is {
		if mode, ok := mirrored(i); ok {
			list = append(list, fuse.DirEntry{Name: i.Name, Mode: mode})
		}
	}
	return gofs.NewListDirStream(list), 0
}

// document is a text as an Automerge document. It is made when it is opened,
// so its size is not known before: it is 0, as in /proc.
type document struct {
	gofs.Inode
	folder *crdt.Folder
	node   crdt.NodeID
}

func (d *document) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFREG|0o444, out)
}

func (d *document) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0 {
		return nil, 0, syscall.EROFS
	}
	b, err := d.folder.Automerge(d.node)
	if err != nil {
		return nil, 0, syscall.Errno(status(err))
	}
	return madeUp(b), fuse.FOPEN_DIRECT_IO, 0
}

// madeUp is an open file whose bytes are in memory.
type madeUp []byte

func (m madeUp) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= int64(len(m)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(m[off:min(off+int64(len(dest)), int64(len(m)))]), 0
}
