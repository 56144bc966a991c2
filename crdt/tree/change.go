package tree

import "slices"

// What says in which ways something changed.
type What uint8

// The ways a node changes.
const (
	Content What = 1 << iota // the version under the name, or a version beside it
	Attr                     // mode, mtime or an extended attribute was set
	Placed                   // the place, or whether it is shown
)

// Place is where a node is shown. The place of what is not shown is the zero Place.
type Place struct {
	Dir     NodeID
	Name    string // as shown
	Visible bool
}

// Change is what a batch did to one node, or to one version shown beside it. The Before and
// After of all changes of a batch, taken away first and added then, turn the names before the
// batch into the names after it. What lies below a directory that moved did not change.
type Change struct {
	Node          NodeID
	What          What
	Before, After Place
	Alt           bool // about a version shown beside the node
	Created       bool // the node was not known before
}

// touched is what a node looked like before the batch.
type touched struct {
	n       *node
	place   Place
	main    []*event
	alts    []alt
	attr    bool
	created bool
}

// touch has a node compared at the end of the batch. It must be called before the node
// changes. The result is valid until the next call.
func (t *Tree) touch(n *node) *touched {
	if n.mark == 0 {
		w := touched{n: n, place: n.where()}
		if n.kind == File {
			w.main = n.file.main()
			if n.parent.dir.splits != nil {
				w.alts = n.parent.dir.splits[n]
			}
		}
		t.touched = append(t.touched, w)
		n.mark = uint32(len(t.touched))
	}
	return &t.touched[n.mark-1]
}

// where returns the place of n as it is shown.
func (n *node) where() Place {
	if !n.shown || n.parent == nil {
		return Place{}
	}
	return Place{Dir: n.parent.id, Name: n.shownName(), Visible: true}
}

func (n *node) shownName() string {
	if n.loser {
		return n.parent.dir.losers[n]
	}
	return n.name
}

// settle ends a batch: directories move, extra names are given, what differs is returned.
func (t *Tree) settle() []Change {
	t.runMoves()
	for _, p := range t.unnamed {
		t.assign(p)
	}
	clear(t.unnamed)
	t.unnamed = t.unnamed[:0]

	changes := make([]Change, 0, len(t.touched))
	for i := range t.touched {
		w := &t.touched[i]
		w.n.mark = 0
		changes = t.compare(w, changes)
	}
	if clear(t.touched); cap(t.touched) > 4096 {
		t.touched = nil // after a large batch
	}
	t.touched = t.touched[:0]
	return changes
}

// compare appends what is different about a touched node.
func (t *Tree) compare(w *touched, changes []Change) []Change {
	n := w.n
	c := Change{Node: n.id, Before: w.place, After: n.where(), Created: w.created}
	if c.Before != c.After {
		c.What |= Placed
		t.relist(c.Before)
		t.relist(c.After)
	}
	if w.attr {
		c.What |= Attr
	}
	if n.kind == File && !sameEvents(w.main, n.file.main()) {
		c.What |= Content
	}
	if c.What != 0 || c.Created {
		changes = append(changes, c)
	}
	if n.kind != File {
		return changes
	}
	after := n.parent.dir.splits[n]
	if len(w.alts) == 0 && len(after) == 0 {
		return changes
	}
	return t.compareAlts(w, after, changes)
}

// compareAlts appends what is different about the versions shown beside a file.
func (t *Tree) compareAlts(w *touched, after []alt, changes []Change) []Change {
	named := func(alts []alt, dir NodeID) func(Place) *alt {
		byName := make(map[string]*alt, len(alts)) // there may be thousands
		for i := range alts {
			byName[alts[i].name] = &alts[i]
		}
		return func(p Place) *alt {
			if p.Dir != dir {
				return nil
			}
			return byName[p.Name]
		}
	}
	// A lifted file may be in another directory now: the one before is where its alts were.
	was, is := w.place.Dir, w.n.parent.id
	namedBefore, namedAfter := named(w.alts, was), named(after, is)
	for _, a := range w.alts {
		p := Place{Dir: was, Name: a.name, Visible: true}
		b := namedAfter(p)
		switch {
		case b == nil:
			changes = append(changes, Change{Node: w.n.id, What: Placed, Before: p, Alt: true})
		case !b.version.Equal(a.version):
			changes = append(changes, Change{Node: w.n.id, What: Content, Before: p, After: p, Alt: true})
		default:
			continue
		}
		t.relist(p)
	}
	for _, a := range after {
		p := Place{Dir: is, Name: a.name, Visible: true}
		if namedBefore(p) == nil {
			changes = append(changes, Change{Node: w.n.id, What: Placed, After: p, Alt: true})
			t.relist(p)
		}
	}
	return changes
}

func sameEvents(a, b []*event) bool {
	if len(a) != len(b) {
		return false
	}
	for _, e := range a {
		if !slices.Contains(b, e) {
			return false
		}
	}
	return true
}
