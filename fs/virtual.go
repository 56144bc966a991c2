package fs

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// virtualName is a directory in the folder's root that is not listed, not
// shared, and made up as it is read:
//
//	.sheaf/status          what sheaf status says of the folder
//	.sheaf/at/TIME/…       the folder as it was; TIME is anything crdt.ParseTime reads
//	.sheaf/history/PATH/…  every version of the file at PATH, in order
//	.sheaf/automerge/PATH  the text at PATH as an Automerge document, with its history
//	.sheaf/answer/PATH     what Options.Answer says of PATH; reading waits for it
const virtualName = ".sheaf"

// asked is how long the kernel may believe what it was told of these files.
const asked = time.Millisecond

// virtual is what the virtual directory is made of.
type virtual struct {
	folder  *crdt.Folder
	publish func() // has the folder know of files that were just closed
	answer  func(ctx context.Context, path string) ([]byte, error)
	status  func(ctx context.Context) ([]byte, error)
	pasts   *pasts
}

// localTop is the loopback's root, with the virtual directory in it.
type localTop struct {
	gofs.LoopbackNode
	virtual virtual
}

// WrapChild makes the loopback's nodes ours.
func (t *localTop) WrapChild(_ context.Context, ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	return wrapLocal(ops)
}

func (t *localTop) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if name != virtualName {
		return t.LoopbackNode.Lookup(ctx, name, out)
	}
	t.virtual.publish()
	v := t.virtual
	dir := &shelf{names: map[string]gofs.InodeEmbedder{
		"at":      &moments{pasts: v.pasts},
		"history": &historyDir{folder: v.folder, node: crdt.Root, kind: crdt.Dir},
		"automerge": &mirror{folder: v.folder, node: crdt.Root,
			file: func(i crdt.Info) gofs.InodeEmbedder { return &document{folder: v.folder, node: i.Node} }},
	}}
	if v.answer != nil {
		dir.names["answer"] = &mirror{folder: v.folder, node: crdt.Root,
			file: func(i crdt.Info) gofs.InodeEmbedder { return &answer{virtual: v, node: i.Node} }}
	}
	if v.status != nil {
		dir.names["status"] = &told{tell: v.status}
	}
	return virtualChild(ctx, &t.Inode, name, "", dir, fuse.S_IFDIR, out), 0
}

// virtualChild answers a lookup with what a name stands for; what tells it from others of that
// name and place.
func virtualChild(ctx context.Context, parent *gofs.Inode, name, what string, child gofs.InodeEmbedder, mode uint32, out *fuse.EntryOut) *gofs.Inode {
	out.SetEntryTimeout(asked)
	out.SetAttrTimeout(asked)
	out.Mode = mode | 0o444
	if mode == fuse.S_IFDIR {
		out.Mode |= 0o111
	}
	return parent.NewInode(ctx, child, virtualID(parent, name, what, mode))
}

// virtualID is the identity of what is made up: the same each time that it is looked up, however
// long the kernel remembers. Who looks at a file and then opens it, as cp does, would else take
// it for another one.
func virtualID(parent *gofs.Inode, name, what string, mode uint32) gofs.StableAttr {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s\x00%s", parent.StableAttr().Ino, name, what)
	const notOfDisk = 2 // the loopback's generation is 1
	return gofs.StableAttr{Mode: mode & syscall.S_IFMT, Ino: h.Sum64()>>1 + 2, Gen: notOfDisk}
}

func virtualAttr(mode uint32, out *fuse.AttrOut) syscall.Errno {
	out.SetTimeout(asked)
	out.Mode = mode
	return 0
}

// listed is a listing with the two names that every directory has. Of one without any name the
// kernel would keep that there is none, whatever it is told.
func listed(list []fuse.DirEntry) gofs.DirStream {
	return gofs.NewListDirStream(append([]fuse.DirEntry{{Name: ".", Mode: fuse.S_IFDIR}, {Name: "..", Mode: fuse.S_IFDIR}}, list...))
}

// shelf is a directory of fixed names.
type shelf struct {
	fixed
	names map[string]gofs.InodeEmbedder
}

func (s *shelf) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFDIR|0o555, out)
}

func (s *shelf) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	c := s.names[name]
	if c == nil {
		return nil, syscall.ENOENT
	}
	return virtualChild(ctx, &s.Inode, name, "", c, kindOf(c), out), 0
}

func (s *shelf) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		list = append(list, fuse.DirEntry{Name: name, Mode: kindOf(s.names[name])})
	}
	return listed(list), 0
}

func kindOf(n gofs.InodeEmbedder) uint32 {
	if _, ok := n.(*told); ok {
		return fuse.S_IFREG
	}
	return fuse.S_IFDIR
}

// mirror is a directory of the folder with something in the place of each text.
type mirror struct {
	fixed
	folder *crdt.Folder
	node   crdt.NodeID
	file   func(crdt.Info) gofs.InodeEmbedder
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
	var child gofs.InodeEmbedder
	if mode == fuse.S_IFREG {
		child = m.file(i)
	} else {
		child = &mirror{folder: m.folder, node: i.Node, file: m.file}
	}
	return virtualChild(ctx, &m.Inode, name, i.Node.String(), child, mode, out), 0
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
	return listed(list), 0
}

// document is a text as an Automerge document. It is made when it is opened,
// so its size is not known before: it is 0, as in /proc.
type document struct {
	fixed
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

// answer is what stands for a file under .sheaf/answer. Opening it is done at
// once; the first read waits, until the reader is interrupted.
type answer struct {
	fixed
	virtual virtual
	node    crdt.NodeID
}

func (a *answer) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFREG|0o444, out)
}

func (a *answer) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0 {
		return nil, 0, syscall.EROFS
	}
	return &awaited{answer: a}, fuse.FOPEN_DIRECT_IO, 0
}

// awaited is an open answer, and its bytes once they are there.
type awaited struct {
	answer *answer

	mu   sync.Mutex
	made madeUp
	done bool
}

func (w *awaited) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	w.mu.Lock()
	made, done := w.made, w.done
	w.mu.Unlock()
	if !done {
		v := w.answer.virtual
		v.publish()
		b, err := v.answer(ctx, v.folder.Path(w.answer.node))
		switch {
		case ctx.Err() != nil:
			return nil, syscall.EINTR
		case err != nil:
			return nil, syscall.Errno(status(err))
		}
		w.mu.Lock()
		// Readers that waited side by side go on with the same bytes.
		if !w.done {
			w.made, w.done = b, true
		}
		made = w.made
		w.mu.Unlock()
	}
	return made.Read(ctx, dest, off)
}

// fixed is a node that no program can change. Without it a removal would seem to succeed.
type fixed struct{ gofs.Inode }

func (*fixed) Unlink(context.Context, string) syscall.Errno { return syscall.EROFS }
func (*fixed) Rmdir(context.Context, string) syscall.Errno  { return syscall.EROFS }
func (*fixed) Rename(context.Context, string, gofs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EROFS
}

func (*fixed) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (*fixed) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}
