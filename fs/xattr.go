package fs

import (
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Extended attributes: user.* travels with the folder; others are not kept.

const userPrefix = "user."

// xattrs is what a node has. The caller holds in.mu.
func (fs *filesystem) xattrs(in *inode) (map[string][]byte, error) {
	if !in.bound {
		return in.draft.xattrs, nil
	}
	return fs.folder.Xattrs(in.node)
}

// GetXAttr implements fuse.RawFileSystem.
func (fs *filesystem) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	if toLocal(h) {
		if attr == whereAttr {
			return 0, fuse.ENODATA
		}
		return fs.local.GetXAttr(cancel, h, attr, dest)
	}
	if !strings.HasPrefix(attr, userPrefix) {
		return 0, fuse.ENODATA
	}
	in := fs.get(h.NodeId)
	if in == nil {
		return 0, fuse.ENOENT
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	all, err := fs.xattrs(in)
	if err != nil {
		return 0, status(err)
	}
	v, ok := all[attr]
	if !ok {
		return 0, fuse.ENODATA
	}
	return give(v, dest)
}

// ListXAttr implements fuse.RawFileSystem.
func (fs *filesystem) ListXAttr(cancel <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if toLocal(h) {
		return fs.local.ListXAttr(cancel, h, dest)
	}
	in := fs.get(h.NodeId)
	if in == nil {
		return 0, fuse.ENOENT
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	all, err := fs.xattrs(in)
	if err != nil {
		return 0, status(err)
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(name, userPrefix) {
			continue // what devices tell each other
		}
		b = append(append(b, name...), 0)
	}
	return give(b, dest)
}

func give(v, dest []byte) (uint32, fuse.Status) {
	if len(dest) < len(v) {
		return uint32(len(v)), fuse.ERANGE
	}
	return uint32(copy(dest, v)), fuse.OK
}

const (
	xattrCreate  = 1
	xattrReplace = 2
)

// SetXAttr implements fuse.RawFileSystem.
func (fs *filesystem) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	if toLocal(&in.InHeader) {
		return fs.local.SetXAttr(cancel, in, attr, data)
	}
	return fs.setXattr(in.NodeId, attr, func(has bool) fuse.Status {
		switch {
		case in.Flags&xattrCreate != 0 && has:
			return fuse.Status(syscall.EEXIST)
		case in.Flags&xattrReplace != 0 && !has:
			return fuse.ENODATA
		}
		return fuse.OK
	}, func(n *inode) error {
		if !n.bound {
			if n.draft.xattrs == nil {
				n.draft.xattrs = map[string][]byte{}
			}
			n.draft.xattrs[attr] = slices.Clone(data)
			return nil
		}
		return fs.update(func(tx *crdt.Tx) error { return tx.SetXattr(n.node, attr, slices.Clone(data)) })
	})
}

// RemoveXAttr implements fuse.RawFileSystem.
func (fs *filesystem) RemoveXAttr(cancel <-chan struct{}, h *fuse.InHeader, attr string) fuse.Status {
	if toLocal(h) {
		return fs.local.RemoveXAttr(cancel, h, attr)
	}
	return fs.setXattr(h.NodeId, attr, func(has bool) fuse.Status {
		if !has {
			return fuse.ENODATA
		}
		return fuse.OK
	}, func(n *inode) error {
		if !n.bound {
			delete(n.draft.xattrs, attr)
			return nil
		}
		return fs.update(func(tx *crdt.Tx) error { return tx.RemoveXattr(n.node, attr) })
	})
}

func (fs *filesystem) setXattr(id uint64, attr string, check func(has bool) fuse.Status, do func(*inode) error) fuse.Status {
	if !strings.HasPrefix(attr, userPrefix) {
		return fuse.ENOTSUP
	}
	n := fs.get(id)
	if n == nil {
		return fuse.ENOENT
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.alt != nil {
		return fuse.EROFS
	}
	if n.kind == crdt.Symlink {
		return fuse.EPERM
	}
	all, err := fs.xattrs(n)
	if err != nil {
		return status(err)
	}
	_, has := all[attr]
	if st := check(has); !st.Ok() {
		return st
	}
	return status(do(n))
}
