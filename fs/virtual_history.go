package fs

import (
	"context"
	"fmt"
	"path"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// historyDir is .sheaf/history and what is below it: the folder's directories, with a directory of
// versions in the place of each file. What was removed is not listed, but can be named.
type historyDir struct {
	fixed
	folder *crdt.Folder
	node   crdt.NodeID
	kind   crdt.Kind
	name   string // of the file
}

func (v *historyDir) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFDIR|0o555, out)
}

func (v *historyDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if v.kind == crdt.File {
		return v.version(ctx, name, out)
	}
	i, err := v.folder.Lookup(v.node, name)
	if err != nil {
		i, err = v.folder.Lost(v.node, name)
	}
	switch {
	case err != nil:
		return nil, syscall.Errno(status(err))
	case i.Alt || i.Kind == crdt.Symlink:
		return nil, syscall.ENOENT
	}
	return virtualChild(ctx, &v.Inode, name, i.Node.String(), &historyDir{folder: v.folder, node: i.Node, kind: i.Kind, name: i.Name}, fuse.S_IFDIR, out), 0
}

func (v *historyDir) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	if v.kind == crdt.File {
		revs, err := v.folder.Versions(v.node)
		if err != nil {
			return nil, syscall.Errno(status(err))
		}
		for n, r := range revs {
			list = append(list, fuse.DirEntry{Name: versionName(v.name, n+1, len(revs), r), Mode: fuse.S_IFREG})
		}
		return listed(list), 0
	}
	is, err := v.folder.ReadDir(v.node)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	for _, i := range is {
		if !i.Alt && i.Kind != crdt.Symlink {
			list = append(list, fuse.DirEntry{Name: i.Name, Mode: fuse.S_IFDIR})
		}
	}
	return listed(list), 0
}

// versionName names a version so that names sort as the versions came, and end as the file's
// does: "0001 2026-11-30T14.00.00 anna.txt".
func versionName(file string, n, of int, r crdt.Revision) string {
	who := r.DeviceName
	if r.Author != "" {
		who = r.Author
	}
	who = strings.Map(func(c rune) rune {
		if c == '/' || c < ' ' {
			return '-'
		}
		return c
	}, who)
	ext := path.Ext(file)
	if ext == file || len(ext) > 16 {
		ext = ""
	}
	if r.Absent {
		ext = " (expired).txt"
	}
	return fmt.Sprintf("%0*d %s %s%s", max(4, len(fmt.Sprint(of))), n, r.Time.Local().Format("2006-01-02T15.04.05"), who, ext)
}

func (v *historyDir) version(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	revs, err := v.folder.Versions(v.node)
	if err != nil {
		return nil, syscall.Errno(status(err))
	}
	var n int
	if _, err := fmt.Sscanf(name, "%d", &n); err != nil || n < 1 || n > len(revs) || versionName(v.name, n, len(revs), revs[n-1]) != name {
		return nil, syscall.ENOENT
	}
	c := &oldVersion{folder: v.folder, node: v.node, revision: revs[n-1]}
	if errno := c.attr(&out.Attr); errno != 0 {
		return nil, errno
	}
	out.SetEntryTimeout(remembered)
	out.SetAttrTimeout(remembered)
	what := fmt.Sprint(c.revision.Version, c.revision.Absent)
	return v.NewInode(ctx, c, virtualID(&v.Inode, name, what, fuse.S_IFREG)), 0
}

// oldVersion is one version of a file.
type oldVersion struct {
	fixed
	folder   *crdt.Folder
	node     crdt.NodeID
	revision crdt.Revision
}

// expired is what stands for content that is not here any more.
func (v *oldVersion) expired() madeUp {
	return madeUp(fmt.Sprintf("The content of this version, %d bytes, is not on this device: it expired, or has not come yet.\n"+
		"Another device may have it: look there, or have versions remembered longer: sheaf expire --help.\n", v.revision.Object.Size))
}

func (v *oldVersion) attr(out *fuse.Attr) syscall.Errno {
	out.Mode = fuse.S_IFREG | 0o444
	out.SetTimes(nil, &v.revision.Time, &v.revision.Time)
	switch r := v.revision; {
	case r.Absent:
		setSize(out, int64(len(v.expired())))
	case r.Object != nil:
		setSize(out, r.Object.Size)
	default:
		c, err := v.folder.ContentAt(v.node, r.Version)
		if err != nil {
			return syscall.Errno(status(err))
		}
		setSize(out, int64(len(c.Text)))
	}
	return 0
}

func (v *oldVersion) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.SetTimeout(remembered)
	return v.attr(&out.Attr)
}

func (v *oldVersion) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if v.revision.Absent {
		if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0 {
			return nil, 0, syscall.EROFS
		}
		return v.expired(), 0, 0
	}
	return openContent(v.folder, v.node, v.revision.Version, flags)
}
