package tree

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// graph is the versions of one file.
type graph struct {
	last    *event // the newest arrival; the others hang on it
	many    *many  // nil: last alone is the maximal event, and its content is here
	created int64  // applied at
	count   int32
}

// many is what a graph has that is more than a chain of ready events.
type many struct {
	heads   []*event           // those that are nobody's parent; never changed in place, but appended to
	ready   []*event           // the maximal ones among the ready, while some are not
	index   map[EventID]*event // made once there are more than a few
	pending int32              // events whose object is not here
}

// event is one node of a graph.
type event struct {
	id      EventID
	self    [1]*event // the event, so that it alone is a list that takes no room
	parents []*event
	object  *Object   // nil: text
	text    *[16]byte // which text; shared with other events or the node
	at      *stamp    // the first operation that made it
	time    int64
	by      *string // nil: the person at the device; shared
	applied int64
	before  *event        // arrived before this one
	size    atomic.Uint32 // 1 + the bytes of its text; 0: not told
	absent  bool          // its object is not here
	inner   bool          // it is somebody's parent
}

// eventRef is an event and the file it belongs to.
type eventRef struct {
	n *node
	e *event
}

// indexFrom is how many events a file has before they are indexed.
const indexFrom = 16

func (g *graph) find(id EventID) *event {
	if g.many != nil && g.many.index != nil {
		return g.many.index[id]
	}
	for e := g.last; e != nil; e = e.before {
		if e.id == id {
			return e
		}
	}
	return nil
}

func (g *graph) more() *many {
	if g.many == nil {
		g.many = &many{}
	}
	return g.many
}

func (g *graph) pending() bool { return g.many != nil && g.many.pending > 0 }

// tops returns the events that are nobody's parent. They must not be changed.
func (g *graph) tops() []*event {
	switch {
	case g.last == nil:
		return nil
	case g.many == nil || g.many.heads == nil:
		return g.last.self[:]
	}
	return g.many.heads
}

func (g *graph) add(e *event) {
	heads := g.tops()
	builds := false // on one of them
	for _, p := range e.parents {
		builds, p.inner = builds || !p.inner, true
	}
	others := heads
	if builds {
		others = nil
		for _, h := range heads {
			if !h.inner {
				others = append(others, h)
			}
		}
	}
	if len(others) > 0 {
		// Behind what others have of the list: it is copied when it grows, and not for each event.
		g.more().heads = append(others, e)
	} else if g.many != nil {
		g.many.heads = nil
	}
	e.before, g.last = g.last, e
	if g.count++; g.many != nil && g.many.index != nil {
		g.many.index[e.id] = e
	} else if g.count >= indexFrom {
		index := make(map[EventID]*event, 2*indexFrom)
		for i := g.last; i != nil; i = i.before {
			index[i.id] = i
		}
		g.more().index = index
	}
	if !e.absent {
		g.settle()
		return
	}
	// What can be shown is what it was.
	if !g.pending() {
		g.more().ready = heads
	}
	g.many.pending++
}

// settle recomputes which events are the maximal ones among the ready.
func (g *graph) settle() {
	if g.many == nil {
		return
	}
	g.many.ready = nil
	if !g.pending() {
		return
	}
	var found []*event
	seen := map[*event]bool{}
	todo := slices.Clone(g.tops())
	for len(todo) > 0 {
		e := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch {
		case seen[e]:
		case e.absent:
			todo = append(todo, e.parents...)
		default:
			found = append(found, e)
		}
		seen[e] = true
	}
	g.many.ready = maximal(found)
}

// visible returns the maximal events among the ready ones.
func (g *graph) visible() []*event {
	if !g.pending() {
		return g.tops()
	}
	return g.many.ready
}

// beyond reports whether there is content that none of the removals had seen. An event that
// is no head has a head above it, so the heads decide.
func (g *graph) beyond(removals []removal) bool {
	if fault.On("tree-delete-blind") && len(removals) > 0 {
		return false
	}
	for _, h := range g.tops() {
		if !slices.ContainsFunc(removals, func(r removal) bool { return r.seen.Has(h.id) }) {
			return true
		}
	}
	return false
}

