package text

import (
	"container/heap"
	"slices"
)

// seek gives the number of a slot that holds the version with the given heads.
func (q *sequence) seek(nodes []node, parents []int32) int {
	heads := make([]int32, 0, len(parents))
	for _, p := range parents {
		if p := p - int32(q.base) - 1; p >= 0 {
			heads = append(heads, p)
		}
	}
	best, shared := 0, false
	for i := range q.slots {
		sl := &q.slots[i]
		if slices.Equal(sl.heads, heads) {
			q.clock++
			sl.used = q.clock
			return i
		}
		near := slices.ContainsFunc(sl.heads, func(h int32) bool { return contains(heads, h) })
		if near && !shared || near == shared && sl.used < q.slots[best].used {
			best, shared = i, near
		}
	}
	q.move(nodes, best, heads)
	q.clock++
	q.slots[best].used = q.clock
	return best
}

// move makes a slot hold another version.
func (q *sequence) move(nodes []node, s int, heads []int32) {
	sl := &q.slots[s]
	gone, come := q.between(nodes, sl.heads, heads)
	var touched []int32
	for _, e := range gone {
		for _, c := range q.events[e].changes {
			if sl.events[c]--; sl.events[c] == 0 {
				touched = append(touched, c)
			}
		}
	}
	for _, e := range come {
		for _, c := range q.events[e].changes {
			if sl.events[c]++; sl.events[c] == 1 {
				touched = append(touched, c)
			}
		}
	}
	q.recount(s, touched)
	sl.heads = heads
}

// between lists the events that only one of two versions holds. It looks at no event below the common ones.
func (q *sequence) between(nodes []node, a, b []int32) (onlyA, onlyB []int32) {
	const both = 3
	side := map[int32]uint8{}
	var todo numbers
	open := 0 // of todo, those on one side
	push := func(e int32, f uint8) {
		old := side[e]
		if old == 0 {
			heap.Push(&todo, e)
		}
		now := old | f
		side[e] = now
		if old != 0 && old != both && now == both {
			open--
		} else if old == 0 && now != both {
			open++
		}
	}
	for _, e := range a {
		push(e, 1)
	}
	for _, e := range b {
		push(e, 2)
	}
	for open > 0 {
		e := heap.Pop(&todo).(int32)
		f := side[e]
		switch f {
		case 1:
			onlyA = append(onlyA, e)
			open--
		case 2:
			onlyB = append(onlyB, e)
			open--
		}
		for _, p := range nodes[int(e)+q.base+1].parents {
			if p := p - int32(q.base) - 1; p >= 0 {
				push(p, f)
			}
		}
	}
	return onlyA, onlyB
}

// numbers is a heap of event numbers, the greatest on top.
type numbers []int32

func (n numbers) Len() int           { return len(n) }
func (n numbers) Less(i, j int) bool { return n[i] > n[j] }
func (n numbers) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *numbers) Push(x any)        { *n = append(*n, x.(int32)) }
func (n *numbers) Pop() any {
	old := *n
	x := old[len(old)-1]
	*n = old[:len(old)-1]
	return x
}
