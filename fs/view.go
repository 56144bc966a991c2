package fs

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// view is a file's bytes as this device's programs see them: a version of the
// folder's, or, while somebody writes, a session's. It is shared by all handles,
// since page cache and size belong to the inode. All fields are under inode.mu.
type view struct {
	loaded  bool
	version crdt.Version // what is shown; while a session is on, what it began from
	text    *crdt.Body
	object  objectFile
	mtime   time.Time
	sess    *session

	writer  *caller   // who wrote the bytes last: a rename commits them in its name
	writing time.Time // when the writer began

	readers  int       // handles open for reading only
	lastRead time.Time // one was opened that reads through the page cache
	writers  int       // handles open for writing
	placed   int       // of these, those that wrote at offsets of their own
	active   int       // of these, those that were not closed since they wrote

	// stale says that the folder has a newer version than is shown.
	stale     bool
	due       time.Time // when it is looked at next
	heldSince time.Time // since when the newer version waits
	holdUntil time.Time // a save was made a moment ago
	before    crdt.Version
	flipping  bool // the kernel is being told of a new version; before is what it may still show
	flipped   time.Time
	mixed     bool   // the page cache may have bytes of versions that are not shown any more
	announced uint64 // the version that the kernel and watchers were told of last, as announce names it

	// A save keeps the time its writer saw on it, not the later one of its publication.
	saved        bool
	savedVersion crdt.Version
	savedMtime   time.Time
	savedSize    int64
	dated        *shown // came from elsewhere; the time is that of its being shown, not of its coming

	guards map[process]guard

	draft draft
	atime time.Time // as set by utimens; the mount keeps no times of reading
	touch time.Time // last change of names in a directory, of attributes of a file
}

// objectFile is content that is kept whole.
type objectFile struct {
	*crdt.Object
	file *objectReader // nil when not open
}

// mu is the lock of an inode, which has its view made: of most files that the kernel knows
// there is nothing to say between two calls, and then there is no view.
type mu struct {
	lock sync.Mutex
	*view
}

// views holds views that say nothing, for the next who needs one.
var views = sync.Pool{New: func() any { return &view{} }}

func (m *mu) Lock() {
	m.lock.Lock()
	m.begin()
}

func (m *mu) TryLock() bool {
	if !m.lock.TryLock() {
		return false
	}
	m.begin()
	return true
}

func (m *mu) Unlock() {
	if m.blank() {
		views.Put(m.view)
		m.view = nil
	}
	m.lock.Unlock()
}

func (m *mu) begin() {
	if m.view == nil {
		m.view = views.Get().(*view)
	}
}

// blank tells whether the view says nothing that a new one would not.
func (v *view) blank() bool {
	o, d := &v.object, &v.draft
	return !v.loaded && v.version == nil && v.text == nil && o.Object == nil && o.file == nil && v.mtime == time.Time{} &&
		v.sess == nil && v.writer == nil && v.writing == time.Time{} &&
		v.readers == 0 && v.lastRead == time.Time{} && v.writers == 0 && v.placed == 0 && v.active == 0 &&
		!v.stale && v.due == time.Time{} && v.heldSince == time.Time{} && v.holdUntil == time.Time{} &&
		v.before == nil && !v.flipping && v.flipped == time.Time{} && !v.mixed && v.announced == 0 &&
		!v.saved && v.savedVersion == nil && v.savedMtime == time.Time{} && v.savedSize == 0 && v.dated == nil && v.guards == nil &&
		d.mode == 0 && d.mtime == time.Time{} && d.xattrs == nil && d.early == nil &&
		v.atime == time.Time{} && v.touch == time.Time{}
}

// load brings the folder's content into the view. The caller holds in.mu.
func (fs *filesystem) load(in *inode) error {
	if in.loaded || !in.bound {
		return nil
	}
	var c crdt.Holding
	var err error
	if in.alt != nil {
		c, err = fs.folder.HoldingAt(in.node, in.alt)
	} else {
		c, err = fs.folder.Holding(in.node)
	}
	if err == nil && in.cached && in.alt == nil && !c.Version.Equal(in.shownLast.version) {
		// The kernel has not been told of this version, so nobody is given it yet.
		if c, err = fs.folder.HoldingAt(in.node, in.shownLast.version); err == nil {
			if err = fs.show(in, c); err == nil {
				in.stale = true
				fs.refreshIn(in, 0)
			}
		}
		return err
	}
	if err != nil && in.cached && in.alt == nil {
		// Removed elsewhere while a reader has it open.
		c, err = fs.folder.HoldingAt(in.node, in.shownLast.version)
	}
	if err != nil {
		return err
	}
	stale := in.stale // refresh is about to announce it
	if err := fs.show(in, c); err != nil {
		return err
	}
	in.stale = stale
	return nil
}

