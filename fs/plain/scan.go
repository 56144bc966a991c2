package plain

import (
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/fs"
)

// scan finds what was changed on the disk, as operations in an order in which
// they can be made. The table follows as they are found.
type scan struct {
	d       *Dir
	all     bool
	files   map[string]bool // to be read whatever their status says
	ops     []op
	missing []missing
}

// missing is a name that was on record and is not on the disk.
type missing struct {
	e, in *entry
	name  string
}

// look compares directories with their records.
func (s *scan) look(dirs map[string]bool) {
	if s.all {
		s.dir(s.d.table.root)
	} else {
		for _, dir := range slices.Sorted(maps.Keys(dirs)) {
			if e := s.d.find(dir); e != nil && e.children != nil {
				s.dir(e)
			}
		}
	}
	for _, m := range s.missing {
		if m.e.parent == m.in && m.e.Name == m.name { // else it was moved
			s.gone(m.e)
		}
	}
}

// find returns the entry at a path, or the nearest above it that there is.
func (d *Dir) find(rel string) *entry {
	e := d.table.root
	for name := range strings.SplitSeq(rel, "/") {
		c := e.children[name]
		if c == nil || c.children == nil {
			break
		}
		e = c
	}
	return e
}

// dir compares one directory, and with all what is in it.
func (s *scan) dir(e *entry) {
	d := s.d
	rel := e.path()
	if err := d.notify.Add(d.abs(rel)); err != nil && !isGone(err) && !d.warned["watch"] {
		d.warned["watch"] = true
		d.log.Warn("not every directory can be watched; looking at everything from time to time", "path", d.root, "err", err)
	}
	names, err := readNames(d.abs(rel))
	if err != nil {
		if !isGone(err) {
			d.warn(rel, "cannot be read", err)
		} else if e.parent != nil {
			d.later(e.parent.path(), "")
		}
		return
	}
	slices.Sort(names)
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		at := path.Join(rel, name)
		st, err := lstat(d.abs(at))
		if err != nil {
			continue
		}
		kind, ok := st.kind()
		switch {
		case e == d.table.root && name == Own,
			e.children[name] == nil && d.rules.Keeps(at, ok && kind == crdt.Dir):
			continue
		case !ok:
			d.warn(at, "is no file, directory or symlink: it stays on this device", nil)
			continue
		case kind == crdt.Dir && st.Dev != d.dev:
			d.warn(at, "is another filesystem: it stays on this device", nil)
			continue
		case len(name) > 255 || !validName(name):
			d.warn(at, "has a name that other devices cannot show: it stays on this device", nil)
			continue
		}
		seen[name] = true
		c := e.children[name]
		if c != nil && c.Kind != kind {
			s.gone(c)
			c = nil
		}
		if c == nil {
			s.appeared(e, name, st, kind)
		} else {
			s.compare(c, st)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.children)) {
		if !seen[name] {
			s.missing = append(s.missing, missing{e.children[name], e, name})
		}
	}
}

// appeared deals with a name that is not on record: made here, or moved here.
func (s *scan) appeared(in *entry, name string, st stat, kind crdt.Kind) {
	d := s.d
	s.revive(in)
	if e := d.table.inos[st.id()]; e != nil && e.Kind == kind && !e.Alt && !e.Kept && !in.below(e) && e.Node != (crdt.NodeID{}) {
		// It was renamed only if its old name is not there: an editor that moves the
		// old file aside and writes a new one means the new one to be the file.
		if old, err := lstat(d.abs(e.path())); isGone(err) || err == nil && old.id() != st.id() && e.parent.children[e.Name] != e {
			s.ops = append(s.ops, op{do: opMove, e: e, from: e.key()})
			delete(e.parent.children, e.Name)
			e.parent, e.Name = in, name
			in.children[name] = e
			s.compare(e, st)
			if kind == crdt.Dir && !s.all {
				s.dir(e)
			}
			return
		}
	}
	r := record{Name: name, Kind: kind, Mode: st.perm(), Stat: st}
	switch kind {
	case crdt.Dir:
		e := d.table.add(in, r)
		s.ops = append(s.ops, op{do: opMkdir, e: e})
		s.dir(e)
	case crdt.Symlink:
		target, err := os.Readlink(d.abs(path.Join(in.path(), name)))
		if err != nil {
			return
		}
		r.Target = target
		s.ops = append(s.ops, op{do: opSymlink, e: d.table.add(in, r)})
	default:
		c, now, ok := d.read(path.Join(in.path(), name), nil)
		if !ok {
			return
		}
		r.Stat = now
		s.ops = append(s.ops, op{do: opCreate, e: d.table.add(in, r), content: c})
	}
}

