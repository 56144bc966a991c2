package tree

import "slices"

// LastPath is where a node is, or was last if it is not shown, by the own names of the node and
// the directories it is in; "" for the root and for what is not known.
func (t *Tree) LastPath(id NodeID) string {
	n := t.nodes.get(id)
	if n == nil {
		return ""
	}
	size := 0
	var parts []string
	for ; n.parent != nil; n = n.parent {
		name := n.name
		if n.shown {
			name = n.shownName()
		}
		parts = append(parts, name)
		size += len(name) + 1
	}
	path := make([]byte, 0, size)
	for _, name := range slices.Backward(parts) {
		if len(path) > 0 {
			path = append(path, '/')
		}
		path = append(path, name...)
	}
	return string(path)
}

// Lost returns the node that was in a directory under its own name last and is not shown any
// more.
func (t *Tree) Lost(dir NodeID, name string) (NodeID, bool) {
	p := t.nodes.get(dir)
	if p == nil || p.kind != Dir {
		return NodeID{}, false
	}
	all := p.dir.shared[name]
	if o := p.dir.owners.get(name); all == nil && o != nil {
		all = []*node{o}
	}
	var last *node
	for _, n := range all {
		if !n.shown && (last == nil || n.lastRemoval().after(last.lastRemoval())) {
			last = n
		}
	}
	if last == nil {
		return NodeID{}, false
	}
	return last.id, true
}

// lastRemoval is the latest operation that took n away, or put it where it is.
func (n *node) lastRemoval() *stamp {
	if n.rare == nil || len(n.rare.removals) == 0 {
		return n.place
	}
	return n.rare.removals[len(n.rare.removals)-1].at
}

// Within reports whether a node, or a directory it is or was last in, is in a set.
func (t *Tree) Within(id NodeID, set map[NodeID]bool) bool {
	for n := t.nodes.get(id); n != nil; n = n.parent {
		if set[n.id] {
			return true
		}
	}
	return false
}

// Wanted returns the objects that events wait for, but for those of events that were made
// before a time (unix ms) and have been built on since.
func (t *Tree) Wanted(since int64) []Object {
	var out []Object
	for _, refs := range t.absent {
		if slices.ContainsFunc(refs, func(r eventRef) bool {
			return r.e.time >= since || slices.Contains(r.n.file.tops(), r.e)
		}) {
			out = append(out, *refs[0].e.object)
		}
	}
	slices.SortFunc(out, func(a, b Object) int { return a.Hash.Compare(b.Hash) })
	return out
}

// KindOf returns the kind of a node, 0 if it is not known.
func (t *Tree) KindOf(id NodeID) Kind {
	if n := t.nodes.get(id); n != nil {
		return n.kind
	}
	return 0
}
