package fs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// When bytes become a version of the folder:
//   - at FLUSH, if any were written since the truncation;
//   - at the RELEASE of the last writer else: the file was really emptied;
//   - for handles held open, after a second without writes, and at the latest
//     every five seconds; objects only after the last writer closed;
//   - a new file a moment after it was closed, unless it is renamed or removed
//     before: temporary files do not reach the folder.
const (
	quiet        = time.Second
	atLatest     = 5 * time.Second
	ripe         = 120 * time.Millisecond
	holdSave     = 300 * time.Millisecond
	holdRead     = 500 * time.Millisecond
	holdAtMost   = time.Second
	againAtMost  = 16 * time.Second
	maxPublished = 128 // new files at once
	maxLocked    = 32  // of these, while nobody can make another one
	storers      = 4   // of these, objects that are stored at one time

	// maxTogether is how many bytes of new texts are one entry: who reads one of them opens it.
	maxTogether = 128 << 10
)

// publish makes what was written a version of the folder. The caller holds
// in.mu; the inode is bound. When it fails the session stays as it was.
func (fs *filesystem) publish(in *inode) error {
	s := in.sess
	if s == nil || !s.dirty || !in.bound || in.gone {
		return nil
	}
	if fs.underway(in) {
		fs.watch(in, s)
		return nil
	}
	if s.Appended {
		return fs.publishAppend(in, s)
	}
	c, err := fs.content(in, s, fs.inodeWhole(in), in.text)
	if err != nil || in.sess != s {
		return err
	}
	v, err := fs.write(in.node, s, c)
	if err != nil {
		return err
	}
	fs.saved(in, s, c, v)
	return nil
}

// write makes content a version of a node, from the base of its writer, and
// returns what the writer knows now.
func (fs *filesystem) write(node crdt.NodeID, s *session, c crdt.Holding) (crdt.Version, error) {
	at := time.Now()
	current, err := fs.folder.Holding(node)
	removed := errors.Is(err, crdt.ErrNotExist)
	if err != nil && !removed && !errors.Is(err, crdt.ErrNotHere) {
		return nil, err
	}
	beside := fs.knownBeside(node, s)
	if err == nil && current.Same(c) && beside == nil {
		return current.Version, nil
	}
	b := fs.base(node, s, c)
	if beside != nil {
		b.version = append(slices.Clone(b.version), beside...)
		if b.note == (note{}) {
			b.note = resolved
		}
	}
	o := &origin{fs: fs, at: at, blind: b.note == replaced}
	if fs.asksAnew(node, s) {
		b, o.blind = base{version: s.Base}, true
	}
	switch {
	case c.Object != nil:
	case s.killed:
		b.note = cutShort
	case c.Body.Len() == 0 && b.note == (note{}):
		b.note = emptied
	}
	var v crdt.Version
	err = fs.folder.UpdateAs(o, func(tx *crdt.Tx) error {
		var err error
		if v, err = tx.Save(node, b.version, c); err == nil && b.note != (note{}) {
			tx.Note(b.note.kind, s.Path, b.note.text)
		}
		return err
	})
	if err == nil && removed && fs.queue != nil {
		fs.later(0, func() { fs.returned(node) })
	}
	return v, err
}

// saved makes the view show what was just published, and the writer's next base
// what it saved. The caller holds in.mu.
func (fs *filesystem) saved(in *inode, s *session, c crdt.Holding, v crdt.Version) {
	if s.Synced {
		// The session's file is all that a loss of power would leave of what fsync promised.
		if err := fs.folder.Sync(); err != nil {
			fs.log.Error("sync a save", "path", s.Path, "err", err)
		}
	}
	now := time.Now()
	if in.bound {
		if c.Body.Len() > shortText {
			fs.lately.note(in.node, s.writer)
		}
		fs.resolver.flush() // what the writer read before counts as before
		as := &shown{version: v, size: s.size, mtime: s.mtime}
		fs.reads.saved(s.writer.wait(), in.node, v, now, as)
		for _, r := range s.readers {
			fs.reads.read(r.wait(), in.node, v, now, as)
		}
	}
	s.readers = nil
	in.writer, in.writing = s.writer, s.begun
	delete(in.guards, s.writer.wait().process)
	s.made, s.dirty, s.since, s.closed, s.refused = v, false, now, time.Time{}, 0
	if in.placed > 0 && s.stored == nil {
		// The writer goes on at offsets of its own, so its bytes stay.
		s.record.Base, s.record.Node, s.record.Object = v, in.node, false
		s.Truncated, s.Synced, s.covered = false, false, 0
		if err := fs.goOnFrom(s, c); err != nil {
			fs.log.Error("record a save", "path", s.Path, "err", err)
		}
	} else {
		fs.endSession(in)
	}
	if err := fs.show(in, crdt.Holding{Version: v, Body: c.Body, Object: c.Object}); err != nil {
		fs.log.Error("show a save", "path", s.Path, "err", err)
	}
	if s.track = nil; in.sess == s {
		s.track = tracked(in.text, true)
	}
	in.keepTime(v, s.mtime)
	fs.hold(in, v)
}

