package tree

import "slices"

// Event is one save of a file.
type Event struct {
	ID      EventID
	Parents Version
	Object  *Object  // nil: text
	Text    [16]byte // which text
	Stamp   Stamp    // of the first operation that made it
	Time    int64    // unix ms by its author's clock
	By      string   // who made it, if not the person at the device
	Applied int64    // unix ns, local
	Ready   bool     // its content is here
}

func (e *event) export() Event {
	out := Event{
		ID: e.id, Parents: versionOf(e.parents), Object: e.object, Stamp: e.at.export(),
		Time: e.time, Applied: e.applied, Ready: !e.absent,
	}
	if e.text != nil {
		out.Text = *e.text
	}
	if e.by != nil {
		out.By = *e.by
	}
	return out
}

// events finds the events of a version.
func (t *Tree) events(id NodeID, v Version) ([]*event, bool) {
	n := t.nodes.get(id)
	if n == nil || n.kind != File {
		return nil, false
	}
	out := make([]*event, len(v))
	for i, h := range v {
		if out[i] = n.file.find(h); out[i] == nil {
			return nil, false
		}
	}
	return out, true
}

// Event returns one event of a file.
func (t *Tree) Event(node NodeID, id EventID) (Event, bool) {
	events, ok := t.events(node, Version{id})
	if !ok {
		return Event{}, false
	}
	return events[0].export(), true
}

// Heads returns the maximal events of a file, ready or not, in the order of their ids.
func (t *Tree) Heads(node NodeID) []Event {
	n := t.nodes.get(node)
	if n == nil || n.kind != File {
		return nil
	}
	tops := n.file.tops()
	out := make([]Event, 0, len(tops))
	for _, e := range tops {
		out = append(out, e.export())
	}
	slices.SortFunc(out, func(a, b Event) int { return compareEvents(a.ID, b.ID) })
	return out
}

// Covers reports whether all of b is at or before a: who has read a knows what b says.
func (t *Tree) Covers(node NodeID, a, b Version) bool {
	above, ok := t.events(node, a)
	below, ok2 := t.events(node, b)
	if !ok || !ok2 {
		return false
	}
	past := map[*event]bool{}
	for _, e := range above {
		past[e] = true
	}
	missing := func() bool { return slices.ContainsFunc(below, func(e *event) bool { return !past[e] }) }
	if !missing() {
		return true
	}
	for _, e := range above {
		markPast(e, past)
	}
	return !missing()
}

// Join returns the version that holds all of the given ones.
func (t *Tree) Join(node NodeID, versions ...Version) Version {
	all := NewVersion(slices.Concat(versions...)...)
	events, ok := t.events(node, all)
	if !ok {
		return all
	}
	return versionOf(maximal(events))
}

// History returns the events of a file in causal order, and in the order of their stamps
// where that leaves a choice.
func (t *Tree) History(node NodeID) []Event {
	n := t.nodes.get(node)
	if n == nil || n.kind != File {
		return nil
	}
	return exportAll(n.file.tops())
}

// Past returns the events of a version of a file, in the order of History; nil if it is not
// known.
func (t *Tree) Past(node NodeID, v Version) []Event {
	events, ok := t.events(node, v)
	if !ok {
		return nil
	}
	return exportAll(events)
}

// exportAll returns events and all before them, in causal order.
func exportAll(heads []*event) []Event {
	set := map[*event]bool{}
	for _, e := range heads {
		set[e] = true
		markPast(e, set)
	}
	order := make([]*event, 0, len(set))
	for e := range set {
		order = append(order, e)
	}
	slices.SortFunc(order, func(a, b *event) int { return a.at.compare(b.at) })
	// An author's stamp is later than those it builds on. Where one lies, its event comes
	// right after its parents.
	out := make([]Event, 0, len(order))
	done := make(map[*event]bool, len(order))
	for _, e := range order {
		for stack := []*event{e}; len(stack) > 0; {
			top := stack[len(stack)-1]
			i := slices.IndexFunc(top.parents, func(p *event) bool { return !done[p] })
			if i >= 0 {
				stack = append(stack, top.parents[i])
				continue
			}
			stack = stack[:len(stack)-1]
			if !done[top] {
				done[top] = true
				out = append(out, top.export())
			}
		}
	}
	return out
}
