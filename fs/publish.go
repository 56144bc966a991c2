package fs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
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
	maxPublished = 128 // new files in one batch
)

// publish makes what was written a version of the folder. The caller holds
// in.mu; the inode is bound. When it fails the session stays as it was.
func (fs *filesystem) publish(in *inode) error {
	s := in.sess
	if s == nil || !s.dirty || !in.bound || in.gone {
		return nil
	}
	if s.Appended {
		return fs.publishAppend(in, s)
	}
	c, err := fs.content(in, s)
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
func (fs *filesystem) write(node crdt.NodeID, s *session, c crdt.NewContent) (crdt.Version, error) {
	current, err := fs.folder.Content(node)
	removed := errors.Is(err, crdt.ErrNotExist)
	if err != nil && !removed && !errors.Is(err, crdt.ErrNotHere) {
		return nil, err
	}
	if err == nil && same(current, c) {
		return current.Version, nil
	}
	b := fs.base(node, s, c)
	var v crdt.Version
	err = fs.update(func(tx *crdt.Tx) error {
		var err error
		if v, err = tx.Write(node, b.version, c); err == nil && b.replaced {
			tx.Note("replaced", s.Path, "written anew by a program that had not read it; the old text is in its history")
		}
		return err
	})
	if err == nil && removed && fs.queue != nil {
		fs.later(0, func() { fs.returned(node) })
	}
	return v, err
}

// same tells whether new content is what is there.
func same(c crdt.Content, n crdt.NewContent) bool {
	if c.Object == nil || n.Object == nil {
		return c.Object == nil && n.Object == nil && c.Text == n.Text
	}
	return c.Object.Hash == n.Object.Hash
}

// saved makes the view show what was just published, and the writer's next base
// what it saved. The caller holds in.mu.
func (fs *filesystem) saved(in *inode, s *session, c crdt.NewContent, v crdt.Version) {
	if s.Synced {
		// The session's file is all that a loss of power would leave of what fsync promised.
		if err := fs.folder.Sync(); err != nil {
			fs.log.Error("sync a save", "path", s.Path, "err", err)
		}
	}
	now := time.Now()
	if in.bound {
		fs.reads.saved(s.writer.wait(), in.node, v, now)
		for _, r := range s.readers {
			fs.reads.read(r.wait(), in.node, v, now)
		}
	}
	s.readers = nil
	in.writer = s.writer
	delete(in.guards, s.writer.wait().process)
	s.dirty, s.since, s.closed = false, now, false
	if in.placed > 0 && s.stored == nil {
		// The writer goes on at offsets of its own, so its bytes stay.
		s.record.Base, s.record.Node, s.record.Object = v, in.node, false
		s.Truncated, s.Synced = false, false
		if err := fs.journal.put(s.record); err != nil {
			fs.log.Error("record a save", "path", s.Path, "err", err)
		}
	} else {
		fs.endSession(in)
	}
	if err := fs.show(in, crdt.Content{Version: v, Text: c.Text, Object: c.Object}); err != nil {
		fs.log.Error("show a save", "path", s.Path, "err", err)
	}
	in.keepTime(v, s.mtime)
	fs.hold(in, v)
}

// keepTime makes a version that was saved here keep the time its writer saw.
func (in *inode) keepTime(v crdt.Version, t time.Time) {
	in.saved, in.savedVersion, in.savedMtime, in.mtime, in.savedSize = true, v, t, t, in.size()
}

// publishAppend adds what was appended to the folder's current text, once.
func (fs *filesystem) publishAppend(in *inode, s *session) error {
	b := make([]byte, s.size-int64(len(in.text)))
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
	done, err := appendOnce(fs.folder, in.node, s.Mark, b)
	if err != nil {
		return err
	}
	c := crdt.Content{Version: done}
	if c.Text = in.text + string(b); !done.Equal(in.version) {
		if now, err := fs.folder.ContentAt(in.node, done); err == nil {
			c = now
		}
	}
	fs.saved(in, s, crdt.NewContent{Text: c.Text, Object: c.Object}, done)
	return nil
}

// appendOnce appends bytes of a session, unless a process that died since has
// done so: how much was appended is stored with the operation itself.
func appendOnce(f *crdt.Folder, node crdt.NodeID, mark uint64, b []byte) (v crdt.Version, err error) {
	name := fmt.Sprintf("append/%x", mark)
	done, err := appendedBytes(f, name)
	if err != nil {
		return nil, err
	}
	if done >= len(b) {
		info, err := f.Get(node)
		return info.Version, err
	}
	err = f.Update(func(tx *crdt.Tx) error {
		if v, err = tx.Append(node, b[done:]); err == nil {
			tx.SetLocal(name, binary.AppendUvarint(nil, uint64(len(b))))
		}
		return err
	})
	return v, err
}

func appendedBytes(f *crdt.Folder, name string) (int, error) {
	b, err := f.Local(name)
	if err != nil || len(b) == 0 {
		return 0, err
	}
	n, _ := binary.Uvarint(b)
	return int(n), nil
}

// content makes the session's bytes what the folder takes: a text, or an
// object in the home's store. The caller holds in.mu, which is let go while an
// object is stored; writers wait for that.
func (fs *filesystem) content(in *inode, s *session) (crdt.NewContent, error) {
	in.settled(s)
	if s.stored != nil {
		return crdt.NewContent{Object: s.stored}, nil
	}
	if s.size <= crdt.MaxText {
		var b strings.Builder
		b.Grow(int(s.size))
		buf := make([]byte, min(s.size, 1<<20))
		for off := int64(0); off < s.size; {
			n, err := preadFull(s.fd, buf, off)
			if err != nil {
				return crdt.NewContent{}, err
			}
			if n == 0 {
				break
			}
			b.Write(buf[:n])
			off += int64(n)
		}
		if text := b.String(); crdt.IsText([]byte(text)) {
			return crdt.NewContent{Text: text}, nil
		}
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
		return crdt.NewContent{}, err
	}
	s.closeFiles()
	s.readOnly, s.stored = readOnly, object
	if in != nil && in.sess != s {
		s.closeFiles() // it ended meanwhile
	}
	return crdt.NewContent{Object: object}, nil
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
	case in.writers > 0 && !s.Appended && !s.textSoFar():
		wait = quiet
	case !in.bound:
		s.closed = true
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
		wait = quiet
	}
	s.watched = true
	in.mu.Unlock()
	fs.later(wait, func() { fs.look(in, s) })
}

