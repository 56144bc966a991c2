package plain

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// stat is what tells whether a file was touched.
type stat struct {
	Dev   uint64 `cbor:"1,keyasint"`
	Ino   uint64 `cbor:"2,keyasint"`
	Size  int64  `cbor:"3,keyasint"`
	Mtime int64  `cbor:"4,keyasint"` // ns
	Ctime int64  `cbor:"5,keyasint"` // ns

	mode  uint32
	atime int64
}

// fileID names a file of the disk.
type fileID struct{ dev, ino uint64 }

func (s stat) id() fileID { return fileID{s.Dev, s.Ino} }

// sameFile reports whether nothing was written or changed between two looks.
func (s stat) same(o stat) bool {
	return s.id() == o.id() && s.Size == o.Size && s.Mtime == o.Mtime && s.Ctime == o.Ctime
}

// sameBytes is same, but for what a rename or chmod changes.
func (s stat) sameBytes(o stat) bool {
	return s.id() == o.id() && s.Size == o.Size && s.Mtime == o.Mtime
}

func (s stat) kind() (crdt.Kind, bool) {
	switch s.mode & unix.S_IFMT {
	case unix.S_IFREG:
		return crdt.File, true
	case unix.S_IFDIR:
		return crdt.Dir, true
	case unix.S_IFLNK:
		return crdt.Symlink, true
	}
	return 0, false
}

func (s stat) perm() uint32 { return s.mode & 0o777 }

func statOf(st *unix.Stat_t) stat {
	return stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
		mode: st.Mode, atime: st.Atim.Nano(),
	}
}

func lstat(path string) (stat, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return stat{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return statOf(&st), nil
}

func fstat(fd int) (stat, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return statOf(&st), err
}

// openQuietly opens a file without moving its access time, if the system lets us.
func openQuietly(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Open(path, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Open(path, flags, 0)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// written reports whether some program has the file open for writing: a read
// lease is to be had only where none has.
func written(f *os.File) bool {
	fd := f.Fd()
	_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}

// readNames lists a directory.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// setTimes sets a file's times through its descriptor.
func setTimes(f *os.File, atime, mtime time.Time) error {
	ts := []unix.Timespec{unix.NsecToTimespec(atime.UnixNano()), unix.NsecToTimespec(mtime.UnixNano())}
	return unix.UtimesNanoAt(int(f.Fd()), "", ts, unix.AT_EMPTY_PATH)
}

// accessTimesMove finds out whether this filesystem notes that a file was read.
func accessTimesMove(dir string) bool {
	f, err := os.CreateTemp(dir, "atime-")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	now := time.Now()
	if _, err := f.WriteString("x"); err != nil {
		return false
	}
	if err := setTimes(f, now.Add(-time.Second), now); err != nil {
		return false
	}
	before, err := fstat(int(f.Fd()))
	if err != nil {
		return false
	}
	r, err := os.Open(f.Name())
	if err != nil {
		return false
	}
	_, err = io.ReadAll(r)
	r.Close()
	after, serr := fstat(int(f.Fd()))
	return err == nil && serr == nil && after.atime != before.atime
}

// draft makes a scratch file of what a text or an object holds.
func (d *Dir) draft(name string, c crdt.Content) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if c.Object == nil {
		_, err = io.WriteString(f, c.Text)
	} else {
		var from *os.File
		if from, err = os.Open(d.home.Objects().Path(hash(c.Object))); err == nil {
			_, err = io.Copy(f, from)
			from.Close()
		}
	}
	if err != nil {
		f.Close()
		os.Remove(name)
		return nil, err
	}
	return f, nil
}

// isGone reports whether an error says that a name, or a directory above it, is not there.
func isGone(err error) bool {
	return errors.Is(err, iofs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

func (d *Dir) abs(rel string) string { return filepath.Join(d.root, filepath.FromSlash(rel)) }