// keepTime makes a version that was saved here keep the time its writer saw.
func (in *inode) keepTime(v crdt.Version, t time.Time) {
	in.saved, in.savedVersion, in.savedMtime, in.mtime, in.savedSize = true, v, t, t, in.size()
	in.told = in.savedSize // the kernel has written these bytes
	in.announce(v)
}

// publishAppend adds what was appended to the folder's current text, once.
func (fs *filesystem) publishAppend(in *inode, s *session) error {
	b := make([]byte, s.size-int64(in.text.Len()))
	if _, err := preadFull(s.fd, b, 0); err != nil {
		return err
	}
	if !crdt.IsText(b) {
		// Not a text any more: what is shown, as a whole, takes its place.
		s.dirty = false
		if err := fs.spell(in, s); err != nil {
			s.dirty = true
			return err
		}
		if _, err := pwriteFull(s.fd, b, s.size); err != nil {
			return err
		}
		s.size += int64(len(b))
		s.dirty = true
		return fs.publish(in)
	}
	// Only this session has its mark. To look for what is not there may read a large text that
	// lies beside it.
	before := 0
	if s.marked {
		var err error
		if before, err = appendedBytes(fs.folder, s.Mark); err != nil {
			return err
		}
	}
	s.marked = true
	done, err := appendRest(fs.folder, &origin{at: time.Now()}, in.node, s.Mark, b, before)
	if err != nil {
		return err
	}
	written := in.text.Splice(in.text.Len(), in.text.Len(), string(b))
	c := crdt.Holding{Version: done, Body: written}
	if !done.Equal(in.version) {
		if now, err := fs.folder.HoldingAt(in.node, done); err == nil {
			c = now
		}
	}
	if !c.Same(crdt.Holding{Body: written}) {
		// What came meanwhile is shown with it, and the kernel does not know.
		in.flipped = time.Now()
		fs.later(0, func() { fs.server.InodeNotify(in.id, 0, 0) })
	}
	fs.saved(in, s, c, done)
	return nil
}

// appendOnce appends bytes of a session, unless a process that died since has
// done so: how much was appended is stored with the operation itself. The mount
// shows it as it does what comes from elsewhere, since it may have been merged.
func appendOnce(f *crdt.Folder, by any, node crdt.NodeID, mark uint64, b []byte) (crdt.Version, error) {
	done, err := appendedBytes(f, mark)
	if err != nil {
		return nil, err
	}
	return appendRest(f, by, node, mark, b, done)
}

// appendRest appends all but the bytes that are in the folder already.
func appendRest(f *crdt.Folder, by any, node crdt.NodeID, mark uint64, b []byte, done int) (v crdt.Version, err error) {
	if done >= len(b) {
		info, err := f.Get(node)
		return info.Version, err
	}
	err = f.UpdateAs(by, func(tx *crdt.Tx) error {
		if v, err = tx.Append(node, b[done:]); err == nil {
			tx.SetLocal(appendName(mark), binary.AppendUvarint(nil, uint64(len(b))))
		}
		return err
	})
	return v, err
}

func appendName(mark uint64) string { return fmt.Sprintf("append/%x", mark) }

func appendedBytes(f *crdt.Folder, mark uint64) (int, error) {
	b, err := f.Local(appendName(mark))
	if err != nil || len(b) == 0 {
		return 0, err
	}
	n, _ := binary.Uvarint(b)
	return int(n), nil
}