// textSoFar tells whether the bytes are a text now: one cut in the middle of a
// character waits for the rest.
func (s *session) textSoFar() bool {
	if s.size > crdt.MaxText || s.fd < 0 {
		return false
	}
	b := make([]byte, s.size)
	n, err := preadFull(s.fd, b, 0)
	return err == nil && crdt.IsText(b[:n])
}

// ripen has a new file published in a moment.
func (fs *filesystem) ripen(in *inode) {
	fs.ripeMu.Lock()
	defer fs.ripeMu.Unlock()
	if _, ok := fs.ripening[in]; ok {
		return
	}
	fs.ripening[in] = time.Now().Add(ripe)
	if len(fs.ripening) == 1 {
		fs.later(ripe, fs.harvest)
	}
}

// harvestAll publishes the new files that are closed, now.
func (fs *filesystem) harvestAll() {
	fs.ripeMu.Lock()
	for in := range fs.ripening {
		fs.ripening[in] = time.Time{}
	}
	fs.ripeMu.Unlock()
	fs.harvest()
}

// harvest publishes the new files whose moment has come.
func (fs *filesystem) harvest() {
	now := time.Now()
	var due []*inode
	next := time.Duration(0)
	fs.ripeMu.Lock()
	for in, t := range fs.ripening {
		if t.After(now) {
			next = max(next, t.Sub(now))
		} else if len(due) < maxPublished {
			due = append(due, in)
			delete(fs.ripening, in)
		}
	}
	if len(fs.ripening) > 0 {
		fs.later(next, fs.harvest)
	}
	fs.ripeMu.Unlock()
	for in, err := range fs.publishNew(due) {
		fs.log.Error("publish a new file", "name", in.name, "err", err)
		fs.later(quiet, func() { fs.ripen(in) })
	}
}