// know makes known which version is shown. A text's bytes are left to the first
// read, which does not come if the kernel has them. The caller holds in.mu.
func (fs *filesystem) know(in *inode) error {
	if in.loaded || !in.bound || in.alt != nil {
		return fs.load(in)
	}
	if in.cached && in.shownLast.text && fs.folder.Shows(in.node, in.shownLast.version) {
		return nil
	}
	info, err := fs.folder.Get(in.node)
	if err != nil || info.Object != nil || in.cached && !info.Version.Equal(in.shownLast.version) {
		return fs.load(in)
	}
	if !in.cached {
		in.shownLast, in.cached = &shown{slices.Clone(info.Version), info.Size, fs.timeOf(in, info.Version, info.Mtime), true}, true
	}
	return nil
}

// shows is the version that is shown, once know or load has made it known.
func (in *inode) shows() crdt.Version {
	if !in.loaded && in.cached {
		return in.shownLast.version
	}
	return in.version
}

// show makes the view show this content. The caller holds in.mu.
func (fs *filesystem) show(in *inode, c crdt.Holding) error {
	var file *objectReader
	if c.Object != nil {
		fd, err := syscall.Open(fs.home.Objects().Path([32]byte(c.Object.Hash)), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return &crdt.Error{Op: "open", Path: fs.folder.Path(in.node), Kind: crdt.ErrNotHere, Err: err}
		}
		file = newObjectReader(fd, c.Object.Size)
	}
	mtime := in.mtime
	in.unload()
	in.loaded, in.version, in.text, in.mtime = true, c.Version, c.Body, mtime
	in.object = objectFile{c.Object, file}
	in.stale, in.heldSince = false, time.Time{}
	if info, err := fs.folder.Get(in.node); err == nil {
		in.mtime = fs.timeOf(in, c.Version, info.Mtime)
	}
	return nil
}

// unload lets go of the content; attributes come from the folder again.
func (in *inode) unload() {
	if in.loaded {
		in.shownLast, in.cached = in.shown(), true
	}
	in.object.file.release()
	in.object = objectFile{}
	if in.loaded {
		in.mtime = time.Time{} // as shown last
	}
	in.loaded, in.version, in.text = false, nil, nil
}

// shown is what stat shows of the version that is loaded or known; nil if none is. Nobody changes it.
func (in *inode) shown() *shown {
	switch {
	case in.loaded && in.object.Object != nil:
		return &shown{in.version, in.object.Size, in.mtime, false}
	case in.loaded:
		return &shown{in.version, int64(in.text.Len()), in.mtime, true}
	case in.cached:
		return in.shownLast
	}
	return nil
}

// idle tells whether nothing needs the content in memory.
func (in *inode) idle() bool {
	return in.bound && in.sess == nil && in.readers == 0 && in.writers == 0 && !in.stale && !in.flipping && !in.gone
}

// size is the size that is seen, once know or load has made it known.
func (in *inode) size() int64 {
	switch {
	case in.sess != nil:
		return in.sess.size
	case !in.loaded && in.cached:
		return in.shownLast.size
	case in.object.Object != nil:
		return in.object.Size
	}
	return int64(in.text.Len())
}

// sizeAndTime is what stat shows of a file; info is what the folder says.
func (fs *filesystem) sizeAndTime(in *inode, info crdt.Info) (int64, time.Time) {
	switch {
	case in.sess != nil:
		if !in.sess.dirty && in.bound {
			return in.sess.size, in.mtime
		}
		return in.sess.size, in.sess.mtime
	case in.loaded || !in.bound:
		return in.size(), in.mtime
	case in.cached && !in.shownLast.version.Equal(info.Version):
		return in.shownLast.size, in.shownLast.mtime
	}
	return info.Size, fs.timeOf(in, info.Version, info.Mtime)
}

// read reads what is seen. The caller holds in.mu.
func (in *inode) read(buf []byte, off int64) (int, error) {
	s := in.sess
	switch {
	case s != nil && s.Appended:
		n, size := 0, int64(in.text.Len())
		if off < size {
			n = in.text.ReadAt(buf, int(off))
			off = size
		}
		m, err := preadFull(s.fd, buf[n:], off-size)
		return n + m, err
	case s != nil:
		return s.readAt(buf, off)
	case in.object.Object != nil:
		return preadFull(in.object.file.fd, buf, off)
	case off < int64(in.text.Len()):
		return in.text.ReadAt(buf, int(off)), nil
	}
	return 0, nil
}

// preadFull reads until buf is full or the file ends.
func preadFull(fd int, buf []byte, off int64) (n int, err error) {
	for n < len(buf) {
		m, err := syscall.Pread(fd, buf[n:], off+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// pwriteFull writes all of buf or fails.
func pwriteFull(fd int, buf []byte, off int64) (n int, err error) {
	for n < len(buf) {
		m, err := syscall.Pwrite(fd, buf[n:], off+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}