// revive makes a directory anew that was removed elsewhere and has new names here.
func (s *scan) revive(e *entry) {
	if !e.Kept {
		return
	}
	s.revive(e.parent)
	e.Kept = false
	s.d.table.unname(e)
	e.Node = crdt.NodeID{}
	s.ops = append(s.ops, op{do: opMkdir, e: e})
}

// compare deals with a name that is on record.
func (s *scan) compare(e *entry, st stat) {
	d := s.d
	switch e.Kind {
	case crdt.Dir:
		if e.Stat.id() != st.id() {
			d.table.moved(e, st)
		}
		if !e.Kept && st.perm() != e.Mode {
			e.Mode = st.perm()
			s.ops = append(s.ops, op{do: opMode, e: e})
		}
		if s.all {
			s.dir(e)
		}
	case crdt.Symlink:
		target, err := os.Readlink(d.abs(e.path()))
		if err == nil && target != e.Target {
			parent, r := e.parent, e.record
			s.gone(e)
			r.Target, r.Stat, r.Node = target, st, crdt.NodeID{}
			s.ops = append(s.ops, op{do: opSymlink, e: d.table.add(parent, r)})
		}
	default:
		s.file(e, st)
	}
}

func (s *scan) file(e *entry, st stat) {
	d := s.d
	rel := e.path()
	if e.Next == nil && st.same(e.Stat) && !s.files[rel] {
		return
	}
	if e.Alt {
		// A version beside its file is there to be looked at. What was written to
		// it is somebody's, so it goes on as a file of its own.
		if st.sameBytes(e.Stat) {
			return
		}
		parent := e.parent
		s.ops = append(s.ops, op{do: opForget, from: e.key()})
		d.drop(e)
		s.appeared(parent, path.Base(rel), st, crdt.File)
		return
	}
	o := op{do: opRecord, e: e}
	if !st.sameBytes(e.Stat) || e.Next != nil || s.files[rel] {
		c, now, ok := d.read(rel, e)
		if !ok {
			return
		}
		st = now
		if c != nil {
			o.do, o.content, o.base = opWrite, c, d.base(e)
		}
	}
	o.mtime = st.Mtime != e.Stat.Mtime
	o.mode = st.perm() != e.Mode
	e.Mode = st.perm()
	if o.do == opWrite {
		d.readSince(e)
	}
	d.table.moved(e, st)
	s.ops = append(s.ops, o)
}

// moved gives an entry another status of its file.
func (t *table) moved(e *entry, st stat) {
	if t.inos[e.Stat.id()] == e {
		delete(t.inos, e.Stat.id())
	}
	e.Stat = st
	t.index(e)
}

// gone removes an entry whose name is not there any more, with all that is in it.
func (s *scan) gone(e *entry) {
	d := s.d
	if !e.attached() {
		return // with what it was in
	}
	for _, name := range slices.Sorted(maps.Keys(e.children)) {
		s.gone(e.children[name])
	}
	o := op{do: opRemove, e: e, from: e.key(), base: e.Version}
	switch {
	case e.Kept || e.Node == (crdt.NodeID{}):
		o.do = opForget
	case e.Alt:
		o.do = opResolve
	}
	s.ops = append(s.ops, o)
	d.drop(e)
}

// drop forgets an entry.
func (d *Dir) drop(e *entry) {
	if fd, ok := d.unread[e]; ok {
		closeFD(fd)
		delete(d.unread, e)
	}
	d.table.drop(e)
}

