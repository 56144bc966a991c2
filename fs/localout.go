package fs

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// takeOut moves a name of the folder to this device alone: for the others it is
// removed. A file's removal waits as any does, so that an editor that moves the
// old file to a backup that stays here, and writes a new one, still saves it.
func (fs *filesystem) takeOut(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if st := checkName(newName); !st.Ok() {
		return st
	}
	if in.NodeId == fuse.FUSE_ROOT_ID && oldName == virtualName {
		return fuse.EPERM
	}
	who := fs.resolver.see(in.Pid, true, nil)
	dir, st := fs.whereIs(cancel, &in.InHeader, in.Newdir)
	if !st.Ok() {
		return st
	}
	crossed := uint64(0)
	defer func() { // without the lock
		if crossed != 0 {
			fs.staleDir(crossed)
		}
	}()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	from, st := fs.directory(in.NodeId)
	if !st.Ok() {
		return st
	}
	src, err := fs.find(from, oldName)
	if err != nil {
		return status(err)
	}
	if src.alt != nil {
		return fuse.EROFS
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return status(err)
	}
	path := filepath.Join(dir, newName)
	if _, err := os.Lstat(path); err == nil && in.Flags&renameNoReplace != 0 {
		return fuse.Status(syscall.EEXIST)
	}
	if src.kind == crdt.Dir {
		err, crossed = fs.takeOutDir(src, path), src.id
	} else {
		err = fs.takeOutFile(src, from, oldName, path, who)
	}
	if err != nil {
		return status(err)
	}
	to := fs.inodes[in.Newdir]
	if to != nil {
		if err := fs.locals.stat(fs.localRootDir, to.node, newName, src.writer); err != nil {
			return status(err)
		}
		fs.touched(to)
	}
	fs.touched(from)
	fs.staleName(to, in.Newdir, newName)
	fs.release(src)
	return fuse.OK
}

// aside is a new name in the home for something that is about to get its own.
func (fs *filesystem) aside() string {
	return filepath.Join(fs.localRootDir, ".moving-"+time.Now().Format("150405.000000000"))
}

func (fs *filesystem) takeOutFile(src, from *inode, oldName, path string, who *caller) error {
	if src.bound && src.parent != nil {
		if err := fs.settleLocked(); err != nil {
			return err
		}
	}
	tmp := fs.aside()
	if err := fs.realize(src, tmp); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	if src.bound {
		if err := fs.postpone(src, from, oldName, nil, "", who); err != nil {
			return err
		}
	}
	fs.detach(src)
	src.mu.Lock()
	src.crossed = true
	if !src.bound {
		fs.discardSession(src)
		fs.hide(src)
	}
	src.mu.Unlock()
	return nil
}

// realize makes a real file or symlink of what an inode shows.
func (fs *filesystem) realize(in *inode, path string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.kind == crdt.Symlink {
		info, err := fs.folder.Get(in.node)
		if err != nil {
			return err
		}
		return os.Symlink(info.Target, path)
	}
	if s := in.sess; s != nil && s.Appended {
		if err := fs.spell(in, s); err != nil {
			return err
		}
	}
	if err := fs.load(in); err != nil {
		return err
	}
	var attr fuse.Attr
	if st := fs.attr(in, &attr); !st.Ok() {
		return syscall.Errno(st)
	}
	xattrs, err := fs.xattrs(in)
	if err != nil {
		return err
	}
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	switch s := in.sess; {
	case s != nil && s.stored != nil:
		err = copyFile(fd, s.readOnly, s.size)
	case s != nil:
		if err = s.unpack(); err == nil {
			err = copyFile(fd, s.fd, s.size)
		}
	default:
		err = in.copyTo(fd)
	}
	if err != nil {
		return err
	}
	for k, v := range xattrs {
		if err := unix.Fsetxattr(fd, k, v, 0); err != nil && err != unix.ENOTSUP {
			return err
		}
	}
	if err := syscall.Fchmod(fd, attr.Mode&0o7777); err != nil {
		return err
	}
	mtime := unix.NsecToTimespec(int64(attr.Mtime)*1e9 + int64(attr.Mtimensec))
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{mtime, mtime}, 0)
}

// takeOutDir makes a real directory of one of the folder, if it is small, and
// removes it there.
func (fs *filesystem) takeOutDir(src *inode, path string) error {
	if err := fs.settleLocked(); err != nil {
		return err
	}
	o := taker{fs: fs}
	tmp := fs.aside()
	err := o.dir(src, tmp)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		for _, m := range o.moved {
			os.Rename(m.path, fs.localPath(m.dir, m.name))
		}
		os.RemoveAll(tmp)
		return err
	}
	for _, m := range o.moved {
		fs.locals.drop(m.dir, m.name)
	}
	for _, d := range o.dirs {
		os.Remove(fs.localDir(d.node))
	}
	err = fs.update(func(tx *crdt.Tx) error {
		for _, list := range [][]*inode{o.files, o.dirs} {
			for _, n := range list {
				if !n.bound {
					continue
				}
				if err := tx.Remove(n.node); err != nil && status(err) != fuse.ENOENT {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range append(o.files, o.dirs...) {
		fs.detach(n)
		n.mu.Lock()
		n.crossed = true
		if !n.bound {
			fs.discardSession(n)
			fs.hide(n)
		}
		n.mu.Unlock()
		fs.unbindGone(n)
		if n != src {
			fs.release(n)
		}
	}
	return nil
}

// taker makes real what the folder shows.
type taker struct {
	fs    *filesystem
	files []*inode
	dirs  []*inode // each after what is in it
	moved []kept   // local names, and where they are now
	names int
	bytes int64
}

func (o *taker) dir(n *inode, path string) error {
	fs := o.fs
	info, err := fs.folder.Get(n.node)
	if err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	list, err := fs.list(n)
	if err != nil {
		return err
	}
	for _, d := range list {
		if o.names++; o.names > mostMovedNames {
			return errTooMuch
		}
		in := d.in
		if in == nil {
			if d.info.Alt {
				return errTooMuch // versions that do not merge are not to be dropped in passing
			}
			in = fs.inodeFor(d.info)
		}
		p := filepath.Join(path, d.name)
		if in.kind == crdt.Dir {
			err = o.dir(in, p)
		} else {
			if o.bytes += d.info.Size; o.bytes > mostMovedBytes {
				return errTooMuch
			}
			o.files = append(o.files, in)
			err = fs.realize(in, p)
		}
		if err != nil {
			return err
		}
	}
	for name := range fs.locals.list(n.node) {
		p := filepath.Join(path, name)
		if err := os.Rename(fs.localPath(n.node, name), p); err != nil {
			return err
		}
		o.moved = append(o.moved, kept{p, n.node, name})
	}
	o.dirs = append(o.dirs, n)
	return os.Chmod(path, os.FileMode(info.Mode&0o777))
}
