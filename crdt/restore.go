package crdt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// RestoreRequest says what is to be as it was. At most one of At and Version is given; without
// them, what was removed comes back as it was when it was removed.
type RestoreRequest struct {
	Path    string    // in the folder; "" is all of it
	At      time.Time // as of then: see Past
	Version string    // of a file, or the change after which it was so: see PastOf
	To      string    // where to put a copy, which must be free; "" is Path itself
}

// Restored says what a restore did.
type Restored struct {
	Paths []string `json:"paths"`          // what is as it was now
	Same  int      `json:"same"`           // files that were so already
	Left  []string `json:"left,omitempty"` // what could not be restored, and why
	ID    ActionID `json:"action"`         // Undo takes it back
}

// Restore brings back an old state of a file or a directory, as a new change: what is there
// now stays in the history, and nothing that came later is removed. A file that is where it
// was gets its old content, one that was removed comes back.
func (f *Folder) Restore(r RestoreRequest) (Restored, error) {
	r.Path, r.To = strings.Trim(r.Path, "/"), strings.Trim(r.To, "/")
	jobs, err := f.restoreJobs(r)
	if err != nil {
		return Restored{}, err
	}
	s := &restoring{f: f, copying: r.To != "", out: Restored{Paths: []string{}, ID: NewActionID()}}
	label := "restore " + orRoot(r.Path)
	if r.To != "" {
		if _, err := f.Resolve(r.To); err == nil {
			return Restored{}, &Error{Op: "restore", Path: r.To, Kind: ErrExists, Hint: "name a path that is free, or leave --to out to restore in place"}
		}
		label += " to " + r.To
	}
	// A folder of any size goes in pieces, which are one action all the same.
	for batch := range slices.Chunk(jobs, 64) {
		err := f.Update(func(tx *Tx) error {
			if err := tx.Label(s.out.ID, label); err != nil {
				return err
			}
			s.tx = tx
			for _, j := range batch {
				if err := s.restore(j); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return s.out, err
		}
	}
	return s.out, nil
}

// job is one file, directory or symlink to restore.
type job struct {
	path string // where
	Info        // what, as it was
}

// restoreJobs lists what there is to do, directories before what is in them.
func (f *Folder) restoreJobs(r RestoreRequest) ([]job, error) {
	to := r.Path
	if r.To != "" {
		to = r.To
	}
	if r.Version != "" {
		if i, ok, err := f.VersionAt(r.Path, r.Version); err != nil || ok {
			return []job{{to, i}}, err
		}
	}
	p, err := f.pastFor(r)
	if err != nil {
		return nil, err
	}
	root, err := p.Resolve(r.Path)
	if err != nil {
		return nil, &Error{Op: "restore", Path: r.Path, Kind: ErrNotExist, Err: errors.New("there was no such file or directory then"),
			Hint: "sheaf log " + quoted(r.Path) + " shows when there was"}
	}
	var jobs []job
	var walk func(i Info, path string) error
	walk = func(i Info, path string) error {
		if path != "" {
			jobs = append(jobs, job{path, i})
		}
		if i.Kind != Dir {
			return nil
		}
		list, err := p.ReadDir(i.Node)
		for _, c := range list {
			if err == nil {
				err = walk(c, join(path, c.Name))
			}
		}
		return err
	}
	return jobs, walk(root, to)
}

func quoted(s string) string {
	if strings.ContainsAny(s, " '\"$") {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// pastFor is the state that a restore brings back.
func (f *Folder) pastFor(r RestoreRequest) (*Past, error) {
	switch {
	case r.Version != "":
		return f.PastOf(r.Version)
	case !r.At.IsZero():
		return f.PastAt(r.At)
	}
	if _, err := f.Resolve(r.Path); err == nil && r.To == "" {
		return nil, &Error{Op: "restore", Path: r.Path, Kind: ErrInvalid, Err: errors.New("it is there: which state of it is meant?"),
			Hint: "say --at TIME, or --version VERSION as sheaf log shows them"}
	} else if err == nil {
		return f.PastAt(time.Now())
	}
	order, err := f.removedAt(r.Path)
	if err != nil {
		return nil, err
	}
	return f.pastBefore(order)
}

// removedAt is the order of the entry in which the last removal of what was at a path began: a
// directory goes file by file.
func (f *Folder) removedAt(path string) (uint64, error) {
	targets, err := f.everAt(path)
	if err != nil {
		return 0, err
	}
	var began uint64
	var device Device
	var last int64
	err = f.walkSteps(func(t *tree.Tree, id NodeID) bool { return t.Within(id, targets) }, func(s step) {
		if s.Op != "remove" {
			began = 0
			return
		}
		if began == 0 || s.Device != device || s.at-last > 5*pause {
			began, device = s.order, s.Device
		}
		last = s.at
	})
	if err == nil && began == 0 {
		err = &Error{Op: "restore", Path: path, Kind: ErrNotExist, Err: errors.New("nothing was removed there"),
			Hint: "sheaf log shows what was removed, and where"}
	}
	return began, err
}

// VersionAt finds the version of a file that is or was at a path, as Version.String writes it
// or its beginning; ok is false where it is of none.
func (f *Folder) VersionAt(path, version string) (i Info, ok bool, err error) {
	nodes, err := f.everAt(path)
	if err != nil {
		return Info{}, false, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	for id := range nodes {
		n := f.tree.Get(id)
		if n == nil || n.Kind != File {
			continue
		}
		v, err := f.versionOf(id, version)
		if errors.Is(err, ErrNotExist) {
			continue
		} else if err != nil {
			return Info{}, false, err
		}
		i := Info{Node: id, Kind: File, Parent: n.Parent, Name: n.Name, Mode: n.Mode, Version: v}
		if e, _ := f.tree.Event(id, v[0]); e.Object != nil {
			o := fromTree(e.Object)
			i.Object = &o
		}
		return i, true, nil
	}
	return Info{}, false, nil
}

// versionOf reads a version as Version.String writes it, with heads of at least four digits.
func (f *Folder) versionOf(node NodeID, s string) (Version, error) {
	events := f.tree.History(node)
	var v Version
	for head := range strings.SplitSeq(strings.ToLower(s), "+") {
		if len(head) < minPrefix {
			return nil, fail("read version", s, ErrNotExist, errors.New("too short"))
		}
		var found []EventID
		for _, e := range events {
			if strings.HasPrefix(e.ID.String(), head) {
				found = append(found, e.ID)
			}
		}
		switch len(found) {
		case 0:
			return nil, fail("read version", s, ErrNotExist, errors.New("not a version of this file"))
		case 1:
			v = append(v, found[0])
		default:
			return nil, &Error{Op: "read version", Path: s, Kind: ErrInvalid, Err: errors.New("several versions begin so"), Hint: "give more digits"}
		}
	}
	return tree.NewVersion(v...), nil
}

// Before returns what a file held before the last change of its content, and when that change
// was made. It is the empty version for a file that was written once.
func (f *Folder) Before(node NodeID) (Version, time.Time, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	if !ok {
		return nil, time.Time{}, fail("read", node.String(), ErrNotExist, nil)
	}
	var last tree.Event
	for _, id := range n.Version {
		if e, _ := f.tree.Event(node, id); last.ID.IsZero() || e.Stamp.Compare(last.Stamp) > 0 {
			last = e
		}
	}
	if last.ID.IsZero() {
		return nil, time.UnixMilli(0), nil
	}
	// What was merged with it was there before it.
	before := slices.Clone(last.Parents)
	for _, id := range n.Version {
		if id != last.ID {
			before = append(before, id)
		}
	}
	return f.tree.Join(node, before), time.UnixMilli(last.Time), nil
}

// restoring is one restore at work. Its methods run in an Update.
type restoring struct {
	f       *Folder
	tx      *Tx
	copying bool
	out     Restored
}

func (s *restoring) left(path, why string) { s.out.Left = append(s.out.Left, path+": "+why) }

func (s *restoring) restore(j job) error {
	if j.Alt {
		return nil // beside the version under the name; it can be restored by its own name
	}
	parent, name := "", j.path
	if i := strings.LastIndexByte(j.path, '/'); i >= 0 {
		parent, name = j.path[:i], j.path[i+1:]
	}
	dir, err := s.dir(parent)
	if err != nil {
		s.left(j.path, "its directory's name is something else's now")
		return nil
	}
	if e, ok := s.f.tree.Entry(dir, name); ok {
		return s.over(j, e)
	}
	if n := s.f.tree.Get(j.Node); !s.copying && n != nil && !n.Visible {
		if err := s.tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: j.Node, Parent: dir, Name: name}}); err != nil {
			return err
		}
		if j.Kind != File {
			s.out.Paths = append(s.out.Paths, j.path)
			return nil
		}
		return s.write(j, s.f.tree.Get(j.Node), true)
	}
	return s.make(j, dir, name)
}

// over restores what has its name still, or has it again.
func (s *restoring) over(j job, e tree.Dirent) error {
	n := s.f.tree.Get(e.Node)
	switch {
	case e.Alt, e.Kind != j.Kind:
		s.left(j.path, "something else has its name now")
	case j.Kind == Dir:
	case j.Kind == Symlink && n.Target != j.Target:
		s.left(j.path, "it leads elsewhere now")
	case j.Kind == Symlink:
		s.out.Same++
	default:
		return s.write(j, n, false)
	}
	return nil
}

// write gives a file its old content and mode, on top of what it holds now. back says that it
// was brought back for it.
func (s *restoring) write(j job, n *tree.Info, back bool) error {
	c, ok, err := s.content(j)
	if !ok || err != nil {
		return err
	}
	before := s.tx.ops
	now, err := s.f.contentOf(n)
	if err != nil {
		return err
	}
	if c, err = s.f.asNow(now, c); err != nil {
		return err
	}
	if !sameContent(now, c) {
		if _, err := s.tx.write(n.Node, n.Version, c.inPieces()); err != nil {
			return err
		}
	}
	if n.Mode != j.Mode {
		if err := s.tx.add(op{Tree: &tree.Op{Do: tree.OpMode, Node: n.Node, Mode: j.Mode}}); err != nil {
			return err
		}
	}
	if s.tx.ops == before && !back {
		s.out.Same++
		return nil
	}
	s.out.Paths = append(s.out.Paths, j.path)
	return nil
}

// content is what a file held; ok is false where it is not here any more.
func (s *restoring) content(j job) (c NewContent, ok bool, err error) {
	was, err := s.f.contentAt(j.Node, j.Version)
	if err != nil {
		return c, false, err
	}
	if was.Object != nil && !s.f.home.objects.Has(blob.Hash(was.Object.Hash)) {
		s.left(j.path, "its content of then is not on this device any more")
		return c, false, nil
	}
	return NewContent{Text: was.Text, Object: was.Object}, true, nil
}

// asNow gives old content the form of what the file holds now: what is kept whole stays so, and
// what merges goes on merging.
func (f *Folder) asNow(now Content, c NewContent) (NewContent, error) {
	switch {
	case len(now.Version) == 0:
		return c, nil
	case now.Object == nil:
		return f.home.Merging(c)
	case c.Object != nil:
		return c, nil
	}
	if _, whole, err := f.home.TextOf(*now.Object); err != nil || !whole {
		return c, nil // it is no text, or not here to be looked at
	}
	return f.home.Whole(c)
}

func (s *restoring) make(j job, dir NodeID, name string) error {
	var err error
	switch j.Kind {
	case Dir:
		_, err = s.tx.Mkdir(dir, name, j.Mode)
	case Symlink:
		_, err = s.tx.Symlink(dir, name, j.Target)
	default:
		c, ok, cerr := s.content(j)
		if !ok || cerr != nil {
			return cerr
		}
		_, _, err = s.tx.Create(dir, name, j.Mode, c)
	}
	if err == nil {
		s.out.Paths = append(s.out.Paths, j.path)
	}
	return err
}

// dir is the directory at a path, made if need be.
func (s *restoring) dir(path string) (NodeID, error) {
	dir := Root
	if path == "" {
		return dir, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		e, ok := s.f.tree.Entry(dir, name)
		switch {
		case ok && e.Kind == Dir:
			dir = e.Node
			continue
		case ok:
			return dir, fail("restore", path, ErrNotDir, nil)
		}
		if lost, ok := s.f.tree.Lost(dir, name); ok && !s.copying && s.f.tree.KindOf(lost) == Dir {
			if err := s.tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: lost, Parent: dir, Name: name}}); err != nil {
				return dir, err
			}
			dir = lost
			continue
		}
		made, err := s.tx.Mkdir(dir, name, 0o755)
		if err != nil {
			return dir, err
		}
		dir = made
	}
	return dir, nil
}
