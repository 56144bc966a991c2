package text

import (
	"slices"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// sequence replays events that were made on different versions. It is a list of spans in Automerge's order: an insertion
// goes behind the character that stood on its left in its parents' text, past every span there of a greater id (counter,
// then actor). A span is a run of code points that one change inserted one after the other, and nothing has cut. Deleted
// spans stay, since insertions of others may hang on them. There are no characters in it, only lengths.
//
// What a span is to a version is computed from the changes in that version. A few versions are kept in slots, with the
// number of visible code points of every leaf: a position in one of them is found by adding leaf counts. An event on a
// version that no slot holds moves the slot that is nearest, for which only the leaves of the changes in between are
// looked at.
//
// Counters are relative to the base, which takes 1 to its length. This keeps the order: everything later has greater
// counters than everything at the base, and among what is later counters are shifted by a constant.
type sequence struct {
	text    Node
	base    int // number of the critical event that it starts from, -1 for the empty text
	next    int // number of the first event that it has not seen
	leaves  []*leaf
	changes []change // 0 is the base
	events  []replayed
	byID    map[ID]int32 // changes by their id
	slots   [slotCount]slot
	side    []uint8 // of between: marks on events, all zero outside of it
	clock   int
	stamp   int
	record  func(change int32, op Op) // told of every operation, if set
	broken  rule

	findBase func() *rope // makes the text that it starts from; never asked where that is empty
	baseText *rope        // the same once it was asked for
}

const (
	slotCount = 4
	allSlot   = slotCount // counts of the version that holds everything
)

var leafSize = 64 // spans of a leaf; tests make it small

// span is a run of code points with consecutive counters, each inserted behind the one before.
type span struct {
	change int32
	n      int              // code points
	first  int              // counter of the first
	dels   []int32          // changes that deleted it, ascending
	gone   [slotCount]int32 // of them, by slot: how many its version holds
}

type leaf struct {
	spans   []span
	visible [slotCount + 1]int // code points, by slot
	stamp   int
}

type change struct {
	id     ID
	hunk   Hunk    // that it is, if it is one
	nonce  bool    // it has one
	last   int     // counter of its last operation
	leaves []*leaf // at least those that hold a span it inserted or deleted
	kept   []int32 // of one that deletes echoes: the changes that inserted what they repeat
}

// replayed is what an event became.
type replayed struct {
	changes []int32 // of its hunks, and the one that deletes the echoes of its parents, if there are any
	hunks   int     // of them, those of hunks: all, or none if it does not fit its parents
	last    int     // greatest counter of its version
}

// slot is one version.
type slot struct {
	heads  []int32 // its events that no other of it has seen, relative to the base
	pinned bool    // it is not to be moved
	events []int32 // by change: how many of its events hold it
	length int     // code points it shows
	hint   hint
	used   int
}

// hint is where the last edit of a slot's version was: a leaf, and the code points in front of it.
type hint struct{ leaf, visible, before int }

// rule is one of those that make the order Automerge's. Tests break them one at a time, to see that it is noticed.
type rule int

const (
	_ rule = iota
	byCounter
	byActor
	deletionCounts
	lastSpliceFirst
	deletionFirst
	equalHunksOnce
	behindVisible
	afterParents
	echoesDeleted
)

func newSequence(text Node, base, length int) *sequence {
	q := &sequence{text: text, base: base, next: base + 1, byID: map[ID]int32{}, changes: []change{{last: length}}, leaves: []*leaf{{}}}
	if length > 0 {
		q.leaves[0].spans = []span{{n: length, first: 1}}
	}
	for i := range q.leaves[0].visible {
		q.leaves[0].visible[i] = length
	}
	for i := range q.slots {
		q.slots[i].events, q.slots[i].length = []int32{1}, length
	}
	return q
}

// place is a border between two spans: in front of span i of a leaf. before counts the code points of the whole text
// (the version that holds everything) on its left.
type place struct {
	leaf, i, before int
}

// apply replays the event with number e, the next one, and makes its effect on out, the text of all events before it, if
// there is one. It tells whether the event fits its parents.
func (q *sequence) apply(nodes []node, e int, out *rope) bool {
	n := &nodes[e]
	s := q.seek(nodes, n.parents)
	sl := &q.slots[s]
	r := replayed{last: q.changes[0].last}
	for _, p := range n.parents {
		if p := int(p) - q.base - 1; p >= 0 {
			r.last = max(r.last, q.events[p].last)
		}
	}
	echo, echoed := int32(0), false
	if k := len(n.event.Parents); k > 1 && k <= maxSides && q.broken != echoesDeleted {
		echoes, kept := q.echoes(nodes, n.parents)
		s = q.seek(nodes, n.parents)
		sl = &q.slots[s]
		if echo, echoed = q.silence(s, n.event, echoes, kept, r.last, out); echoed {
			r.last = max(r.last, q.changes[echo].last)
		}
	}
	start := r.last
	if q.broken == afterParents {
		start = q.changes[0].last
	}
	ok := n.event.fits(sl.length)
	if ok {
		r.hunks = len(n.event.Hunks)
		r.changes = make([]int32, r.hunks, r.hunks+1)
		ids := n.event.changeIDs(q.text)
		var equal []int32 // changes that a concurrent event made already
		// Hunks see the parents' text, not each other. From the last to the first, none moves those still to come.
		for i := len(r.changes) - 1; i >= 0; i-- {
			c, known := q.byID[ids[i]]
			if known && q.broken != equalHunksOnce {
				equal = append(equal, c)
			} else {
				c = q.newChange(ids[i])
				sl.events[c] = 1
				q.changes[c].hunk, q.changes[c].nonce = n.event.Hunks[i], len(n.event.Nonce) > 0
				q.changes[c].last = q.splice(s, c, start, n.event.Hunks[i], out)
			}
			r.changes[i] = c
			r.last = max(r.last, q.changes[c].last)
		}
		for _, c := range equal {
			sl.events[c] = 1
		}
		q.recount(s, equal, 1)
	}
	if echoed {
		r.changes = append(r.changes, echo)
	}
	q.events = append(q.events, r)
	q.next = e + 1
	sl.heads = append(sl.heads[:0], int32(e-q.base-1))
	return ok
}

func (q *sequence) newChange(id ID) int32 {
	c := int32(len(q.changes))
	q.changes = append(q.changes, change{id: id})
	q.byID[id] = c
	for i := range q.slots {
		q.slots[i].events = append(q.slots[i].events, 0)
	}
	return c
}

// splice makes a hunk in the version of a slot as change c, whose counters follow start, and returns the last of them.
func (q *sequence) splice(s int, c int32, start int, h Hunk, out *rope) int {
	ctr := start
	for k := len(h) - 1; k >= 0; k-- {
		sp := h[k]
		if q.broken == lastSpliceFirst {
			sp = h[len(h)-1-k]
			for _, before := range h[:len(h)-1-k] {
				sp.Pos += runeCount(before.Ins) - before.Del
			}
		}
		n := runeCount(sp.Ins)
		if q.broken == deletionFirst && n > 0 {
			ctr = q.insert(s, c, ctr, sp.Pos, n, sp.Ins, out)
			ctr = q.delete(s, c, ctr, sp.Pos+n, sp.Del, out)
			continue
		}
		ctr = q.delete(s, c, ctr, sp.Pos, sp.Del, out)
		if n > 0 {
			ctr = q.insert(s, c, ctr, sp.Pos, n, sp.Ins, out)
		}
	}
	return ctr
}

// visible tells whether a slot's version shows a span.
func (q *sequence) visible(s int, x *span) bool {
	return x.gone[s] == 0 && q.slots[s].events[x.change] != 0
}

// behind finds the border behind the pos-th visible code point of a slot's version, and cuts there.
func (q *sequence) behind(s, pos int) place {
	var p place
	h := q.slots[s].hint
	if pos <= h.visible/2 { // nearer to the start than to the last edit
		h = hint{}
	}
	for h.leaf > 0 && pos <= h.visible {
		h.leaf--
		h.visible -= q.leaves[h.leaf].visible[s]
		h.before -= q.leaves[h.leaf].visible[allSlot]
	}
	for pos > h.visible+q.leaves[h.leaf].visible[s] {
		h.visible += q.leaves[h.leaf].visible[s]
		h.before += q.leaves[h.leaf].visible[allSlot]
		h.leaf++
	}
	// The edit will be here or behind: what is counted up to here stays as it is.
	for i := range q.slots {
		if q.slots[i].hint.leaf > h.leaf {
			q.slots[i].hint = hint{}
		}
	}
	q.slots[s].hint = h
	if pos == 0 {
		return p
	}
	pos -= h.visible
	p.leaf, p.before = h.leaf, h.before
	l := q.leaves[p.leaf]
	for {
		x := &l.spans[p.i]
		n := x.n
		if q.visible(s, x) {
			if pos < n {
				if len(x.dels) == 0 {
					p.before += pos
				}
				p.leaf, p.i = q.cut(p.leaf, p.i, pos)
				return p
			}
			pos -= n
		}
		if len(x.dels) == 0 {
			p.before += n
		}
		p.i++
		if pos == 0 {
			return p
		}
	}
}

// cut splits a span behind n code points and tells where the second part is: in the same leaf as the first.
func (q *sequence) cut(li, i, n int) (int, int) {
	l := q.leaves[li]
	x := &l.spans[i]
	rest := span{change: x.change, n: x.n - n, first: x.first + n, dels: slices.Clip(x.dels), gone: x.gone}
	x.n, x.dels = n, rest.dels
	q.weigh(l, &rest, -1)
	return q.put(li, i+1, rest)
}

// put places a span in front of span i of a leaf, splitting a leaf that is full, and tells where it is.
func (q *sequence) put(li, i int, x span) (int, int) {
	l := q.leaves[li]
	if len(l.spans) == leafSize {
		half := leafSize / 2
		right := &leaf{spans: append(make([]span, 0, leafSize), l.spans[half:]...)}
		clear(l.spans[half:])
		l.spans = l.spans[:half]
		q.leaves = slices.Insert(q.leaves, li+1, right)
		for k := range right.spans {
			y := &right.spans[k]
			q.weigh(l, y, -1)
			q.weigh(right, y, 1)
			q.note(y.change, right)
			for _, d := range y.dels {
				q.note(d, right)
			}
		}
		if i > half {
			l, li, i = right, li+1, i-half
		}
	}
	l.spans = slices.Insert(l.spans, i, x)
	q.weigh(l, &x, 1)
	q.note(x.change, l)
	for _, d := range x.dels {
		q.note(d, l)
	}
	return li, i
}

// weigh adds a span to the counts of a leaf, or takes it away.
func (q *sequence) weigh(l *leaf, x *span, sign int) {
	for s := range q.slots {
		if q.visible(s, x) {
			l.visible[s] += sign * x.n
			q.slots[s].length += sign * x.n
		}
	}
	if len(x.dels) == 0 {
		l.visible[allSlot] += sign * x.n
	}
}

// note records that a leaf holds a span that a change inserted or deleted.
func (q *sequence) note(c int32, l *leaf) {
	if c == 0 {
		return // the base is in every version: nothing asks
	}
	if x := &q.changes[c]; len(x.leaves) == 0 || x.leaves[len(x.leaves)-1] != l {
		x.leaves = append(x.leaves, l)
	}
}

// recount follows changes that have come into a slot's version (sign 1) or gone from it (-1).
func (q *sequence) recount(s int, changes []int32, sign int32) {
	q.slots[s].hint = hint{}
	if len(changes) > len(q.leaves) {
		for _, l := range q.leaves {
			for i := range l.spans {
				x := &l.spans[i]
				x.gone[s] = 0
				for _, d := range x.dels {
					if q.slots[s].events[d] != 0 {
						x.gone[s]++
					}
				}
			}
			q.count(s, l)
		}
		return
	}
	for _, c := range changes {
		q.stamp++
		for _, l := range q.changes[c].leaves {
			if l.stamp == q.stamp {
				continue // noted twice
			}
			l.stamp = q.stamp
			for i := range l.spans {
				if x := &l.spans[i]; contains(x.dels, c) {
					x.gone[s] += sign
				}
			}
			q.count(s, l)
		}
	}
}

// count adds up what a slot's version shows of a leaf.
func (q *sequence) count(s int, l *leaf) {
	n := 0
	for i := range l.spans {
		if x := &l.spans[i]; q.visible(s, x) {
			n += x.n
		}
	}
	q.slots[s].length += n - l.visible[s]
	l.visible[s] = n
}

// delete marks n visible code points at pos as deleted by change c.
func (q *sequence) delete(s int, c int32, ctr, pos, n int, out *rope) int {
	if n == 0 {
		return ctr
	}
	if q.broken != deletionCounts {
		ctr += n
	}
	p := q.behind(s, pos)
	for n > 0 {
		l := q.leaves[p.leaf]
		if p.i == len(l.spans) || p.i == 0 && l.visible[s] == 0 {
			if p.i == 0 {
				p.before += l.visible[allSlot]
			}
			p.leaf, p.i = p.leaf+1, 0
			continue
		}
		x := &l.spans[p.i]
		if !q.visible(s, x) {
			if len(x.dels) == 0 {
				p.before += x.n
			}
			p.i++
			continue
		}
		if x.n > n {
			li, i := q.cut(p.leaf, p.i, n)
			p.leaf, p.i = li, i-1
			l = q.leaves[p.leaf]
			x = &l.spans[p.i]
		}
		if len(x.dels) == 0 {
			l.visible[allSlot] -= x.n
			if out != nil {
				out.splice(p.before, x.n, "", 0)
			}
		}
		if q.record != nil {
			q.record(c, Op{At: OpID{q.changes[x.change].id, x.first}, Delete: x.n})
		}
		x.dels = append(x.dels, c)
		x.gone[s]++
		l.visible[s] -= x.n
		q.slots[s].length -= x.n
		q.note(c, l)
		n -= x.n
		p.i++
	}
	return ctr
}

// insert places n code points behind the pos-th visible one, as change c.
func (q *sequence) insert(s int, c int32, ctr, pos, n int, ins string, out *rope) int {
	p := q.behind(s, pos)
	if q.record != nil {
		op := Op{Insert: ins}
		if pos > 0 {
			x := &q.leaves[p.leaf].spans[p.i-1]
			op.At = OpID{q.changes[x.change].id, x.first + x.n - 1}
		}
		q.record(c, op)
	}
	if q.broken == behindVisible { // behind the tombstones that follow, too
		for l := q.leaves[p.leaf]; p.i < len(l.spans) && !q.visible(s, &l.spans[p.i]); p.i++ {
			if len(l.spans[p.i].dels) == 0 {
				p.before += l.spans[p.i].n
			}
		}
	}
	for {
		l := q.leaves[p.leaf]
		if p.i == len(l.spans) {
			if p.leaf == len(q.leaves)-1 {
				break
			}
			p.leaf, p.i = p.leaf+1, 0
			continue
		}
		x := &l.spans[p.i]
		if !q.greater(x, ctr+1, c) {
			break
		}
		if len(x.dels) == 0 {
			p.before += x.n
		}
		p.i++
	}
	q.put(p.leaf, p.i, span{change: c, n: n, first: ctr + 1})
	if out != nil {
		out.splice(p.before, 0, ins, n)
	}
	return ctr + n
}

// greater tells whether a span's id is greater than that of an insertion with counter ctr by change c.
func (q *sequence) greater(x *span, ctr int, c int32) bool {
	if x.first != ctr && q.broken != byCounter {
		return x.first > ctr
	}
	if x.change == 0 {
		return false
	}
	if q.broken == byActor || fault.On("text-order") {
		return q.changes[x.change].id.Compare(q.changes[c].id) < 0
	}
	return q.changes[x.change].id.Compare(q.changes[c].id) > 0
}
