package fs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// session is the bytes of a view that is being written, in a file of the home,
// with the record that brings them back after a crash. It is under the inode's mu.
type session struct {
	record
	fd       int
	packed   *journal      // the bytes are in the journal, not in a file
	under    *crdt.Body    // with packed: the text that those in the journal were put into
	stored   *crdt.Object  // the bytes are an object already; a write makes a copy first
	readOnly int           // with stored: the same bytes, opened for reading
	made     crdt.Version  // what was published of it last
	marked   bool          // something may be stored under its Mark
	storing  chan struct{} // closed when the bytes, which are being stored, may change again
	size     int64         // of the view
	covered  int64         // so many bytes, from the first on, were written since it began
	mtime    time.Time
	track    *track     // what the bytes have in common with the text they began with, or may be to replace
	guessed  bool       // what that may be was looked for
	text     *crdt.Body // what body made of the bytes last; nil once they have changed

	dirty  bool      // something is not published
	wrote  bool      // bytes came since the truncation
	closed time.Time // when a new file was closed last, and so may be published; zero if it was not
	killed bool      // what it began with is gone, and a signal ended its writer

	writer  *caller   // who wrote last
	readers []*caller // who was given bytes that have no version yet
	begun   time.Time
	created time.Time     // when the file was begun that is renamed over another, zero for the rest
	since   time.Time     // begun, or published last
	last    time.Time     // the last write
	watched bool          // a timer looks after it
	refused time.Duration // how long its publication waited when it was last refused; 0: it was not
	batched bool          // who publishes it with others ends its record
}

// how says how a session begins.
type how uint8

const (
	whole    how = iota // the bytes begin as what is shown
	truncate            // the bytes begin empty
	appended            // the bytes are added to what is shown
)

// begin starts a session, or takes part in the one there is. When it returns,
// the record is with the kernel. The caller holds in.mu; the view is loaded.
func (fs *filesystem) begin(in *inode, who *caller, h how) (*session, error) {
	for in.sess != nil && in.sess.storing != nil {
		in.settled(in.sess)
	}
	if s := in.sess; s != nil {
		if who != nil {
			s.writer = who
		}
		if s.Appended && h != appended {
			if err := fs.spell(in, s); err != nil {
				return nil, err
			}
			if in.sess != s {
				return fs.begin(in, who, h) // what was appended is in the folder
			}
		}
		if s.stored != nil {
			if err := fs.unstore(s); err != nil {
				return nil, err
			}
		}
		if h == truncate {
			err := fs.cut(s, 0)
			s.track = tracked(in.text, false)
			return s, err
		}
		return s, nil
	}
	object := in.object.Object != nil || fs.inodeWhole(in)
	if h == appended && (object || !in.bound) {
		h = whole
	}
	now := time.Now()
	s := &session{fd: -1, readOnly: -1, writer: who, begun: now, since: now, last: now, mtime: in.mtime}
	s.record = record{
		ID: fs.journal.number(), Kind: sessionRecord, Node: in.node, Base: in.version, Object: object,
		Truncated: h == truncate, Appended: h == appended,
	}
	if in.bound {
		s.Path = fs.folder.Path(in.node)
	} else {
		fs.place(in, &s.record)
	}
	if h == appended {
		s.Mark = rand.Uint64()
	}
	if h == whole && !object && in.bound && !in.gone {
		s.Into = int64(in.text.Len())
	}
	var err error
	if h == truncate || s.Into > 0 || h == whole && !in.bound && in.size() == 0 {
		s.packed = fs.journal
	} else if s.fd, err = fs.newFile(s.ID); err != nil {
		return nil, err
	}
	switch {
	case h == truncate:
		s.dirty, s.mtime = true, now
	case s.Into > 0:
		s.under, s.size = in.text, s.Into
	case s.packed != nil:
	case h == whole:
		err = in.copyTo(s.fd)
		s.size = in.size()
	default: // appended
		s.size = in.size()
	}
	if err == nil {
		err = fs.journal.put(s.record)
	}
	if err == nil && h == truncate {
		_, err = s.packed.pack(piece{ID: s.ID}) // that there is nothing is what was written
	}
	if err != nil {
		s.closeFiles()
		fs.journal.drop(s.ID)
		os.Remove(fs.journal.path(s.ID))
		return nil, err
	}
	if h != appended {
		s.track = tracked(in.text, h == whole)
	}
	in.sess = s
	return s, nil
}

