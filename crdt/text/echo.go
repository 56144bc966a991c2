package text

import (
	"cmp"
	"slices"
	"sort"
)

// maxSides is the number of heads up to which the echoes of a version are found.
const maxSides = 4

// An echo is text that one side of a merge says again. Where events that do not know of each other meet, as the parents
// of one event or as the heads of a text, what they show is compared between the characters that both show. Where they
// show the same there, it stands once: of every character that each inserted after they had parted, the one that comes
// later in Automerge's order is deleted, by one more change of the event that was made on them. So what both sides did on
// different versions, or in other steps, is one, as in git. Only the last text of each side counts: a side that goes on by
// itself is compared anew. What has a nonce, and what a third side deleted, has no echo.
//
// One side may have kept what the other took out and typed again: then the typed one stays in any case, the other being
// deleted already. Nothing is deleted where what stays would not be the text, in its order.
//
// That what stays comes earlier, character by character, is what makes it stay: whatever pairs of sides are compared, now
// and by whom else, the first of all that say the same is no echo.

// echo is part of a span that repeats another.
type echo struct {
	place
	from, n int // code points of the span in front of it, and its own
}

// echoes gives what is echo in a version, in its order, and the changes that inserted what it repeats. No span is cut or
// moved.
func (q *sequence) echoes(nodes []node, version []int32) (echoes []echo, kept []int32) {
	first := int32(q.base + 1)
	var heads []int32
	for _, p := range version {
		if p >= first {
			heads = append(heads, p-first)
		}
	}
	if len(heads) < 2 || len(heads) > maxSides {
		return nil, nil
	}
	type pair struct{ a, b int32 }
	only := map[pair][2][]int32{}
	seen := map[int32]bool{} // by another head
	for i, a := range heads {
		for _, b := range heads[i+1:] {
			onlyA, onlyB := q.between(nodes, []int32{a}, []int32{b})
			only[pair{a, b}] = [2][]int32{onlyA, onlyB}
			seen[a] = seen[a] || len(onlyA) == 0
			seen[b] = seen[b] || len(onlyB) == 0
		}
	}
	heads = slices.DeleteFunc(heads, func(h int32) bool { return seen[h] })
	for i, a := range heads {
		for _, b := range heads[i+1:] {
			m := meeting{sequence: q, nodes: nodes, heads: [2][]int32{{a}, {b}}, events: only[pair{a, b}]}
			if m.inserts(0) && m.inserts(1) {
				if m.all = -1; len(heads) > 2 {
					m.all = q.pin(nodes, version)
				}
				m.sides = [2]int{q.pin(nodes, []int32{a + first}), q.pin(nodes, []int32{b + first})}
				m.compare()
				q.unpin()
				echoes, kept = append(echoes, m.echoes...), append(kept, m.kept...)
			}
		}
	}
	return q.inOrder(echoes), kept
}

// compare orders places by where they are.
func (p place) compare(o place) int {
	if p.leaf != o.leaf {
		return p.leaf - o.leaf
	}
	return p.i - o.i
}

// meeting is two sides of a merge.
type meeting struct {
	*sequence
	nodes  []node
	heads  [2][]int32
	events [2][]int32         // that only one side holds; may be left out
	sides  [2]int             // their slots
	all    int                // the slot of the merge, -1 if there is no third side
	hunks  map[int32]*inserts // that were looked into, by change
	echoes []echo
	kept   []int32
}

func (m *meeting) event(e int32) *Event { return m.nodes[int(e)+m.base+1].event }

// inserts tells whether a side inserted anything at all.
func (m *meeting) inserts(side int) bool {
	for _, e := range m.events[side] {
		for _, h := range m.event(e).Hunks {
			if slices.ContainsFunc(h, func(s Splice) bool { return s.Ins != "" }) {
				return true
			}
		}
	}
	return false
}

// compare looks at every gap, the spans between two that both sides show, in which the side of fewer events inserted.
func (m *meeting) compare() {
	side := 0
	if len(m.events[1]) < len(m.events[0]) {
		side = 1
	}
	m.gaps(m.events[side], func(x *span) bool { return m.new(side, x) })
}

// gaps looks at the gaps of those spans that events touched and that in names.
func (m *meeting) gaps(events []int32, in func(*span) bool) {
	m.stamp++
	for _, e := range events {
		for _, c := range m.sequence.events[e].changes {
			for _, l := range m.changes[c].leaves {
				l.stamp = m.stamp
			}
		}
	}
	var done place // what is in front of it
	for li, l := range m.leaves {
		if l.stamp != m.stamp {
			continue
		}
		for i := range l.spans {
			at := place{leaf: li, i: i}
			if at.compare(done) < 0 || !in(&l.spans[i]) {
				continue
			}
			done = m.gap(m.start(at))
		}
	}
}

