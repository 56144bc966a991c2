package plain

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/fs"
)

const (
	// afterSave is how long a file that was saved here is left as its editor wrote it.
	afterSave = 300 * time.Millisecond
	// lastLookAfter is when a replaced file is looked at for the last time.
	lastLookAfter = 3 * time.Second
)

func hash(o *crdt.Object) blob.Hash { return blob.Hash(o.Hash) }

// arrival is a name that the folder has and the directory is to get.
type arrival struct {
	in   *entry
	info crdt.Info
}

// identity tells one shown thing from another, wherever it is shown.
type identity struct {
	node crdt.NodeID
	alt  string // the version, of one that is shown beside its file
}

func identityOf(node crdt.NodeID, alt bool, v crdt.Version) identity {
	if alt {
		return identity{node, v.String()}
	}
	return identity{node: node}
}

// shower brings the directory in step with the folder.
type shower struct {
	d       *Dir
	going   []*entry
	coming  []arrival
	staying []arrival // in is the entry itself
	staged  map[identity]*entry
	keep    []*entry
	drop    []string
}

// show makes on the disk what others changed. It fails where the records
// cannot be kept; what the disk refuses is tried again later.
func (d *Dir) show(m marks) error {
	s := &shower{d: d, staged: map[identity]*entry{}}
	if m.showAll {
		s.list(d.table.root, true)
	} else {
		listed := map[*entry]bool{}
		for id := range m.show {
			e := d.table.nodes[id]
			if e == nil {
				// Not here yet, then what is above it will show it; or shown as one with
				// another directory.
				p := d.folder.Path(id)
				if e = d.find(p); e.path() == p {
					d.mark(func(m *marks) { m.showAll = true })
				}
			}
			if e.children != nil && !listed[e] {
				listed[e] = true
				s.list(e, false)
			}
		}
		for id := range m.update {
			info, err := d.folder.Get(id)
			if e := d.table.nodes[id]; err == nil && e != nil && e.attached() {
				s.staying = append(s.staying, arrival{e, info})
			} else if err == nil {
				d.mark(func(m *marks) { m.markShow(info.Parent) })
			}
		}
	}
	s.leave()
	s.arrive()
	for _, a := range s.staying {
		s.update(a.in, a.info)
		if len(s.keep) >= batch {
			if err := s.store(); err != nil {
				return err
			}
		}
	}
	return s.store()
}

// store keeps the records of what was done.
func (s *shower) store() error {
	if len(s.keep)+len(s.drop) == 0 {
		return nil
	}
	err := s.d.folder.UpdateAs(s.d, func(tx *crdt.Tx) error {
		for _, key := range s.drop {
			tx.SetLocal(key, nil)
		}
		for _, e := range s.keep {
			if e.attached() {
				s.d.kept(tx, e)
			}
		}
		return nil
	})
	s.keep, s.drop = nil, nil
	return err
}

// hidden says which names of the folder are not made here.
func (d *Dir) hidden(in *entry, i crdt.Info) bool {
	at := path.Join(in.path(), i.Name)
	switch {
	case in == d.table.root && i.Name == Own, !validName(i.Name) || strings.Contains(i.Name, "/"):
		return true
	case fs.IsLocal(i.Name):
		return true
	case i.Kind == crdt.Symlink && leaves(at, i.Target):
		d.warn(at, "is a link that leaves the folder, made elsewhere: it is not made here", nil)
		return true
	}
	return false
}

// leaves reports whether a link at a path of the folder points out of it.
func leaves(at, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	to := path.Join(path.Dir(at), target)
	return to == ".." || strings.HasPrefix(to, "../")
}

// list compares a directory's records with the folder.
func (s *shower) list(e *entry, deep bool) {
	infos, err := s.d.folder.ReadDir(e.Node)
	if err != nil {
		return // it is gone, which the directory above tells
	}
	want := make(map[string]crdt.Info, len(infos))
	for _, i := range infos {
		if !s.d.hidden(e, i) {
			want[i.Name] = i
		}
	}
	for name, c := range e.children {
		i, ok := want[name]
		if c.Kept {
			if !ok || i.Kind != crdt.Dir {
				s.going = append(s.going, c) // perhaps nothing keeps it any more
			}
			continue
		}
		if ok && i.Kind == crdt.Dir && c.Kind == crdt.Dir && i.Node != c.Node && !s.elsewhere(c) {
			s.renode(c, i.Node)
			s.list(c, deep)
		}
		if ok && i.Kind == c.Kind && identityOf(i.Node, i.Alt, i.Version) == identityOf(c.Node, c.Alt, c.Version) {
			s.staying = append(s.staying, arrival{c, i})
			delete(want, name)
			if deep && c.children != nil {
				s.list(c, true)
			}
		} else if !(c.Kind == crdt.Symlink && s.isOurs(c)) {
			s.going = append(s.going, c)
		}
	}
	for _, i := range infos {
		if w, ok := want[i.Name]; ok {
			s.coming = append(s.coming, arrival{e, w})
		}
	}
}