// place writes into a record where a file that is not in the folder yet is.
func (fs *filesystem) place(in *inode, r *record) {
	r.Name, r.Mode, r.Unnamed = in.name, in.draft.mode, in.gone
	r.Owner = fs.ownerRecord(in)
	if in.parent != nil {
		r.Parent = in.parent.node
		r.Path = join(fs.folder.Path(in.parent.node), in.name)
	}
}

func join(dir, name string) string {
	if dir == "" || dir == "/" {
		return name
	}
	return dir + "/" + name
}

func (fs *filesystem) newFile(id uint64) (int, error) {
	path := fs.journal.path(id)
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, fmt.Errorf("session %s: %w", path, err)
	}
	fs.journal.name()
	return fd, nil
}

// copyTo writes what is shown into a new file.
func (in *inode) copyTo(fd int) error {
	if in.object.Object == nil {
		return copyBody(fd, in.text, int64(in.text.Len()))
	}
	return copyFile(fd, in.object.file.fd, in.object.Size)
}

// copyBody writes the first bytes of a text into a file.
func copyBody(fd int, b *crdt.Body, most int64) error {
	size := int(min(int64(b.Len()), most))
	buf := make([]byte, min(size, 256<<10))
	for at := 0; at < size; {
		n := b.ReadAt(buf[:min(len(buf), size-at)], at)
		if _, err := pwriteFull(fd, buf[:n], int64(at)); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// copyFile copies whole files, sharing their blocks where the disk can.
func copyFile(dst, src int, size int64) error {
	if unix.IoctlFileClone(dst, src) == nil {
		return nil
	}
	var in, out int64
	for in < size {
		n, err := unix.CopyFileRange(src, &in, dst, &out, int(min(size-in, 1<<30)), 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return copySlow(dst, src, in, size)
		}
	}
	return nil
}

func copySlow(dst, src int, at, size int64) error {
	buf := make([]byte, 1<<20)
	for at < size {
		n, err := preadFull(src, buf[:min(int64(len(buf)), size-at)], at)
		if err != nil {
			return err
		}
		if n == 0 {
			return syscall.EIO
		}
		if _, err := pwriteFull(dst, buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// spell turns a session of appended bytes into one of whole content, for a writer that does not
// append. Where publishing what was appended ends the session, that is all there is to do.
func (fs *filesystem) spell(in *inode, s *session) error {
	if s.dirty {
		if err := fs.publishAppend(in, s); err != nil || in.sess != s || !s.Appended {
			return err
		}
	}
	if err := syscall.Ftruncate(s.fd, 0); err != nil {
		return err
	}
	if err := in.copyTo(s.fd); err != nil {
		return err
	}
	s.track, s.text = tracked(in.text, true), nil
	s.Appended, s.Base, s.size = false, in.version, int64(in.text.Len())
	return fs.journal.put(s.record)
}

// unstore gives a session whose bytes became an object a file of its own again.
func (fs *filesystem) unstore(s *session) error {
	tmp := fs.journal.path(s.ID) + ".new"
	fd, err := syscall.Open(tmp, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = copyFile(fd, s.readOnly, s.size)
	if err == nil {
		err = os.Rename(tmp, fs.journal.path(s.ID))
		fs.journal.name()
	}
	if err != nil {
		syscall.Close(fd)
		os.Remove(tmp)
		return err
	}
	syscall.Close(s.readOnly)
	s.fd, s.readOnly, s.stored = fd, -1, nil
	return nil
}

// cut changes the size of the bytes.
func (fs *filesystem) cut(s *session, size int64) error {
	if size == 0 {
		was := s.record
		s.Truncated, s.Synced = true, false
		var err error
		if s.packed != nil && s.size > 0 {
			err = s.unpackFirst(0) // which records it with the bytes' going
		} else {
			err = fs.journal.put(s.record)
		}
		if err != nil {
			s.record = was // the bytes are as they were
			return err
		}
		s.wrote, s.begun = false, time.Now()
	}
	if s.packed == nil || s.size != 0 || size != 0 {
		if err := s.unpackFirst(size); err != nil {
			return err
		}
		if err := syscall.Ftruncate(s.fd, size); err != nil {
			return err
		}
	}
	now := time.Now()
	s.track, s.text = nil, nil
	s.size, s.dirty, s.mtime, s.last = size, true, now, now
	if size > 0 {
		s.wrote = true
	}
	s.covered = min(s.covered, size)
	return nil
}

// rewritten tells whether nothing is left of the bytes that the session began with.
func (s *session) rewritten() bool { return s.Truncated || s.wrote && s.covered >= s.size }

// write puts bytes into the session, at the end if off is negative.
func (s *session) write(data [][]byte, off int64) (uint32, error) {
	if off < 0 {
		off = s.size
	}
	at := off
	s.text = nil
	if s.Appended {
		end, err := syscall.Seek(s.fd, 0, 2)
		if err != nil {
			return 0, err
		}
		at = end
	}
	var done int64
	s.text = nil
	for _, b := range data {
		n, err := s.writeAt(b, at+done)
		if s.track != nil && !s.track.wrote(b[:n], at+done) {
			s.track = nil
		}
		done += int64(n)
		if err != nil {
			if done == 0 {
				return 0, err
			}
			break
		}
	}
	now := time.Now()
	if off <= s.covered && !s.Appended {
		s.covered = max(s.covered, off+done)
	}
	s.size = max(s.size, off+done)
	s.dirty, s.wrote, s.mtime, s.last = true, true, now, now
	return uint32(done), nil
}

func (s *session) writeAt(b []byte, off int64) (int, error) {
	if s.packed != nil {
		ok, err := s.packed.pack(piece{s.ID, off, b})
		if err != nil {
			return 0, err
		}
		if ok {
			return len(b), nil
		}
		if err := s.unpack(); err != nil {
			return 0, err
		}
	}
	return pwriteFull(s.fd, b, off)
}

// sync makes the bytes and the record durable.
func (fs *filesystem) syncSession(s *session) error {
	if !s.Synced && s.dirty {
		s.Synced = true
		if err := fs.journal.put(s.record); err != nil {
			return err
		}
	}
	if s.fd >= 0 {
		if err := syscall.Fdatasync(s.fd); err != nil {
			return err
		}
	}
	return fs.journal.sync()
}

// syncJournal has the disk forget what ended.
func (fs *filesystem) syncJournal() {
	if err := fs.journal.sync(); err != nil {
		fs.log.Error("sync the journal", "err", err)
	}
}

// endSession drops a session whose bytes are in the folder or are not wanted.
// The caller holds in.mu.
func (fs *filesystem) endSession(in *inode) {
	s := in.sess
	in.sess = nil
	if !s.batched {
		if err := fs.journal.drop(s.ID); err != nil {
			fs.log.Error("end a write session", "path", s.Path, "err", err)
		}
	}
	s.closeFiles()
	if s.packed != nil {
		return
	}
	path := fs.journal.path(s.ID)
	if s.text != nil && fs.queue != nil {
		fs.later(0, func() { os.Remove(path) }) // to free its blocks takes longer than all else
		return
	}
	os.Remove(path)
}

func (s *session) closeFiles() {
	for _, fd := range []int{s.fd, s.readOnly} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
	s.fd, s.readOnly = -1, -1
}

// discardSession drops a session if there is one.
func (fs *filesystem) discardSession(in *inode) {
	if in.sess != nil {
		fs.endSession(in)
	}
}