// echoesOfLast is echoes for two heads of which one is the event that was applied last, where there were none before it:
// they can only be where that event changed something.
func (q *sequence) echoesOfLast(nodes []node, heads []int32) []echo {
	m := meeting{sequence: q, nodes: nodes, all: -1}
	for i, h := range heads {
		m.sides[i] = q.pin(nodes, []int32{h})
		m.heads[i] = []int32{h - int32(q.base) - 1}
	}
	e := int32(len(q.events) - 1)
	changes := make(map[int32]bool, len(q.events[e].changes))
	for _, c := range q.events[e].changes {
		changes[c] = true
	}
	m.gaps([]int32{e}, func(x *span) bool {
		return changes[x.change] || slices.ContainsFunc(x.dels, func(d int32) bool { return changes[d] })
	})
	q.unpin()
	return q.inOrder(m.echoes)
}

// inOrder sorts echoes, joins those that touch, and counts what is in front of each span in the whole text.
func (q *sequence) inOrder(es []echo) []echo {
	slices.SortFunc(es, func(a, b echo) int { return cmp.Or(a.compare(b.place), a.from-b.from) })
	out := es[:0]
	for _, e := range es {
		if k := len(out) - 1; k >= 0 && out[k].place == e.place && e.from <= out[k].from+out[k].n {
			out[k].n = max(out[k].n, e.from+e.n-out[k].from)
			continue
		}
		out = append(out, e)
	}
	before, next := 0, 0
	for li := 0; li < len(q.leaves) && next < len(out); li++ {
		l := q.leaves[li]
		if out[next].leaf != li {
			before += l.visible[allSlot]
			continue
		}
		for i := range l.spans {
			for ; next < len(out) && out[next].leaf == li && out[next].i == i; next++ {
				out[next].before = before
			}
			if len(l.spans[i].dels) == 0 {
				before += l.spans[i].n
			}
		}
	}
	return out
}

// new tells whether a side shows a span that the other has never seen.
func (m *meeting) new(side int, x *span) bool {
	return m.visible(m.sides[side], x) && m.slots[m.sides[1-side]].events[x.change] == 0
}

// start is where the gap that a place is in starts.
func (m *meeting) start(p place) place {
	for {
		for p.i == 0 {
			if p.leaf == 0 {
				return p
			}
			p = place{leaf: p.leaf - 1, i: len(m.leaves[p.leaf-1].spans)}
		}
		if x := &m.leaves[p.leaf].spans[p.i-1]; m.visible(m.sides[0], x) && m.visible(m.sides[1], x) {
			return p
		}
		p.i--
	}
}

// gap looks at the gap that starts at a place and tells where it ends.
func (m *meeting) gap(start place) (end place) {
	var n, typed [2]int // code points that each side shows, and those of them that only it has seen
	for end = start; m.inGap(&end); end.i++ {
		x := m.at(end)
		for side, s := range m.sides {
			if m.visible(s, x) {
				n[side] += x.n
				if m.new(side, x) {
					typed[side] += x.n
				}
			}
		}
	}
	if n[0] != n[1] || typed[0] == 0 || typed[1] == 0 {
		return end
	}
	var shown [2][]place
	for p := start; m.inGap(&p); p.i++ {
		for side, s := range m.sides {
			if m.visible(s, m.at(p)) {
				shown[side] = append(shown[side], p)
			}
		}
	}
	matches := m.matches(shown[0], shown[1])
	if echoes, kept := m.decide(matches); len(echoes) > 0 && m.alike(matches) {
		m.echoes, m.kept = append(m.echoes, echoes...), append(m.kept, slices.Compact(kept)...)
	}
	return end
}

// match is a part of a gap: what each side shows there is part of one span. before is not counted yet.
type match [2]echo

// matches cuts what two sides show, which is of one length, into such parts.
func (m *meeting) matches(a, b []place) (out []match) {
	for from := [2]int{}; len(a) > 0; {
		n := min(m.at(a[0]).n-from[0], m.at(b[0]).n-from[1])
		out = append(out, match{{a[0], from[0], n}, {b[0], from[1], n}})
		for side, list := range []*[]place{&a, &b} {
			if from[side] += n; from[side] == m.at((*list)[0]).n {
				*list, from[side] = (*list)[1:], 0
			}
		}
	}
	return out
}

// decide finds out which of two texts that are alike are echoes, part by part.
func (m *meeting) decide(matches []match) (echoes []echo, kept []int32) {
	deleted := func(p place) bool { return m.all >= 0 && !m.visible(m.all, m.at(p)) } // by a third side
	var last echo                                                                     // that stays
	for _, p := range matches {
		first, second := m.new(0, m.at(p[0].place)), m.new(1, m.at(p[1].place))
		if !first && !second {
			return nil, nil // each took out what the other kept
		}
		stays, goes := p[0], p[1]
		if !first || second && p[1].compare(p[0].place) < 0 {
			stays, goes = goes, stays
		}
		if deleted(stays.place) || cmp.Or(stays.compare(last.place), stays.from-last.from) < 0 {
			return nil, nil
		}
		if last = stays; first && second && !deleted(goes.place) {
			echoes, kept = append(echoes, goes), append(kept, m.at(stays.place).change)
		}
	}
	return echoes, kept
}

