package text

import "slices"

// run is a part where two sequences differ: a[a0:a1] became b[b0:b1].
type run struct{ a0, a1, b0, b1 int }

const (
	maxEdits = 1000    // edits searched exactly; longer scripts are found piece by piece
	minEdits = 64      // of a piece, however long the sequences
	maxSteps = 1 << 28 // length times edits of a piece
)

// differ lists where a and b differ, ascending and apart: the shortest script of Myers ("An O(ND) difference algorithm",
// 1986) up to maxEdits. Where there are more, what is in both just once, in the same order, holds the two together (the
// "patience" diff), and the search goes on between. Where that does not help either, the way that came furthest is taken
// and the search starts again from its end. So time is bounded by length times edits and memory by the square of maxEdits,
// and the result is the same on every machine.
func differ(a, b []int32) []run {
	p := 0
	for p < len(a) && p < len(b) && a[p] == b[p] {
		p++
	}
	s := 0
	for s < len(a)-p && s < len(b)-p && a[len(a)-1-s] == b[len(b)-1-s] {
		s++
	}
	m := myers{a: a, b: b, gone: make([]bool, len(a)), come: make([]bool, len(b))}
	m.limit = min(maxEdits, max(minEdits, maxSteps/(len(a)+len(b)+1)))
	m.between(p, p, len(a)-s, len(b)-s, 0)
	return marked(m.gone, m.come)
}

// maxDepth bounds how often what is between two anchors is divided by anchors again.
const maxDepth = 8

// between marks the script from (i, j) to (n, mm).
func (m *myers) between(i, j, n, mm, depth int) {
	if _, _, ok := m.piece(i, j, n, mm, false); ok {
		return
	}
	if depth < maxDepth {
		if at := anchors(m.a[i:n], m.b[j:mm]); len(at) > 0 {
			i0, j0 := i, j
			for _, x := range at {
				m.between(i, j, i0+x[0], j0+x[1], depth+1)
				i, j = i0+x[0]+1, j0+x[1]+1
			}
			m.between(i, j, n, mm, depth+1)
			return
		}
	}
	for i < n || j < mm {
		i, j, _ = m.piece(i, j, n, mm, true)
	}
}

// anchors pairs what is once in a and once in b: as many pairs as ascend in both.
func anchors(a, b []int32) [][2]int {
	type place struct{ inA, inB, timesA, timesB int }
	places := map[int32]*place{}
	for i, x := range a {
		if p := places[x]; p != nil {
			p.timesA++
		} else {
			places[x] = &place{inA: i, timesA: 1}
		}
	}
	for j, x := range b {
		if p := places[x]; p != nil {
			p.inB = j
			p.timesB++
		}
	}
	// The longest ascending part of the places in b, taken in the order of a.
	type pair struct{ i, j, before int }
	var pairs []pair
	var ends []int // of the best parts of each length: their last pair
	for i, x := range a {
		p := places[x]
		if p.timesA != 1 || p.timesB != 1 {
			continue
		}
		k, _ := slices.BinarySearchFunc(ends, p.inB, func(e, j int) int { return pairs[e].j - j })
		before := -1
		if k > 0 {
			before = ends[k-1]
		}
		pairs = append(pairs, pair{i, p.inB, before})
		if k == len(ends) {
			ends = append(ends, len(pairs)-1)
		} else {
			ends[k] = len(pairs) - 1
		}
	}
	out := make([][2]int, len(ends))
	if len(ends) > 0 {
		for k, e := len(ends)-1, ends[len(ends)-1]; k >= 0; k, e = k-1, pairs[e].before {
			out[k] = [2]int{pairs[e].i, pairs[e].j}
		}
	}
	return out
}

type myers struct {
	a, b       []int32
	gone, come []bool
	limit      int
	reach      []int32   // by diagonal: how far in a
	trace      [][]int32 // reach before each round
}

// piece searches from (i, j) towards (n, mm), marks the script it found, and tells how far that goes. Where the limit is
// met it marks the best part of a script, or, if no part is wanted, nothing.
func (m *myers) piece(i0, j0, n, mm int, part bool) (i, j int, ok bool) {
	x, y := m.a[i0:n], m.b[j0:mm]
	limit := min(m.limit, len(x)+len(y))
	off := limit + 1
	if len(m.reach) < 2*off+1 {
		m.reach = make([]int32, 2*off+1)
	}
	v := m.reach
	v[off+1] = 0
	for d := 0; ; d++ {
		if d < len(m.trace) {
			m.trace[d] = append(m.trace[d][:0], v[off-d:off+d+2]...)
		} else {
			m.trace = append(m.trace, append([]int32(nil), v[off-d:off+d+2]...))
		}
		far, best := -1, 0
		for k := -d; k <= d; k += 2 {
			var i int
			if k == -d || k != d && v[off+k-1] < v[off+k+1] {
				i = int(v[off+k+1])
			} else {
				i = int(v[off+k-1]) + 1
			}
			j := i - k
			for i < len(x) && j >= 0 && j < len(y) && x[i] == y[j] {
				i++
				j++
			}
			v[off+k] = int32(i)
			if i == len(x) && j == len(y) {
				m.mark(i0, j0, i, j, d)
				return n, mm, true
			}
			if i <= len(x) && j <= len(y) && i+j > far {
				far, best = i+j, k
			}
		}
		if d == limit && !part {
			return i0, j0, false
		}
		if d == limit {
			i := int(v[off+best])
			m.mark(i0, j0, i, i-best, d)
			return i0 + i, j0 + i - best, true
		}
	}
}

// mark walks the way to (i, j), which took d edits, back to its start.
func (m *myers) mark(i0, j0, i, j, d int) {
	for ; d > 0; d-- {
		t := m.trace[d] // of diagonals -d to d+1
		k := i - j
		if k == -d || k != d && t[k-1+d] < t[k+1+d] {
			pi := int(t[k+1+d])
			i, j = pi, pi-k-1
			m.come[j0+j] = true
		} else {
			pi := int(t[k-1+d])
			i, j = pi, pi-k+1
			m.gone[i0+i] = true
		}
	}
}
