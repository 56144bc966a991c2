package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// What was of this device alone comes into the folder: its bytes, attributes and links become
// changes of this device, in one batch, and then its name here goes.

// bringIn moves a name of this device into the folder.
func (fs *filesystem) bringIn(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string, src localSource) fuse.Status {
	if st := checkName(newName); !st.Ok() {
		return st
	}
	kind := src.mode & syscall.S_IFMT
	if kind != syscall.S_IFREG && kind != syscall.S_IFDIR && kind != syscall.S_IFLNK {
		return fuse.EXDEV // the program finds out itself that a folder does not hold such
	}
	who := fs.resolver.see(in.Pid, true, nil)
	if from := fs.get(in.NodeId); in.NodeId&localBit == 0 && from != nil {
		if n := fs.locals.get(from.node, oldName); n != nil && n.writer != nil {
			who = n.writer
		}
	}
	id, st := fs.kernelID(cancel, in, oldName)
	if !st.Ok() {
		return st
	}
	if kind == syscall.S_IFDIR {
		defer fs.staleDir(id | localBit) // without the lock
	}
	closed := kind != syscall.S_IFREG || waitClosed(src.path)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	to, st := fs.directory(in.Newdir)
	if !st.Ok() {
		return st
	}
	dst, err := fs.find(to, newName)
	if err != nil {
		dst = nil
	}
	if dst != nil && (in.Flags&renameNoReplace != 0 || dst.alt != nil) {
		return fuse.Status(syscall.EEXIST)
	}
	if err := fs.bringBack(to); err != nil {
		return status(err)
	}
	switch kind {
	case syscall.S_IFDIR:
		err = fs.bringInDir(src.path, dst, to, newName)
	case syscall.S_IFLNK:
		err = fs.bringInLink(src.path, dst, to, newName)
	default:
		err = fs.bringInFile(src, dst, to, newName, who, closed)
	}
	if err != nil {
		return status(err)
	}
	fs.crossed[id] = struct{}{}
	if from := fs.inodes[in.NodeId]; from != nil {
		fs.lost(from.node, oldName)
		fs.touched(from)
	}
	fs.touched(to)
	fs.staleName(to, 0, newName)
	return fuse.OK
}

// kernelID is the number by which the kernel knows a name of this device.
func (fs *filesystem) kernelID(cancel <-chan struct{}, in *fuse.RenameIn, name string) (uint64, fuse.Status) {
	h := in.InHeader
	if h.NodeId&localBit != 0 {
		h.NodeId &^= localBit
	} else {
		dir := fs.get(h.NodeId)
		if dir == nil {
			return 0, fuse.ENOENT
		}
		id, st := fs.localID(cancel, &h, dir, false)
		if !st.Ok() {
			return 0, st
		}
		h.NodeId = id
	}
	var out fuse.EntryOut
	if st := fs.local.Lookup(cancel, &h, name, &out); !st.Ok() {
		return 0, st
	}
	fs.local.Forget(out.NodeId, 1)
	return out.NodeId, fuse.OK
}

