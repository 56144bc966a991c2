package text

import "slices"

// seek gives the number of a slot that holds the version with the given heads.
func (q *sequence) seek(nodes []node, parents []int32) int {
	heads := make([]int32, 0, len(parents))
	for _, p := range parents {
		if p := p - int32(q.base) - 1; p >= 0 {
			heads = append(heads, p)
		}
	}
	best, shared := -1, false
	for i := range q.slots {
		sl := &q.slots[i]
		if slices.Equal(sl.heads, heads) {
			q.clock++
			sl.used = q.clock
			return i
		}
		if sl.pinned {
			continue
		}
		near := slices.ContainsFunc(sl.heads, func(h int32) bool { return contains(heads, h) })
		if best < 0 || near && !shared || near == shared && sl.used < q.slots[best].used {
			best, shared = i, near
		}
	}
	q.move(nodes, best, heads)
	q.clock++
	q.slots[best].used = q.clock
	return best
}

// pin is seek, and keeps the slot as it is until unpin. One slot at least has to stay free.
func (q *sequence) pin(nodes []node, parents []int32) int {
	s := q.seek(nodes, parents)
	q.slots[s].pinned = true
	return s
}

func (q *sequence) unpin() {
	for i := range q.slots {
		q.slots[i].pinned = false
	}
}

// move makes a slot hold another version.
func (q *sequence) move(nodes []node, s int, heads []int32) {
	sl := &q.slots[s]
	gone, come := q.between(nodes, sl.heads, heads)
	var off, on []int32
	for _, e := range gone {
		for _, c := range q.events[e].changes {
			if sl.events[c]--; sl.events[c] == 0 {
				off = append(off, c)
			}
		}
	}
	q.recount(s, off, -1)
	for _, e := range come {
		for _, c := range q.events[e].changes {
			if sl.events[c]++; sl.events[c] == 1 {
				on = append(on, c)
			}
		}
	}
	q.recount(s, on, 1)
	sl.heads = heads
}

// between lists the events that only one of two versions holds, the latest first. It looks at no event before the latest
// common ones: from the last one down, until none is left that only one side is known to hold.
func (q *sequence) between(nodes []node, a, b []int32) (onlyA, onlyB []int32) {
	const both = 3
	for len(q.side) < len(q.events) {
		q.side = append(q.side, 0)
	}
	top, low := int32(-1), int32(len(q.events)) // marks are in this range
	open := 0                                   // of them, those for one side
	mark := func(e int32, side uint8) {
		old := q.side[e]
		now := old | side
		q.side[e] = now
		if old == 0 && now != both {
			open++
		} else if old != 0 && old != both && now == both {
			open--
		}
		top, low = max(top, e), min(low, e)
	}
	for _, e := range a {
		mark(e, 1)
	}
	for _, e := range b {
		mark(e, 2)
	}
	e := top
	for ; open > 0; e-- {
		side := q.side[e]
		if side == 0 {
			continue
		}
		q.side[e] = 0
		switch side {
		case 1:
			onlyA = append(onlyA, e)
			open--
		case 2:
			onlyB = append(onlyB, e)
			open--
		}
		for _, p := range nodes[int(e)+q.base+1].parents {
			if p := p - int32(q.base) - 1; p >= 0 {
				mark(p, side)
			}
		}
	}
	if low <= e {
		clear(q.side[low : e+1])
	}
	return onlyA, onlyB
}
