package plain

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// leave takes away what is not under its name any more: what is somewhere else
// in the folder waits among the scratch files for its new place.
func (s *shower) leave() {
	slices.SortStableFunc(s.going, func(a, b *entry) int { return b.depth() - a.depth() })
	for _, e := range s.going {
		if e.attached() { // else it went with what is above
			s.takeAway(e)
		}
	}
}

func (s *shower) takeAway(e *entry) {
	i, err := s.d.folder.Get(e.Node)
	if err != nil || e.Alt || e.Kept || i.Name == "" { // no name of its own: shown as one with another
		s.remove(e)
		return
	}
	if o := s.d.at(s.d.folder.Path(e.Node)); o != nil && o != e && o.Node == e.Node {
		s.remove(e) // it is where it belongs already
		return
	}
	s.stage(e)
}

// at returns the entry at a path; nil for none.
func (d *Dir) at(rel string) *entry {
	e := d.table.root
	for name := range strings.SplitSeq(rel, "/") {
		if e = e.children[name]; e == nil {
			return nil
		}
	}
	return e
}

// stage takes an entry off its place without ending it.
func (s *shower) stage(e *entry) {
	d := s.d
	if e.Kind != crdt.Dir {
		if st, err := lstat(d.abs(e.path())); err != nil || !st.sameBytes(e.Stat) {
			s.notYet(e)
			return
		}
	}
	tmp := d.name("moved")
	if err := os.Rename(d.abs(e.path()), d.scratch(tmp)); err != nil {
		d.warn(e.path(), "cannot be moved", err)
		s.notYet(e)
		return
	}
	s.drop = append(s.drop, e.key())
	delete(e.parent.children, e.Name)
	e.Name = tmp
	s.staged[identityOf(e.Node, e.Alt, e.Version)] = e
}

// notYet looks at an entry's directory, then shows it once more.
func (s *shower) notYet(e *entry) {
	d, up := s.d, e.parent
	for up.Kept {
		up = up.parent
	}
	in := up.Node
	d.touched(e.parent.path(), e.Name)
	time.AfterFunc(retry, func() { d.mark(func(m *marks) { m.markShow(in) }) })
	d.doubt()
}

// doubt compares everything once more, after a while: what was in each other's
// way is somewhere else by then.
func (d *Dir) doubt() {
	if !d.doubtful.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(doubtFor, func() {
		d.doubtful.Store(false)
		d.mark(func(m *marks) { m.lookAll, m.showAll = true, true })
	})
}

// remove takes what others removed off the disk.
func (s *shower) remove(e *entry) {
	d := s.d
	at := d.abs(e.path())
	for _, c := range e.children {
		s.takeAway(c)
	}
	var err error
	switch e.Kind {
	case crdt.Dir:
		if err = os.Remove(at); err != nil && !isGone(err) {
			// It holds what is this device's own, or is not in the folder yet.
			if !e.Kept {
				e.Kept = true
				d.table.unname(e)
				s.keep = append(s.keep, e)
				d.touched(e.path(), "")
			}
			return
		}
	case crdt.Symlink:
		err = os.Remove(at)
	default:
		err = s.takeOff(e, at)
	}
	if err != nil && !isGone(err) {
		if !errors.Is(err, errWritten) {
			d.warn(e.path(), "cannot be removed", err)
		}
		s.notYet(e)
		return
	}
	s.drop = append(s.drop, e.key())
	d.drop(e)
}

// errWritten says that a file is being written, or was, since it was last looked at.
var errWritten = errors.New("it is being written")

// takeOff moves a file away for good, unless somebody writes it.
func (s *shower) takeOff(e *entry, at string) error {
	d := s.d
	f, err := openQuietly(at)
	if err != nil {
		return err
	}
	busy := written(f)
	st, err := fstat(int(f.Fd()))
	f.Close()
	if err != nil {
		return err
	}
	if busy || !st.sameBytes(e.Stat) {
		return errWritten
	}
	tmp := d.scratch(d.name("old"))
	if err := os.Rename(at, tmp); err != nil {
		return err
	}
	d.lookAgain(replaced{path: tmp, node: e.Node, version: e.Version, stat: e.Stat})
	return nil
}

// name is a name for a scratch file.
func (d *Dir) name(what string) string {
	d.serial++
	return what + "-" + strconv.Itoa(d.serial)
}