// elsewhere reports whether the folder shows an entry at another place.
func (s *shower) elsewhere(e *entry) bool {
	_, err := s.d.folder.Get(e.Node)
	return err == nil && s.d.folder.Path(e.Node) != e.path()
}

// renode makes a directory's entry that of another node: several of one name are
// shown as one, under the node of any.
func (s *shower) renode(e *entry, node crdt.NodeID) {
	s.d.table.unname(e)
	for _, c := range e.children {
		s.drop = append(s.drop, c.key())
		s.keep = append(s.keep, c)
	}
	e.Node = node
	s.d.table.name(e)
	s.keep = append(s.keep, e)
}

// isOurs reports whether a link that would not be made here was made here.
func (s *shower) isOurs(c *entry) bool {
	i, err := s.d.folder.Get(c.Node)
	return err == nil && i.Target == c.Target && i.Name == c.Name && leaves(c.path(), c.Target)
}

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

// arrive makes what is new under its name.
func (s *shower) arrive() {
	slices.SortStableFunc(s.coming, func(a, b arrival) int { return a.in.depth() - b.in.depth() })
	for _, a := range s.coming {
		s.place(a.in, a.info)
	}
	// What has found no place was removed after all, or has it where others are in the way.
	for _, e := range s.staged {
		s.unstage(e)
	}
}

// place makes one name of the folder on the disk.
func (s *shower) place(in *entry, i crdt.Info) {
	d := s.d
	old := in.children[i.Name]
	if old != nil && !old.Kept {
		return // what is there could not be taken away yet
	}
	if e := d.table.nodes[i.Node]; e != nil && !i.Alt && e.attached() {
		time.AfterFunc(retry, func() { d.mark(func(m *marks) { m.markShow(in.Node) }) })
		return // it could not be taken away from where it was yet
	}
	if old != nil && i.Kind == crdt.Dir {
		// It stayed for what is this device's own.
		old.Kept = false
		s.renode(old, i.Node)
		d.mark(func(m *marks) { m.markShow(i.Node) })
		return
	}
	id := identityOf(i.Node, i.Alt, i.Version)
	at := d.abs(path.Join(in.path(), i.Name))
	if e := s.staged[id]; e != nil {
		err := unix.Renameat2(unix.AT_FDCWD, d.scratch(e.Name), unix.AT_FDCWD, at, unix.RENAME_NOREPLACE)
		if err != nil {
			if !errors.Is(err, unix.EEXIST) {
				d.warn(path.Join(in.path(), i.Name), "cannot be moved here", err)
			}
			d.touched(in.path(), i.Name)
			return // unstage finds it a name
		}
		delete(s.staged, id)
		s.settle(e, in, i.Name)
		s.staying = append(s.staying, arrival{e, i})
		if e.children != nil {
			s.list(e, false)
		}
		return
	}
	r := record{Name: i.Name, Node: i.Node, Kind: i.Kind, Alt: i.Alt, Mode: i.Mode & 0o777, Target: i.Target, Version: i.Version}
	var err error
	switch i.Kind {
	case crdt.Dir:
		err = os.Mkdir(at, 0o700)
		if errors.Is(err, os.ErrExist) {
			if fi, lerr := os.Lstat(at); lerr == nil && fi.IsDir() {
				err = nil
				d.touched(path.Join(in.path(), i.Name), "")
			}
		}
		if err == nil {
			err = os.Chmod(at, os.FileMode(r.Mode))
		}
	case crdt.Symlink:
		err = os.Symlink(i.Target, at)
	default:
		err = s.create(at, i)
	}
	if err == nil {
		r.Stat, err = lstat(at)
	}
	if err != nil {
		d.touched(in.path(), i.Name)
		if !errors.Is(err, os.ErrExist) {
			d.warn(path.Join(in.path(), i.Name), "cannot be made here", err)
		}
		time.AfterFunc(retry, func() { d.mark(func(m *marks) { m.markShow(in.Node) }) })
		return
	}
	e := d.table.add(in, r)
	s.keep = append(s.keep, e)
	if i.Kind == crdt.Dir {
		if err := d.notify.Add(at); err != nil {
			d.log.Debug("watch", "path", at, "err", err)
		}
		s.fill(e)
	}
}

