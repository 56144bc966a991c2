package text

import (
	"fmt"
	"slices"
)

// Doc is one text: its events and what they come to. A Doc without events is the empty text. It is not safe for concurrent
// use, reading included: texts are built when they are asked for.
type Doc struct {
	name      Node
	engine    *engine
	ids       []ID         // by number
	numbers   map[ID]int32 // of events
	snapshots snapshots
	views     []view // versions asked for of late, the newest last
	history   int    // bytes of memory that the events take, about
	splices   int    // of all events
}

// view is the text of a version.
type view struct {
	version []int32
	text    *rope
}

const (
	viewCount = 4
	viewBytes = 8 << 20 // of all together; the newest stays in any case
)

// NewDoc is the empty text of the given name. Where a node of the folder starts a text anew, the new one needs a name of
// its own.
func NewDoc(node Node) *Doc {
	d := &Doc{name: node, engine: newEngine(node, newRope("")), numbers: map[ID]int32{}}
	d.engine.before = d.snapshots.before
	return d
}

// Add takes an event in. Its parents must be there, else the error is ErrMissingParent and nothing has changed. An event
// that is there already changes nothing. The document keeps the event's slices: do not change them.
func (d *Doc) Add(e Event) (ID, error) {
	id := e.ID(d.name)
	if _, ok := d.numbers[id]; ok {
		return id, nil
	}
	if err := e.check(); err != nil {
		return ID{}, err
	}
	parents, missing := d.find(e.Parents)
	if missing != nil {
		return ID{}, fmt.Errorf("event %s: %w: %s", id, ErrMissingParent, missing)
	}
	n := int32(len(d.ids))
	d.engine.add(node{event: &e, parents: parents})
	d.ids = append(d.ids, id)
	d.numbers[id] = n
	d.history += e.memory()
	for _, h := range e.Hunks {
		d.splices += len(h)
	}
	d.snapshots.update(d.engine)
	return id, nil
}

