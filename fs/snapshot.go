package fs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// The kernel reads a cached file in pieces, and cuts each at the size it knows. A text
// that changes between two pieces, or before the kernel has heard of its size, would
// come out cut short or as the beginning of one version and the end of another. So who
// opens a text while it changes from elsewhere, or shortly after, reads past the page
// cache, from a snapshot: one version until its end. Texts at rest are read through the
// cache, and a change waits for who opened them a moment before (view.held).

// hot is how long after a change from elsewhere a text is read past the page cache, and
// how long a snapshot lasts for who does not read on where it was.
const hot = time.Second

// snapshot is the version of a text that one handle reads. Guarded by inode.mu.
type snapshot struct {
	version crdt.Version
	text    *crdt.Body
	saved   crdt.Version // what was saved here last: a program's own save is seen at once
	at      time.Time
	next    int64 // where who reads on would read next
}

const unknown = -1

// changing tells whether the file changes, or did a moment ago. The caller holds in.mu;
// what is shown is known (know).
func (in *inode) changing(now time.Time) bool {
	return in.stale || in.flipping || in.mixed || now.Sub(in.flipped) < hot || in.told != unknown && in.told != in.size()
}

// Read implements fuse.RawFileSystem.
func (fs *filesystem) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if toLocal(&in.InHeader) {
		return fs.local.Read(cancel, in, buf)
	}
	h := fs.handle(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	n := h.in
	buf, off := buf[:min(len(buf), int(in.Size))], int64(in.Offset)
	n.mu.Lock()
	if err := fs.load(n); err != nil {
		n.mu.Unlock()
		return nil, status(err)
	}
	object, got, err := fs.readShown(h, buf, off)
	n.mu.Unlock()
	if object != nil {
		defer object.release()
		res, err := object.read(buf, off)
		return res, status(err)
	}
	if err != nil && got == 0 {
		return nil, status(err)
	}
	return fuse.ReadResultData(buf[:got]), fuse.OK
}

// readShown reads for a handle that reads past the page cache: its snapshot if it has
// one, else what is shown. The bytes of an object do not change, so that the kernel's
// requests for them are answered side by side: they are left to the caller to read, who is
// given it, held. The caller holds in.mu.
func (fs *filesystem) readShown(h *handle, buf []byte, off int64) (object *objectReader, got int, err error) {
	n, now := h.in, time.Now()
	s := h.snapshot
	if s != nil && (off == 0 || n.sess != nil || now.Sub(s.at) >= hot && off != s.next || !s.saved.Equal(n.savedVersion)) {
		s = nil
	}
	if s == nil {
		if h.by != nil && h.reads() && !h.version.Equal(n.version) {
			fs.given(n, h)
		}
		if h.direct && n.sess == nil && n.object.Object == nil {
			s = &snapshot{version: n.version, text: n.text, saved: n.savedVersion, at: now}
		}
	}
	h.snapshot = s
	if s == nil && n.sess == nil && n.object.Object != nil {
		return n.object.file.hold(), 0, nil
	}
	if s == nil {
		got, err = n.read(buf, off)
		return nil, got, err
	}
	if !s.version.Equal(n.version) && !n.mixed {
		// A mapping may have taken these bytes into the page cache.
		n.mixed = true
		fs.later(hot, func() { fs.unmix(n) })
	}
	if off >= int64(s.text.Len()) {
		h.snapshot = nil // it has read to the end; what comes now is new
		return nil, 0, nil
	}
	got = s.text.ReadAt(buf, int(off))
	s.next = off + int64(got)
	return nil, got, nil
}

// unmix takes the bytes of older versions out of the page cache. It runs on the queue.
func (fs *filesystem) unmix(in *inode) {
	fs.server.InodeNotify(in.id, 0, 0)
	in.mu.Lock()
	in.mixed = false
	in.mu.Unlock()
}