// fill makes what is in a directory that has just been made.
func (s *shower) fill(e *entry) {
	infos, err := s.d.folder.ReadDir(e.Node)
	if err != nil {
		return
	}
	for _, i := range infos {
		if !s.d.hidden(e, i) {
			s.place(e, i)
			if len(s.keep) >= batch {
				if err := s.store(); err != nil {
					s.d.broken = true
				}
			}
		}
	}
}

// create puts a new file on the disk, in one step.
func (s *shower) create(at string, i crdt.Info) error {
	d := s.d
	f, _, err := d.prepare(i)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, at, unix.RENAME_NOREPLACE)
	if err != nil {
		os.Remove(f.Name())
		return &os.LinkError{Op: "rename", Old: f.Name(), New: at, Err: err}
	}
	return nil
}

// prepare makes a scratch file of what the folder has; the time of last access
// is before that of modification, so that the first reader moves it.
func (d *Dir) prepare(i crdt.Info) (f *os.File, c crdt.Content, err error) {
	if i.Alt {
		c, err = d.folder.ContentAt(i.Node, i.Version)
	} else {
		c, err = d.folder.Content(i.Node)
	}
	if err != nil {
		return nil, c, err
	}
	if f, err = d.draft(d.scratch(d.name("new")), c); err != nil {
		return nil, c, err
	}
	err = f.Chmod(os.FileMode(i.Mode & 0o777))
	if err == nil {
		err = setTimes(f, i.Mtime.Add(-time.Second), i.Mtime)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, c, err
	}
	return f, c, nil
}

// settle gives a staged entry its new place.
func (s *shower) settle(e, in *entry, name string) {
	e.parent, e.Name = in, name
	in.children[name] = e
	if st, err := lstat(s.d.abs(e.path())); err == nil {
		s.d.table.moved(e, st)
	}
	s.keep = append(s.keep, e)
}

// unstage puts what is still staged back under a name of its own, from where
// the next pass takes it on.
func (s *shower) unstage(e *entry) {
	d := s.d
	in := e.parent
	for in.parent != nil && in.parent.children[in.Name] != in {
		in = in.parent
	}
	name, to := e.Name, in.Node
	if i, err := d.folder.Get(e.Node); err == nil {
		name, to = i.Name, i.Parent
	}
	for n := 1; n < 100; n++ {
		free := name
		if n > 1 {
			free = numbered(name, n)
		}
		if in.children[free] != nil {
			continue
		}
		err := unix.Renameat2(unix.AT_FDCWD, d.scratch(e.Name), unix.AT_FDCWD, d.abs(path.Join(in.path(), free)), unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			d.log.Error("put back", "path", d.scratch(e.Name), "err", err)
			return
		}
		s.settle(e, in, free)
		d.mark(func(m *marks) { m.markShow(to) })
		d.doubt()
		return
	}
}

// name is a name for a scratch file.
func (d *Dir) name(what string) string {
	d.serial++
	return what + "-" + strconv.Itoa(d.serial)
}

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
	if busy {
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
	e.Version, e.Next, e.Mode = c.Version, nil, i.Mode&0o777
	now, err := lstat(at)
	if err != nil {
		s.notYet(e)
		return false
	}
	d.table.moved(e, now)
	if c.Object == nil {
		d.putUnread(e, read, time.Unix(0, now.atime))
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

// replaced is a file that is off its place, and that a program may still have written to.
type replaced struct {
	path    string
	node    crdt.NodeID
	version crdt.Version
	stat    stat
}

func (d *Dir) lookAgain(r replaced) {
	d.old = append(d.old, r)
	time.AfterFunc(lastLookAfter, func() { d.mark(func(m *marks) { m.late = append(m.late, r) }) })
}

// lastLook publishes what was written into files that were replaced, and ends them.
func (d *Dir) lastLook(late []replaced) error {
	for _, r := range late {
		i := slices.IndexFunc(d.old, func(o replaced) bool { return o.path == r.path })
		if i < 0 {
			continue
		}
		st, err := lstat(r.path)
		if err == nil && !st.sameBytes(r.stat) {
			if err := d.rescue(r); err != nil {
				return err
			}
		}
		d.old = slices.Delete(d.old, i, i+1)
		os.Remove(r.path)
	}
	return nil
}

func (d *Dir) rescue(r replaced) error {
	f, err := openQuietly(r.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := fstat(int(f.Fd()))
	if err != nil {
		return nil
	}
	c, err := d.content(f, st, nil)
	if err != nil || c.Object == nil && c.Text == "" {
		return err
	}
	d.log.Info("a file was written after it was replaced", "path", filepath.Base(r.path))
	return d.folder.UpdateAs(d, func(tx *crdt.Tx) error {
		_, err := tx.Write(r.node, r.version, *c)
		return err
	})
}
