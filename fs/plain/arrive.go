package plain

import (
	"errors"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

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