// returned reports whether there is content that can be shown and that none of the removals had
// seen. What only waits for its bytes brings the file back when they come, and not before what
// was removed.
func (g *graph) returned(removals []removal) bool {
	if !g.pending() {
		return true // beyond has looked
	}
	gone := map[*event]bool{}
	for _, r := range removals {
		for _, id := range r.seen {
			if e := g.find(id); e != nil {
				gone[e] = true
				markPast(e, gone)
			}
		}
	}
	return slices.ContainsFunc(g.visible(), func(e *event) bool { return !gone[e] })
}

// mergeable reports whether two events that are maximal make one content: they are of one
// text, or the same bytes.
func mergeable(a, b *event) bool {
	if a.object != nil && b.object != nil {
		return a.object.Hash == b.object.Hash
	}
	return a.object == nil && b.object == nil && *a.text == *b.text
}

// split reports whether n is shown with versions beside it.
func (n *node) split() bool {
	if n.kind != File || !n.shown {
		return false
	}
	v := n.file.visible()
	for _, e := range v[min(1, len(v)):] {
		if !mergeable(v[0], e) {
			return true
		}
	}
	return false
}

// groups returns the visible events in groups that merge, the group with the last event first.
func (g *graph) groups() [][]*event {
	v := g.visible()
	if len(v) < 2 {
		return [][]*event{v}
	}
	v = slices.Clone(v)
	slices.SortFunc(v, func(a, b *event) int { return b.at.compare(a.at) })
	// What mergeable says, for all of them at once.
	type content struct {
		object feed.Hash
		text   [16]byte
		whole  bool
	}
	var out [][]*event
	group := make(map[content]int, len(v))
	for _, e := range v {
		c := content{whole: e.object != nil}
		if c.whole {
			c.object = e.object.Hash
		} else {
			c.text = *e.text
		}
		i, ok := group[c]
		if !ok {
			i = len(out)
			group[c] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], e)
	}
	return out
}

// main returns the events that the name stands for.
func (g *graph) main() []*event {
	if v := g.visible(); len(v) < 2 {
		return v
	}
	return g.groups()[0]
}

// maximal drops the events that are in the past of others.
func maximal(events []*event) []*event {
	if len(events) < 2 {
		return events
	}
	past := map[*event]bool{}
	for _, e := range events {
		markPast(e, past)
	}
	return slices.DeleteFunc(slices.Clone(events), func(e *event) bool { return past[e] })
}

// markPast marks what is strictly before e.
func markPast(e *event, past map[*event]bool) {
	todo := slices.Clone(e.parents)
	for len(todo) > 0 {
		e := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !past[e] {
			past[e] = true
			todo = append(todo, e.parents...)
		}
	}
}

func versionOf(events []*event) Version {
	if len(events) == 0 {
		return nil
	}
	v := make(Version, len(events))
	for i, e := range events {
		v[i] = e.id
	}
	slices.SortFunc(v, compareEvents)
	return v
}

// content applies an event.
func (t *Tree) content(n *node, s *Stamped) {
	op := &s.Op
	if n.kind != File {
		return
	}
	g := n.file
	var parents []*event
	for i, id := range op.Parents {
		p := g.find(id)
		if p == nil {
			t.waiting.put(Need{n.id, id}, s)
			return
		}
		if i == 0 {
			parents = p.self[:] // appending to it copies it
		} else {
			parents = append(parents, p)
		}
	}
	if known := g.find(op.Event); known != nil {
		t.madeBefore(n, known, s)
		return
	}
	e := t.room.events.new()
	*e = event{id: op.Event, parents: parents, at: t.stamp(s.Stamp), applied: s.Applied, time: op.Time, by: t.author(op.By)}
	e.self[0] = e
	e.setSize(s.Size)
	if op.Object != nil {
		object := *op.Object
		e.object = &object
	} else {
		e.text = n.textOf(op.Text, parents)
	}
	if e.object != nil && t.have != nil && !t.have(e.object.Hash) {
		e.absent = true
		t.absent[e.object.Hash] = append(t.absent[e.object.Hash], eventRef{n, e})
	}
	t.touch(n)
	g.add(e)
	t.contentChanged(n)
	t.arrived(Need{n.id, e.id})
}

