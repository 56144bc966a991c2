package plain

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
)

// update makes an entry's file what the folder has.
func (s *shower) update(e *entry, i crdt.Info) {
	if e.Kept || e.parent == nil || !e.attached() {
		return
	}
	d := s.d
	if e.Kind == crdt.File && !e.Version.Equal(i.Version) && !s.content(e, i) {
		return
	}
	at := d.abs(e.path())
	changed := false
	if mode := i.Mode & 0o777; mode != e.Mode && e.Kind != crdt.Symlink {
		if err := os.Chmod(at, os.FileMode(mode)); err != nil {
			d.warn(e.path(), "cannot get its mode", err)
			return
		}
		e.Mode, changed = mode, true
	}
	if e.Kind == crdt.File && e.Version.Equal(i.Version) {
		if apart := i.Mtime.Sub(time.Unix(0, e.Stat.Mtime)).Abs(); apart > given {
			ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(i.Mtime.UnixNano())}
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, at, ts, unix.AT_SYMLINK_NOFOLLOW); err == nil {
				changed = true
			}
		}
	}
	if changed {
		if st, err := lstat(at); err == nil {
			d.table.moved(e, st)
		}
		s.keep = append(s.keep, e)
	}
}

// content replaces what a file holds; false: not now.
func (s *shower) content(e *entry, i crdt.Info) bool {
	d := s.d
	at := d.abs(e.path())
	if wait := time.Until(e.saved.Add(afterSave)); wait > 0 {
		s.again(e, wait)
		return false
	}
	if now, err := d.folder.Content(i.Node); err != nil {
		return false
	} else if was, err := d.folder.ContentAt(e.Node, e.Version); err == nil && now.Object == nil && was.Object == nil && now.Text == was.Text {
		e.Version = i.Version
		s.keep = append(s.keep, e)
		return true
	}
	if s.hold(e) {
		return false
	}
	f, err := openQuietly(at)
	if err != nil {
		s.notYet(e)
		return false
	}
	st, err := fstat(int(f.Fd()))
	busy := written(f)
	f.Close()
	if err != nil || !st.sameBytes(e.Stat) {
		s.notYet(e)
		return false
	}
	if busy || fs.Underway(at) {
		s.again(e, retry)
		return false
	}
	draft, c, err := d.prepare(i)
	if err != nil {
		d.warn(e.path(), "cannot be brought up to date", err)
		s.again(e, time.Second)
		return false
	}
	defer draft.Close()
	put, err := fstat(int(draft.Fd()))
	if err != nil {
		os.Remove(draft.Name())
		s.again(e, time.Second)
		return false
	}
	e.Next = c.Version
	if err := d.folder.UpdateAs(d, func(tx *crdt.Tx) error { d.kept(tx, e); return nil }); err != nil {
		os.Remove(draft.Name())
		return false
	}
	if err := unix.Renameat2(unix.AT_FDCWD, draft.Name(), unix.AT_FDCWD, at, unix.RENAME_EXCHANGE); err != nil {
		os.Remove(draft.Name())
		e.Next = nil
		s.notYet(e)
		return false
	}
	// The draft's name is now that of the old file. What was written to it in the last
	// moment is found by the last look at it.
	old := d.scratch(d.name("old"))
	if err := os.Rename(draft.Name(), old); err != nil {
		old = draft.Name()
	}
	d.lookAgain(replaced{path: old, node: e.Node, version: e.Version, stat: e.Stat})
	read := e.Version
	if e.Unread && d.untouched(e) {
		read = e.Read
	}
	e.Version, e.Next, e.Mode, e.held = c.Version, nil, i.Mode&0o777, time.Time{}
	now, err := lstat(at)
	if err != nil {
		s.notYet(e)
		return false
	}
	d.table.moved(e, now)
	if c.Object == nil {
		d.putUnread(e, read, time.Unix(0, put.atime)) // now.atime may be its first reader's
	} else {
		d.readSince(e)
	}
	s.keep = append(s.keep, e)
	return true
}

// again shows an entry once more after a while.
func (s *shower) again(e *entry, wait time.Duration) {
	d, node := s.d, e.Node
	time.AfterFunc(wait, func() {
		d.mark(func(m *marks) {
			if m.update == nil {
				m.show, m.update = map[crdt.NodeID]bool{}, map[crdt.NodeID]bool{}
			}
			m.update[node] = true
		})
	})
}