// content makes the session's bytes what the folder takes: a text, which shares with
// another one what the two have in common, or an object in the home's store, as a text is
// too that is kept whole. The caller holds in.mu, which is let go while an object is
// stored; writers wait for that.
func (fs *filesystem) content(in *inode, s *session, whole bool, like *crdt.Body) (crdt.Holding, error) {
	in.settled(s)
	if s.stored != nil {
		return fs.as(crdt.Holding{Object: s.stored}, whole)
	}
	if s.size <= crdt.MaxText && (!whole || s.size == 0) {
		body, ok, err := s.body(like)
		if err != nil {
			return crdt.Holding{}, err
		}
		if ok {
			return crdt.Holding{Body: body}, nil
		}
	}
	// An object that could not be published would stay when its file is removed.
	if err := fs.home.Room(); err != nil {
		return crdt.Holding{}, err
	}
	if err := s.unpack(); err != nil {
		return crdt.Holding{}, err
	}
	if in != nil {
		s.storing = make(chan struct{})
		in.mu.Unlock()
	}
	object, readOnly, err := fs.store(s.ID)
	if in != nil {
		in.mu.Lock()
		close(s.storing)
		s.storing = nil
	}
	if err != nil {
		return crdt.Holding{}, err
	}
	s.closeFiles()
	s.readOnly, s.stored = readOnly, object
	if in != nil && in.sess != s {
		s.closeFiles() // it ended meanwhile
	}
	return crdt.Holding{Object: object}, nil
}

// settled waits until nobody stores the session's bytes. The caller holds in.mu,
// which is let go meanwhile; in is nil where nobody else knows the session.
func (in *inode) settled(s *session) {
	for s.storing != nil {
		ch := s.storing
		in.mu.Unlock()
		<-ch
		in.mu.Lock()
	}
}

// store makes a session's file an object, and opens it for reading. The file
// keeps its name in the sessions until the version is in the folder, so a crash
// between loses nothing.
func (fs *filesystem) store(id uint64) (o *crdt.Object, readOnly int, err error) {
	path := fs.journal.path(id)
	give := path + ".object"
	os.Remove(give)
	if err := os.Link(path, give); err != nil {
		return nil, -1, err
	}
	readOnly, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		os.Remove(give)
		return nil, -1, err
	}
	hash, size, err := fs.home.Objects().PutFile(give)
	if err != nil {
		syscall.Close(readOnly)
		os.Remove(give)
		return nil, -1, err
	}
	return &crdt.Object{Hash: crdt.Hash(hash), Size: size}, readOnly, nil
}

// watch looks after a session whose writer keeps it open.
func (fs *filesystem) watch(in *inode, s *session) {
	if s.watched {
		return
	}
	s.watched = true
	fs.later(quiet, func() { fs.look(in, s) })
}

func (fs *filesystem) look(in *inode, s *session) {
	in.mu.Lock()
	s.watched = false
	if in.sess != s || !s.dirty || in.gone {
		in.mu.Unlock()
		return
	}
	now := time.Now()
	// What follows a truncation may come with pauses, and publishing half of it
	// would take the other half from everybody.
	wait := s.since.Add(atLatest).Sub(now)
	if !s.Truncated || in.writers == 0 {
		wait = min(wait, s.last.Add(quiet).Sub(now))
	}
	emptied := s.Truncated && !s.wrote
	switch {
	case in.writers > 0 && emptied, in.active > 0 && s.Object:
		wait = quiet
	case wait > 0:
	case in.writers > 0 && !s.Appended && (!s.textSoFar() || fs.inodeWhole(in)):
		wait = quiet
	case !in.bound:
		s.closed = now
		in.mu.Unlock()
		fs.ripen(in)
		return
	default:
		if err := fs.publish(in); err != nil {
			fs.log.Error("publish", "path", s.Path, "err", err)
		} else {
			in.mu.Unlock()
			return
		}
		wait = s.again()
	}
	s.watched = true
	in.mu.Unlock()
	fs.later(wait, func() { fs.look(in, s) })
}

// again is how long to wait before a session is published again that was refused, on a full
// disk: each time longer, since what is refused was read, and may have been copied, before. A
// flush does not wait. The caller holds in.mu.
func (s *session) again() time.Duration {
	s.refused = min(max(2*s.refused, quiet), againAtMost)
	return s.refused
}

// textSoFar tells whether the bytes are a text now: one cut in the middle of a
// character waits for the rest.
func (s *session) textSoFar() bool {
	switch {
	case s.size > crdt.MaxText || s.stored != nil:
		return false
	case s.text != nil:
		return true
	case s.Into > 0:
		_, ok := s.putInto()
		return ok
	}
	b := make([]byte, s.size)
	n, err := s.readAt(b, 0)
	return err == nil && crdt.IsText(b[:n])
}
