package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// gate is a filesystem that takes no changes while its folder shows a first view: what
// they would be based on is not known yet. Writers that were there before go on; what they
// wrote is published once the view has ended.
type gate struct{ *filesystem }

// shut is EROFS while nothing may be changed.
func (g gate) shut() fuse.Status {
	if g.folder.Unconfirmed() {
		return fuse.EROFS
	}
	return fuse.OK
}

// Create implements fuse.RawFileSystem.
func (g gate) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.Create(cancel, in, name, out)
}

// Mknod implements fuse.RawFileSystem. The guardian makes names known with it, which changes
// nothing.
func (g gate) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if st := g.shut(); !st.Ok() && !g.isPoke(in.Pid) {
		return st
	}
	return g.filesystem.Mknod(cancel, in, name, out)
}

// Mkdir implements fuse.RawFileSystem.
func (g gate) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.Mkdir(cancel, in, name, out)
}

// Symlink implements fuse.RawFileSystem.
func (g gate) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.Symlink(cancel, h, target, name, out)
}

// Unlink implements fuse.RawFileSystem.
func (g gate) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if st := g.shut(); !st.Ok() && !g.isPoke(h.Pid) {
		return st
	}
	return g.filesystem.Unlink(cancel, h, name)
}

// Rmdir implements fuse.RawFileSystem.
func (g gate) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if st := g.shut(); !st.Ok() && !g.isPoke(h.Pid) {
		return st
	}
	return g.filesystem.Rmdir(cancel, h, name)
}

// Rename implements fuse.RawFileSystem.
func (g gate) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.Rename(cancel, in, oldName, newName)
}

// Tmpfile implements fuse.RawFileSystem.
func (g gate) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.Tmpfile(cancel, in, out)
}

// Link implements fuse.RawFileSystem.
func (g gate) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.Link(cancel, in, name, out)
}

// SetAttr implements fuse.RawFileSystem.
func (g gate) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if st := g.shut(); !st.Ok() && !g.isPoke(in.Pid) {
		return st
	}
	return g.filesystem.SetAttr(cancel, in, out)
}

// SetXAttr implements fuse.RawFileSystem.
func (g gate) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.SetXAttr(cancel, in, attr, data)
}

// RemoveXAttr implements fuse.RawFileSystem.
func (g gate) RemoveXAttr(cancel <-chan struct{}, h *fuse.InHeader, attr string) fuse.Status {
	if st := g.shut(); !st.Ok() {
		return st
	}
	return g.filesystem.RemoveXAttr(cancel, h, attr)
}

// Open implements fuse.RawFileSystem.
func (g gate) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&(syscall.O_ACCMODE|syscall.O_TRUNC) != syscall.O_RDONLY && !g.isPoke(in.Pid) {
		if st := g.shut(); !st.Ok() {
			return st
		}
	}
	return g.filesystem.Open(cancel, in, out)
}
