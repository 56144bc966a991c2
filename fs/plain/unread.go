package plain

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// maxUnread bounds how many files are kept open to see whether somebody reads
// them. Of the others it is seen only while they keep their place.
const maxUnread = 256

func closeFD(fd int) { _ = unix.Close(fd) }

// untouched reports whether nobody has read the file since it was put there.
func (d *Dir) untouched(e *entry) bool {
	fd, ok := d.unread[e]
	if ok {
		// The file itself, also where its name is another file's by now.
		st, err := fstat(fd)
		return err == nil && st.atime == e.Atime
	}
	st, err := lstat(d.abs(e.path()))
	return err == nil && st.id() == e.Stat.id() && st.atime == e.Atime
}

// readSince ends the watch over an entry's reader.
func (d *Dir) readSince(e *entry) {
	if fd, ok := d.unread[e]; ok {
		closeFD(fd)
		delete(d.unread, e)
	}
	e.Unread, e.Read, e.Atime = false, nil, 0
}

// putUnread notes that a file was put there from elsewhere, in place of another
// that held the entry's version; read is what readers may have seen before.
func (d *Dir) putUnread(e *entry, read crdt.Version, atime time.Time) {
	d.readSince(e)
	if !d.atimes || len(read) == 0 {
		return
	}
	e.Unread, e.Read, e.Atime = true, read, atime.UnixNano()
	if len(d.unread) >= maxUnread {
		for old, fd := range d.unread { // any
			closeFD(fd)
			delete(d.unread, old)
			break
		}
	}
	if fd, err := unix.Open(d.abs(e.path()), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
		d.unread[e] = fd
	}
}
