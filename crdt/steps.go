package crdt

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// History returns what happened to whatever was ever shown at a path, and below it, newest
// first: also to what was removed or renamed since. "" is the whole folder. Of more than limit
// steps the newest are returned; 0 is all of them. It replays the folder's entries in the order
// in which this device got them, and sorts by time. It fails with ErrNotExist if nothing was
// ever at the path.
func (f *Folder) History(path string, limit int) ([]Revision, error) {
	path = strings.Trim(path, "/")
	var targets map[NodeID]bool
	if path != "" {
		var err error
		if targets, err = f.everAt(path); err != nil {
			return nil, err
		}
		if len(targets) == 0 {
			return nil, &Error{Op: "log", Path: path, Kind: ErrNotExist, Hint: "nothing was ever there; sheaf log on the folder shows all there was"}
		}
	}
	s := &steps{f: f, limit: limit}
	err := f.walkSteps(func(t *tree.Tree, id NodeID) bool { return targets == nil || t.Within(id, targets) }, s.add)
	if err != nil {
		return nil, err
	}
	return s.newest()
}

// everAt finds the nodes that were ever shown at a path.
func (f *Folder) everAt(path string) (map[NodeID]bool, error) {
	found := map[NodeID]bool{}
	t := tree.New()
	t.SetDevices(f.names((*Folder).nameInPaths))
	look := func(c tree.Place, id NodeID) {
		if !c.Visible {
			return
		}
		p := join(t.Path(c.Dir), c.Name)
		if p == path {
			found[id] = true
		} else if rest, ok := strings.CutPrefix(path, p+"/"); ok {
			for name := range strings.SplitSeq(rest, "/") {
				e, ok := t.Entry(id, name)
				if !ok {
					return
				}
				id = e.Node
			}
			found[id] = true
		}
	}
	err := f.scanRecords(func(d dated) error {
		for _, o := range f.treeOps(d) {
			for _, c := range t.Apply([]tree.Stamped{o}) {
				if c.What&tree.Placed != 0 && !c.Alt {
					look(c.Before, c.Node)
					look(c.After, c.Node)
				}
			}
		}
		return nil
	})
	return found, err
}

// step is a Revision in the making.
type step struct {
	Revision
	at    int64 // unix ms
	order uint64
	stamp tree.Stamp // of its event, under which the text is stored
	text  bool
}

// steps keeps the newest.
type steps struct {
	f     *Folder
	limit int
	list  []step
}

func (s *steps) add(x step) {
	s.list = append(s.list, x)
	if s.limit > 0 && len(s.list) >= 2*s.limit+1024 {
		s.cut()
	}
}

func (s *steps) cut() {
	slices.SortStableFunc(s.list, func(a, b step) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order)) })
	if n := len(s.list) - s.limit; s.limit > 0 && n > 0 {
		s.list = slices.Delete(s.list, 0, n)
	}
}

// newest describes the steps that were kept, newest first.
func (s *steps) newest() ([]Revision, error) {
	s.cut()
	name := s.f.names((*Folder).deviceName)
	out := make([]Revision, 0, len(s.list))
	for _, x := range slices.Backward(s.list) {
		r := x.Revision
		r.Time, r.DeviceName = time.UnixMilli(x.at), name(r.Device)
		var err error
		if r.Change, err = s.f.hashOf(x.stamp, x.order); err != nil {
			return nil, err
		}
		if x.text {
			r.Added, r.Removed = s.f.counted(x)
		}
		r.Absent = r.Object != nil && !s.f.home.objects.Has(blob.Hash(r.Object.Hash))
		out = append(out, r)
	}
	return out, nil
}

// counted sums up what a stored event of a text inserted and deleted, in characters.
func (f *Folder) counted(x step) (added, removed int) {
	v, ok, err := f.home.db.Get(f.key('t', x.Node[:], be64(x.stamp.Lamport), be32(x.stamp.Index), x.Version[0][:]))
	if err != nil || !ok {
		return 0, 0
	}
	_, ev, err := f.storedEvent(v)
	if err != nil {
		return 0, 0
	}
	for _, h := range ev.Hunks {
		for _, s := range h {
			added += runes(s.Ins)
			removed += s.Del
		}
	}
	return added, removed
}

// walkSteps replays all entries and calls fn for each operation on a node that in accepts,
// those that belong to one step taken together.
func (f *Folder) walkSteps(in func(*tree.Tree, NodeID) bool, fn func(step)) error {
	t := tree.New()
	t.SetDevices(f.names((*Folder).nameInPaths))
	return f.scanRecords(func(d dated) error {
		var of entrySteps
		for _, o := range f.treeOps(d) {
			id := o.Op.Node
			was := t.Known(id) && in(t, id)
			_, _, shown := t.Place(id)
			path := ""
			if was && o.Op.Do == tree.OpPlace {
				path = t.LastPath(id)
			}
			t.Apply([]tree.Stamped{o})
			if t.Known(id) && (was || in(t, id)) {
				of.add(t, o, shown, path)
			}
		}
		if len(of.list) == 0 {
			return nil
		}
		label := ""
		if m := d.mark(); m != nil {
			label = labelOf(m.Label)
		}
		for _, x := range of.list {
			x.at, x.order, x.Label, x.Device = d.at, d.order, label, d.Feed.Device
			fn(x)
		}
		return nil
	})
}

// entrySteps are the steps of one entry.
type entrySteps struct {
	list []step
	last map[NodeID]int // index of a node's last step
}

// add makes a step of an operation that was just applied, or adds it to the node's last one.
func (s *entrySteps) add(t *tree.Tree, o tree.Stamped, shown bool, before string) {
	op := &o.Op
	x := step{stamp: o.Stamp, Revision: Revision{Node: op.Node, Path: t.LastPath(op.Node), Kind: t.KindOf(op.Node), Author: op.By}}
	var prev *step
	if i, ok := s.last[op.Node]; ok {
		prev = &s.list[i]
	}
	switch op.Do {
	case tree.OpCreate:
		x.Op = "create"
		if shown {
			return // it was there already: the same one, made again
		}
	case tree.OpPlace:
		x.Op, x.From = "rename", before
		if !shown {
			x.Op, x.From = "restore", ""
		} else if before == x.Path {
			return
		}
	case tree.OpRemove:
		x.Op = "remove"
	case tree.OpContent:
		x.Op = "write"
		x.Version, x.text = Version{op.Event}, op.Object == nil
		if op.Object != nil {
			object := fromTree(op.Object)
			x.Object = &object
		}
		if prev != nil && prev.Op == "create" && prev.Version == nil {
			prev.Version, prev.text, prev.Object, prev.stamp, prev.Author = x.Version, x.text, x.Object, x.stamp, x.Author
			return
		}
	case tree.OpMode, tree.OpXattr:
		x.Op = "attributes"
		if prev != nil {
			return // part of what it came with
		}
	default:
		return
	}
	if s.last == nil {
		s.last = map[NodeID]int{}
	}
	s.last[op.Node] = len(s.list)
	s.list = append(s.list, x)
}