// find gives the ascending numbers of events, or the first that is not there.
func (d *Doc) find(ids []ID) (numbers []int32, missing *ID) {
	numbers = make([]int32, len(ids))
	for i := range ids {
		n, ok := d.numbers[ids[i]]
		if !ok {
			return nil, &ids[i]
		}
		numbers[i] = n
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}

// Has tells whether an event is there.
func (d *Doc) Has(id ID) bool {
	_, ok := d.numbers[id]
	return ok
}

// Heads is the current version: the events that no other has as an ancestor, ascending.
func (d *Doc) Heads() []ID {
	ids := make([]ID, len(d.engine.heads))
	for i, n := range d.engine.heads {
		ids[i] = d.ids[n]
	}
	return SortIDs(ids)
}

// Text is the current text. It costs one copy after a change, nothing when asked again.
func (d *Doc) Text() string { return d.engine.current().String() }

// Body is the current text in pieces: nothing is copied but where they are.
func (d *Doc) Body() *Body { return d.engine.current().body() }

// Len is the length of the current text in bytes.
func (d *Doc) Len() int { return d.engine.current().bytes }

// Memory is about how many bytes of memory the document takes: for deciding which to keep. Text is counted once, with the
// event that inserted it: the texts of versions are made of that, but for what lies next to edits, which is copied.
func (d *Doc) Memory() int {
	between := d.splices // between two snapshots
	if n := len(d.ids); n > 0 && d.snapshots.spacing > 0 {
		between = min(between, 1+d.splices*int(d.snapshots.spacing)/n)
	}
	g := d.engine
	n := 1024 + d.history + g.text.apart(d.splices)
	if g.shown != nil && g.shown != g.text {
		n += g.shown.apart(g.echoed)
	}
	for i := range d.snapshots.kept {
		n += d.snapshots.kept[i].text.apart(between)
	}
	for i := range d.snapshots.recent {
		n += d.snapshots.recent[i].text.apart(between)
	}
	for i := range d.views {
		n += d.views[i].text.apart(between)
	}
	if q := g.seq; q != nil {
		n += len(q.changes)*256 + len(q.leaves)*leafSize*64
		if q.baseText != nil {
			n += q.baseText.apart(d.splices)
		}
	}
	return n
}

func (e *Event) memory() int {
	n := 256 + len(e.Parents)*36
	for _, h := range e.Hunks {
		n += 24 + len(h)*32
		for i := range h {
			n += len(h[i].Ins)
		}
	}
	return n
}

// Events lists the events in the order they were added, parents first.
func (d *Doc) Events() []Event {
	es := make([]Event, len(d.engine.nodes))
	for i := range es {
		es[i] = *d.engine.nodes[i].event
	}
	return es
}

// Valid tells whether an event fits its parents; one that does not changes nothing.
func (d *Doc) Valid(id ID) bool {
	n, ok := d.numbers[id]
	return ok && d.engine.nodes[n].valid
}

// At is the text of a version: of the given events and all their ancestors. The error is ErrUnknownVersion where one is
// not here.
func (d *Doc) At(version []ID) (string, error) {
	r, err := d.at(version)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

// BodyAt is At for a text in pieces.
func (d *Doc) BodyAt(version []ID) (*Body, error) {
	r, err := d.at(version)
	if err != nil {
		return nil, err
	}
	return r.body(), nil
}

func (d *Doc) at(version []ID) (*rope, error) {
	v, missing := d.find(version)
	if missing != nil {
		return nil, fmt.Errorf("%w: no event %s", ErrUnknownVersion, missing)
	}
	if containsAll(v, d.engine.heads) {
		return d.engine.version(len(v)), nil
	}
	return d.view(v), nil
}

// view finds or makes the text of a version that is not the current one.
func (d *Doc) view(v []int32) *rope {
	for i := range d.views {
		if slices.Equal(d.views[i].version, v) {
			return d.views[i].text
		}
	}
	text := d.step(v)
	if text == nil {
		text = d.replay(v)
	}
	d.views = append(d.views, view{v, text})
	size := 0
	for i := len(d.views) - 1; i >= 0; i-- {
		size += d.views[i].text.bytes
		if n := len(d.views) - i; n > 1 && (n > viewCount || size > viewBytes) {
			d.views = slices.Delete(d.views, 0, i+1)
			break
		}
	}
	return text
}

// step makes the text of a version from a view that is one event behind, or gives nil.
func (d *Doc) step(v []int32) *rope {
	if len(v) != 1 {
		return nil
	}
	n := &d.engine.nodes[v[0]]
	for i := range d.views {
		if slices.Equal(d.views[i].version, n.parents) {
			text := d.views[i].text.clone()
			if n.valid {
				text.apply(n.event)
			}
			return text
		}
	}
	return nil
}

// replay makes the text of a version from the latest snapshot that all of it has seen.
func (d *Doc) replay(v []int32) *rope {
	if len(v) == 0 {
		return newRope("")
	}
	base, text := d.snapshots.before(v[0])
	g := newEngine(d.name, text)
	g.before = func(int32) (int32, *rope) {
		_, text := d.snapshots.before(v[0])
		return -1, text
	}
	past := d.engine.past(v, base)
	renumbered := make(map[int32]int32, len(past))
	for i, e := range past {
		renumbered[e] = int32(i)
		n := &d.engine.nodes[e]
		var parents []int32
		for _, p := range n.parents {
			if p > base {
				parents = append(parents, renumbered[p])
			}
		}
		g.add(node{event: n.event, parents: parents})
	}
	return g.version(len(v))
}

// past lists the events of a version that come after base, ascending.
func (g *engine) past(v []int32, base int32) []int32 {
	seen := map[int32]bool{}
	var out []int32
	todo := slices.Clone(v)
	for len(todo) > 0 {
		e := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if e <= base || seen[e] {
			continue
		}
		seen[e] = true
		out = append(out, e)
		todo = append(todo, g.nodes[e].parents...)
	}
	slices.Sort(out)
	return out
}

// reduce leaves out of a version the events that others of it have seen.
func (g *engine) reduce(v []int32) []int32 {
	if len(v) < 2 {
		return v
	}
	var heads []int32
	for i, e := range v {
		// Only later events can have seen it.
		if past := g.past(v[i+1:], e-1); len(past) == 0 || past[0] != e {
			heads = append(heads, e)
		}
	}
	return heads
}

// Ancestor tells whether every event of a is at or before some event of b. Events that are not here are before nothing.
func (d *Doc) Ancestor(a, b []ID) bool {
	va, missing := d.find(a)
	if missing != nil {
		return false
	}
	vb, missing := d.find(b)
	if missing != nil {
		return false
	}
	if len(va) == 0 {
		return true
	}
	if len(vb) == 0 {
		return false
	}
	g := d.engine
	// With a critical event between them, all of a is before b.
	if i, _ := slices.BinarySearch(g.critical, va[len(va)-1]); i < len(g.critical) && g.critical[i] <= vb[len(vb)-1] {
		return true
	}
	return containsAll(g.past(vb, va[0]-1), va)
}

// concluded lists the events and, where a version has several heads, one more that is made on them and does nothing: in its
// version their echoes are gone.
func (d *Doc) concluded(version []int32) []node {
	if len(version) < 2 {
		return d.engine.nodes
	}
	ids := make([]ID, len(version))
	for i, n := range version {
		ids[i] = d.ids[n]
	}
	return append(slices.Clip(d.engine.nodes), node{event: &Event{Parents: SortIDs(ids)}, parents: version})
}

// Span is a run of text that one event inserted.
type Span struct {
	Event ID
	Bytes int
	Runes int
}

// Blame divides the current text by the events that inserted it. Where several events made an equal hunk, it is that of
// the first that was added. It replays the whole history.
func (d *Doc) Blame() []Span { return d.blame(d.engine.heads, d.Text()) }

// BlameAt is Blame for a version. The error is ErrUnknownVersion where an event of it is not here.
func (d *Doc) BlameAt(version []ID) ([]Span, error) {
	text, err := d.At(version)
	if err != nil {
		return nil, err
	}
	v, _ := d.find(version)
	return d.blame(v, text), nil
}

// blame divides the text of a version.
func (d *Doc) blame(version []int32, text string) []Span {
	g := d.engine
	q := newSequence(d.name, -1, g.start)
	author := []int32{0}
	nodes := d.concluded(version)
	if len(nodes) > len(g.nodes) {
		version = []int32{int32(len(g.nodes))}
	}
	for e := range nodes {
		q.apply(nodes, e, nil)
		for len(author) < len(q.changes) {
			author = append(author, int32(e))
		}
	}
	s := q.seek(nodes, version)
	var spans []Span
	for _, l := range q.leaves {
		for i := range l.spans {
			x := &l.spans[i]
			if !q.visible(s, x) {
				continue
			}
			id := d.ids[author[x.change]]
			at := prefix(text, x.n)
			text = text[at:]
			if k := len(spans) - 1; k >= 0 && spans[k].Event == id {
				spans[k].Bytes += at
				spans[k].Runes += x.n
			} else {
				spans = append(spans, Span{id, at, x.n})
			}
		}
	}
	return spans
}