func (e *event) setSize(bytes int64) {
	if bytes > 0 && bytes < math.MaxUint32 {
		e.size.Store(uint32(bytes) + 1)
	}
}

// TextSize returns how many bytes a file's text has at one event, as it was told. Like the time
// of application it is local: no operation carries it.
func (t *Tree) TextSize(node NodeID, id EventID) (int64, bool) {
	if events, ok := t.events(node, Version{id}); ok {
		if size := events[0].size.Load(); size > 0 {
			return int64(size) - 1, true
		}
	}
	return 0, false
}

// Merges reports whether any version of a file builds on more than one.
func (t *Tree) Merges(node NodeID) bool {
	if n := t.nodes.get(node); n != nil && n.kind == File {
		for e := n.file.last; e != nil; e = e.before {
			if len(e.parents) > 1 {
				return true
			}
		}
	}
	return false
}

// SetTextSize tells the tree what TextSize then returns. It may be called while others read.
func (t *Tree) SetTextSize(node NodeID, id EventID, bytes int64) {
	if events, ok := t.events(node, Version{id}); ok {
		events[0].setSize(bytes)
	}
}

// textOf returns the name of a text, the same pointer for the same text where that is easy.
func (n *node) textOf(text [16]byte, parents []*event) *[16]byte {
	if own := (*[16]byte)(&n.id); *own == text {
		return own
	}
	for _, p := range parents {
		if p.text != nil && *p.text == text {
			return p.text
		}
	}
	return &text
}

// madeBefore has an event that was made on several devices count as the first one's.
func (t *Tree) madeBefore(n *node, known *event, again *Stamped) {
	at := t.stamp(again.Stamp)
	if at.after(known.at) || t.flaw == firstHeard {
		return
	}
	t.touch(n)
	known.at, known.time, known.by = at, again.Op.Time, t.author(again.Op.By)
	if o := again.Op.Object; o != nil && known.object != nil && *o != *known.object {
		object := *o // the event names the bytes, and not how many its maker says there are
		known.object = &object
		t.touch(n).attr = true
	}
	t.contentChanged(n)
}

// author returns the shared name of an author, nil for none.
func (t *Tree) author(name string) *string {
	if name == "" {
		return nil
	}
	if t.authors[name] == nil {
		if t.authors == nil {
			t.authors = map[string]*string{}
		}
		t.authors[name] = &name
	}
	return t.authors[name]
}

func (t *Tree) contentChanged(n *node) {
	t.refresh(n)
	if !n.lifted {
		t.setSplit(n, n.split())
	}
}

// SetReady tells the tree how to find out whether an object is on this device; nil, the
// default, means that all are. It is asked when an event is applied, and now for those that
// were not ready. Events whose object is not here are not visible.
func (t *Tree) SetReady(have func(feed.Hash) bool) []Change {
	t.have = have
	for hash := range t.absent {
		if have == nil || have(hash) {
			t.objectReady(hash, 0)
		}
	}
	return t.settle()
}

// ObjectReady makes the events visible whose object arrived at that time (unix ns).
func (t *Tree) ObjectReady(hash feed.Hash, at int64) []Change {
	t.objectReady(hash, at)
	return t.settle()
}

func (t *Tree) objectReady(hash feed.Hash, at int64) {
	for _, r := range t.absent[hash] {
		t.touch(r.n)
		r.e.absent = false
		r.e.applied = max(r.e.applied, at)
		r.n.file.many.pending--
		r.n.file.settle()
		t.contentChanged(r.n)
	}
	delete(t.absent, hash)
}

// Waits reports whether an event waits for the object.
func (t *Tree) Waits(hash feed.Hash) bool { return len(t.absent[hash]) > 0 }

// Absent returns the objects that events wait for.
func (t *Tree) Absent() []Object {
	var out []Object
	for _, refs := range t.absent {
		out = append(out, *refs[0].e.object)
	}
	slices.SortFunc(out, func(a, b Object) int { return a.Hash.Compare(b.Hash) })
	return out
}