// waitClosed waits a moment for the last writer of a file to be gone: the kernel
// tells of that without waiting for us.
func waitClosed(path string) bool {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return true // a file that not even its owner may read is nobody's to write
	}
	defer syscall.Close(fd)
	for range 50 {
		if !openForWriting(fd) {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// openForWriting tells whether anybody has a file open for writing: no lease for
// reading is given then.
func openForWriting(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return err == syscall.EAGAIN
}

// bringInFile makes a file of this device one of the folder: its bytes become a
// write session's, so that a save through a temporary file that stays here is
// merged as any save. The caller holds filesystem.mu.
func (fs *filesystem) bringInFile(src localSource, dst, to *inode, newName string, who *caller, closed bool) error {
	if dst != nil && dst.kind == crdt.Symlink {
		if err := fs.update(func(tx *crdt.Tx) error { return tx.Remove(dst.node) }); err != nil {
			return err
		}
		fs.detach(dst)
		fs.unbindGone(dst)
		dst = nil
	}
	fd, err := syscall.Open(src.path, syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if err == syscall.EACCES {
		fd, err = syscall.Open(src.path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	}
	if err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		syscall.Close(fd)
		return err
	}
	mtime := time.Unix(st.Mtim.Unix())
	n := fs.add(&inode{kind: crdt.File})
	n.mu.Lock()
	n.draft = draft{mode: st.Mode & 0o7777, mtime: mtime, xattrs: xattrsOf(fd)}
	n.loaded, n.mtime, n.writer = true, mtime, who
	now := time.Now()
	s := &session{fd: fd, readOnly: -1, writer: who, begun: now, since: now, last: now, mtime: mtime,
		size: st.Size, dirty: true, wrote: true, closed: time.Now()}
	s.record = record{ID: fs.journal.number(), Kind: sessionRecord, Parent: to.node, Name: newName,
		Path: join(fs.folder.Path(to.node), newName), Mode: n.draft.mode, Truncated: true, Synced: true}
	n.sess = s
	n.mu.Unlock()
	undo := func(err error) error {
		n.mu.Lock()
		n.sess = nil
		n.mu.Unlock()
		s.closeFiles()
		fs.journal.drop(s.ID)
		delete(fs.inodes, n.id)
		return err
	}
	if err := fs.journal.put(s.record); err != nil {
		return undo(err)
	}
	err = os.Rename(src.path, fs.journal.path(s.ID))
	fs.journal.name()
	if err != nil {
		return undo(err)
	}
	if err := fs.rename(n, to, newName, dst, to, newName, who); err != nil {
		os.Rename(fs.journal.path(s.ID), src.path)
		return undo(err)
	}
	switch {
	case n.bound: // it was published as a version of what had the name
		fs.release(n)
	case closed:
		fs.ripen(n)
	default:
		n.mu.Lock()
		s.closed = time.Time{}
		n.mu.Unlock()
		fs.awaitClose(n, s)
	}
	return nil
}

// awaitClose publishes a file that was brought in while a program still wrote it.
func (fs *filesystem) awaitClose(n *inode, s *session) {
	fs.later(quiet, func() {
		n.mu.Lock()
		if n.sess != s || n.gone {
			n.mu.Unlock()
			return
		}
		var st syscall.Stat_t
		open := s.fd >= 0 && openForReading(fs.journal.path(s.ID))
		if s.fd >= 0 && syscall.Fstat(s.fd, &st) == nil {
			s.size = st.Size
		}
		s.track, s.text = nil, nil
		if s.closed = time.Now(); open {
			s.closed = time.Time{}
		}
		n.mu.Unlock()
		if open {
			fs.awaitClose(n, s)
		} else {
			fs.ripen(n)
		}
	})
}

func openForReading(path string) bool { return !waitClosed(path) }

// xattrsOf reads the attributes that travel with a file.
func xattrsOf(fd int) map[string][]byte {
	buf := make([]byte, 64<<10)
	n, err := unix.Flistxattr(fd, buf)
	if err != nil || n <= 0 {
		return nil
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, userPrefix) {
			continue
		}
		v := make([]byte, 64<<10)
		if k, err := unix.Fgetxattr(fd, name, v); err == nil {
			out[name] = v[:k]
		}
	}
	return out
}

func (fs *filesystem) bringInLink(path string, dst, to *inode, newName string) error {
	target, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if dst != nil && dst.kind == crdt.Dir {
		return crdt.ErrIsDir
	}
	if err := fs.settleLocked(); err != nil {
		return err
	}
	if dst != nil && !dst.bound {
		if err := fs.publishHere(dst); err != nil {
			return err
		}
	}
	err = fs.update(func(tx *crdt.Tx) error {
		if dst != nil {
			if err := tx.Remove(dst.node); err != nil {
				return err
			}
		}
		_, err := tx.Symlink(to.node, newName, target)
		return err
	})
	if err != nil {
		return err
	}
	if dst != nil {
		fs.detach(dst)
		fs.unbindGone(dst)
	}
	return os.Remove(path)
}

// errTooMuch says that a program has to copy instead.
var errTooMuch = syscall.EXDEV

// bringInDir makes a directory of this device one of the folder, if it is small.
// What must stay here stays, in the new directory.
func (fs *filesystem) bringInDir(path string, dst, to *inode, newName string) error {
	if dst != nil && dst.kind != crdt.Dir {
		return crdt.ErrNotDir
	}
	if dst != nil && fs.occupied(dst) {
		return crdt.ErrNotEmpty
	}
	if !small(path) {
		return errTooMuch
	}
	if err := fs.settleLocked(); err != nil {
		return err
	}
	b := bringer{fs: fs, contents: map[string]crdt.NewContent{}}
	if err := b.read(path, fs.spotOf(to.node).under(newName)); err != nil {
		return err
	}
	err := fs.update(func(tx *crdt.Tx) error {
		if dst != nil {
			if err := tx.Remove(dst.node); err != nil {
				return err
			}
		}
		return b.dir(tx, path, to.node, newName, fs.spotOf(to.node).under(newName))
	})
	if err != nil {
		return err
	}
	if dst != nil {
		fs.detach(dst)
		fs.unbindGone(dst)
	}
	for _, m := range b.stay {
		err = errors.Join(err, fs.keepIn(m.path, m.dir, m.name, nil))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(path)
}

// keepIn makes something a local name of a directory of the folder.
func (fs *filesystem) keepIn(path string, dir crdt.NodeID, name string, writer *caller) error {
	if err := fs.makeLocalDir(dir); err != nil {
		return err
	}
	if err := os.Rename(path, fs.localPath(dir, name)); err != nil {
		return err
	}
	return fs.locals.stat(fs.localRootDir, dir, name, writer)
}

// small tells whether a directory can be moved across in one call.
func small(path string) bool {
	names, bytes := 0, int64(0)
	err := filepath.WalkDir(path, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if names++; names > mostMovedNames {
			return errTooMuch
		}
		if !e.Type().IsRegular() {
			if !e.IsDir() && e.Type()&os.ModeSymlink == 0 {
				return errTooMuch // a socket or a pipe
			}
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if bytes += info.Size(); bytes > mostMovedBytes {
			return errTooMuch
		}
		return nil
	})
	return err == nil
}

// bringer makes a real directory's content the folder's.
type bringer struct {
	fs       *filesystem
	contents map[string]crdt.NewContent // by path, read before the folder is locked
	stay     []kept
}

// kept is something that stays on this device.
type kept struct {
	path string
	dir  crdt.NodeID
	name string
}

// read reads what is below path and is to go to a place.
func (b *bringer) read(path string, s spot) error {
	return filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		to := s
		for name := range strings.SplitSeq(strings.TrimPrefix(p, path+"/"), "/") {
			to = to.under(name)
		}
		b.contents[p], err = b.fs.contentOf(p, b.fs.keepsWhole(to))
		return err
	})
}

// contentOf reads a real file as the folder takes it.
func (fs *filesystem) contentOf(path string, whole bool) (crdt.NewContent, error) {
	f, err := os.Open(path)
	if err != nil {
		return crdt.NewContent{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return crdt.NewContent{}, err
	}
	if st.Size() <= crdt.MaxText && !whole {
		text, err := os.ReadFile(path)
		if err != nil {
			return crdt.NewContent{}, err
		}
		if crdt.IsText(text) {
			return crdt.NewContent{Text: string(text)}, nil
		}
	}
	hash, size, err := fs.home.Objects().Put(f)
	return crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(hash), Size: size}}, err
}

func (b *bringer) dir(tx *crdt.Tx, path string, parent crdt.NodeID, name string, s spot) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	node, err := tx.Mkdir(parent, name, uint32(info.Mode().Perm()))
	if err != nil {
		return err
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range list {
		p, sub := filepath.Join(path, e.Name()), s.under(e.Name())
		if IsLocal(e.Name()) {
			b.stay = append(b.stay, kept{p, node, e.Name()})
			continue
		}
		switch {
		case e.IsDir():
			err = b.dir(tx, p, node, e.Name(), sub)
		case e.Type()&os.ModeSymlink != 0:
			var target string
			if target, err = os.Readlink(p); err == nil {
				_, err = tx.Symlink(node, e.Name(), target)
			}
		default:
			err = b.file(tx, p, node, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bringer) file(tx *crdt.Tx, path string, dir crdt.NodeID, e os.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	c, ok := b.contents[path]
	if !ok {
		return errTooMuch // it came while the others were read
	}
	node, _, err := tx.Create(dir, e.Name(), uint32(info.Mode().Perm()), c)
	if err != nil {
		return err
	}
	return tx.SetMtime(node, info.ModTime())
}