// publishNew brings new files into the folder in one batch, and reports those
// that could not be.
func (fs *filesystem) publishNew(list []*inode) map[*inode]error {
	failed := map[*inode]error{}
	// Objects are stored before the names are locked.
	for _, in := range list {
		in.mu.Lock()
		if s := in.sess; s != nil && !in.bound && !in.gone && s.stored == nil {
			if _, err := fs.content(in, s); err != nil {
				failed[in] = err
			}
		}
		in.mu.Unlock()
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var rest []*inode
	for _, in := range list {
		if failed[in] == nil {
			rest = append(rest, in)
		}
	}
	for in, err := range fs.publishNewLocked(rest) {
		failed[in] = err
	}
	return failed
}

// publishNewLocked is publishNew for who holds filesystem.mu already.
func (fs *filesystem) publishNewLocked(list []*inode) map[*inode]error {
	failed := map[*inode]error{}
	type made struct {
		in   *inode
		c    crdt.NewContent
		node crdt.NodeID
		v    crdt.Version
	}
	var out []made
	for _, in := range list {
		in.mu.Lock()
		if in.bound || in.gone || in.parent == nil || in.sess != nil && (!in.sess.closed || in.sess.storing != nil) {
			in.mu.Unlock()
			continue
		}
		c := crdt.NewContent{Text: in.text, Object: in.object.Object}
		if in.sess != nil {
			var err error
			if c, err = fs.content(in, in.sess); err != nil {
				failed[in] = err
				in.mu.Unlock()
				continue
			}
		}
		out = append(out, made{in: in, c: c})
	}
	defer func() {
		for _, m := range out {
			m.in.mu.Unlock()
			fs.release(m.in)
		}
	}()
	if len(out) == 0 {
		return failed
	}
	err := fs.update(func(tx *crdt.Tx) error {
		for i := range out {
			m := &out[i]
			in := m.in
			var err error
			if m.node, m.v, err = tx.Create(in.parent.node, in.name, in.draft.mode, m.c); err != nil {
				failed[in] = err
				continue
			}
			for k, v := range in.draft.xattrs {
				if err := tx.SetXattr(m.node, k, v); err != nil {
					fs.log.Warn("attribute of a new file", "name", in.name, "attribute", k, "err", err)
				}
			}
			if !in.draft.mtime.IsZero() {
				if err := tx.SetMtime(m.node, in.draft.mtime); err != nil {
					fs.log.Warn("time of a new file", "name", in.name, "err", err)
				}
			}
		}
		return nil
	})
	for _, m := range out {
		if err != nil {
			failed[m.in] = err
		}
		if failed[m.in] == nil {
			fs.placed(m.in, m.node, m.c, m.v)
		}
	}
	return failed
}

// placed makes a new file's inode show the node that it became. The caller
// holds filesystem.mu and in.mu.
func (fs *filesystem) placed(in *inode, node crdt.NodeID, c crdt.NewContent, v crdt.Version) {
	fs.hide(in)
	early := in.draft.early
	in.draft = draft{}
	fs.bind(in, node)
	now := time.Now()
	for _, r := range early {
		fs.reads.read(r.wait(), node, v, now)
	}
	if s := in.sess; s != nil {
		fs.saved(in, s, c, v)
		return
	}
	mtime := in.mtime
	if err := fs.show(in, crdt.Content{Version: v, Text: c.Text, Object: c.Object}); err != nil {
		fs.log.Error("show a new file", "name", in.name, "err", err)
	}
	in.keepTime(v, mtime)
}