// inGap tells whether there is a span at a place that not both sides show. A place behind a leaf becomes the next one's.
func (m *meeting) inGap(p *place) bool {
	for p.leaf < len(m.leaves) && p.i == len(m.leaves[p.leaf].spans) {
		*p = place{leaf: p.leaf + 1}
	}
	return p.leaf < len(m.leaves) && !(m.visible(m.sides[0], m.at(*p)) && m.visible(m.sides[1], m.at(*p)))
}

func (m *meeting) at(p place) *span { return &m.leaves[p.leaf].spans[p.i] }

// alike compares the texts of matches: first what both sides typed, which is at hand. What has a nonce is like nothing else.
func (m *meeting) alike(matches []match) bool {
	for _, typed := range []bool{true, false} {
		for _, p := range matches {
			a, b := m.at(p[0].place), m.at(p[1].place)
			if typed != (m.new(0, a) && m.new(1, b)) {
				continue
			}
			if typed && (m.changes[a.change].nonce || m.changes[b.change].nonce) || m.text(p[0]) != m.text(p[1]) {
				return false
			}
		}
	}
	return true
}

// text is that of part of a span.
func (m *meeting) text(e echo) string {
	x := *m.at(e.place)
	x.first, x.n = x.first+e.from, e.n
	if x.change == 0 {
		return m.atBase().part(x.first-1, x.n)
	}
	if m.hunks == nil {
		m.hunks = map[int32]*inserts{}
	}
	h, ok := m.hunks[x.change]
	if !ok {
		h = &inserts{hunk: m.changes[x.change].hunk}
		m.hunks[x.change] = h
	}
	return h.text(m.changes[x.change].last, x)
}

// atBase is the text that the sequence starts from.
func (q *sequence) atBase() *rope {
	if q.baseText == nil {
		q.baseText = q.findBase()
	}
	return q.baseText
}

// inserts is a hunk whose insertions are looked up.
type inserts struct {
	hunk  Hunk
	first []int // by splice: the counter of the first code point it inserts; descending, since the first took effect last
}

// text is that of a span of the change that the hunk is, of which last is the greatest counter.
func (h *inserts) text(last int, x span) string {
	if h.first == nil {
		h.first = make([]int, len(h.hunk))
		for k, s := range h.hunk {
			n := runeCount(s.Ins)
			h.first[k] = last - n + 1
			last -= n + s.Del
		}
	}
	k := sort.Search(len(h.first), func(k int) bool { return h.first[k] <= x.first })
	if k == len(h.first) {
		return ""
	}
	t := h.hunk[k].Ins
	t = t[prefix(t, x.first-h.first[k]):]
	return t[:prefix(t, x.n)]
}

// silence deletes the echoes of an event's parents, in the version of slot s, as one change of the event, if there are
// any.
func (q *sequence) silence(s int, e *Event, echoes []echo, kept []int32, start int, out *rope) (c int32, ok bool) {
	if len(echoes) == 0 {
		return 0, false
	}
	sl := &q.slots[s]
	id := e.EchoChangeID(q.text)
	if c, ok := q.byID[id]; ok { // of another event on the same parents
		sl.events[c] = 1
		q.recount(s, []int32{c}, 1)
		return c, true
	}
	c = q.newChange(id)
	sl.events[c] = 1
	for i := range q.slots {
		q.slots[i].hint = hint{}
	}
	ops := make([]Op, len(echoes))
	// From the last to the first, none moves what is in front of those still to come.
	for k := len(echoes) - 1; k >= 0; k-- {
		p := q.isolate(echoes[k], echoes[:k])
		l := q.leaves[p.leaf]
		x := &l.spans[p.i]
		if len(x.dels) == 0 {
			if out != nil {
				out.splice(echoes[k].before+echoes[k].from, x.n, "", 0)
			}
			l.visible[allSlot] -= x.n
		}
		ops[k] = Op{At: OpID{q.changes[x.change].id, x.first}, Delete: x.n}
		l.visible[s] -= x.n
		sl.length -= x.n
		x.dels = append(x.dels, c)
		x.gone[s]++
		q.note(c, l)
		start += x.n
	}
	if q.record != nil {
		for _, op := range ops {
			q.record(c, op)
		}
	}
	q.changes[c].last = start
	q.changes[c].kept = kept
	return c, true
}

// isolate cuts an echo out of its span and tells where it is then. The echoes in front of it stay where they are, or move
// with their leaf's second half.
func (q *sequence) isolate(e echo, inFront []echo) place {
	p := e.place
	cut := func(n int) {
		leaves, leaf := len(q.leaves), p.leaf
		p.leaf, p.i = q.cut(p.leaf, p.i, n)
		if len(q.leaves) == leaves {
			return
		}
		for k := len(inFront) - 1; k >= 0 && inFront[k].leaf == leaf; k-- {
			if half := leafSize / 2; inFront[k].i >= half {
				inFront[k].leaf, inFront[k].i = leaf+1, inFront[k].i-half
			}
		}
	}
	if e.from+e.n < q.leaves[p.leaf].spans[p.i].n {
		cut(e.from + e.n)
		p.i--
	}
	if e.from > 0 {
		cut(e.from)
	}
	return p
}