// read returns what a file holds; nil content where that is what is on record.
// It is not ok where the file has to be left for later: its writer has only begun.
func (d *Dir) read(rel string, e *entry) (c *crdt.NewContent, st stat, ok bool) {
	f, err := openQuietly(d.abs(rel))
	if err != nil {
		if !isGone(err) {
			d.warn(rel, "cannot be read", err)
		}
		return nil, st, false
	}
	defer f.Close()
	if st, err = fstat(int(f.Fd())); err != nil {
		return nil, st, false
	}
	if fs.Underway(f.Name()) {
		return nil, st, false // its directory is looked at when that is gone
	}
	if written(f) && d.wait(rel, st) {
		d.later(path.Dir("/" + rel)[1:], path.Base(rel))
		return nil, st, false
	}
	delete(d.since, rel)
	c, err = d.content(f, st, e, d.rules.Whole(rel))
	if err != nil {
		d.warn(rel, "cannot be read", err)
		d.later(path.Dir("/" + rel)[1:], path.Base(rel))
		return nil, st, false
	}
	if now, err := fstat(int(f.Fd())); err != nil || !now.sameBytes(st) {
		d.later(path.Dir("/" + rel)[1:], path.Base(rel))
		return nil, st, false
	}
	return c, st, true
}

// wait says whether the writer of a file that has it open may be expected to
// write more, soon. An empty file is expected to be filled.
func (d *Dir) wait(rel string, st stat) bool {
	const quiet, atLatest = time.Second, 5 * time.Second
	now := time.Now()
	since, ok := d.since[rel]
	if !ok {
		since = now
		d.since[rel] = now
	}
	if st.Size == 0 {
		return true
	}
	return now.Sub(time.Unix(0, st.Mtime)) < quiet && now.Sub(since) < atLatest
}

// content reads an open file; nil where the entry is of that content, also where
// it is kept in another form now.
func (d *Dir) content(f *os.File, st stat, e *entry, whole bool) (*crdt.NewContent, error) {
	if st.Size <= crdt.MaxText {
		b, err := io.ReadAll(io.LimitReader(f, crdt.MaxText+1))
		if err != nil {
			return nil, err
		}
		if len(b) <= crdt.MaxText && crdt.IsText(b) {
			s := string(b)
			for _, v := range e.versions() {
				was, err := d.folder.ContentAt(e.Node, v)
				if err == nil {
					was, err = d.home.Readable(was)
				}
				if err == nil && was.Object == nil && was.Text == s {
					e.Version, e.Next = v, nil
					return nil, nil
				}
			}
			c := crdt.NewContent{Text: s}
			if whole {
				c, err = d.home.Whole(c)
			}
			return &c, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	if err := d.home.Room(); err != nil {
		return nil, err
	}
	for _, v := range e.versions() {
		was, err := d.folder.ContentAt(e.Node, v)
		if err != nil || was.Object == nil || was.Object.Size != st.Size {
			continue
		}
		h := blake3.New()
		if _, err := io.Copy(h, f); err != nil {
			return nil, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if crdt.Hash(h.Sum(nil)) == was.Object.Hash {
			e.Version, e.Next = v, nil
			return nil, nil
		}
	}
	h, size, err := d.home.Objects().Put(f)
	if err != nil {
		return nil, err
	}
	return &crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(h), Size: size}}, nil
}

// versions are those that an entry's file may hold by the record.
func (e *entry) versions() []crdt.Version {
	switch {
	case e == nil:
		return nil
	case e.Next != nil:
		return []crdt.Version{e.Next, e.Version}
	}
	return []crdt.Version{e.Version}
}

// base is the version that the writer of a file had read: what was on the disk,
// or the one before if nobody has read since it came.
func (d *Dir) base(e *entry) crdt.Version {
	if e.Unread && d.untouched(e) && !fault.On("plain-current-base") {
		return e.Read
	}
	return e.Version
}

func (d *Dir) warn(rel, what string, err error) {
	if key := rel + what; !d.warned[key] {
		d.warned[key] = true
		d.log.Warn(what, "path", d.abs(rel), "err", err)
	}
}

func validName(name string) bool { return name != "" && name != "." && name != ".." }
