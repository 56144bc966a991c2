package text

// run is a part where two sequences differ: a[a0:a1] became b[b0:b1].
type run struct{ a0, a1, b0, b1 int }

const (
	maxEdits = 1000    // edits searched exactly; longer scripts are found piece by piece
	minEdits = 64      // of a piece, however long the sequences
	maxSteps = 1 << 28 // length times edits of a piece
)

// differ lists where a and b differ, ascending and apart: the shortest script of Myers ("An O(ND) difference algorithm",
// 1986) up to maxEdits. Beyond, the way that came furthest is taken and the search starts again from its end, so time is
// bounded by length times edits and memory by the square of maxEdits, and the result is the same on every machine.
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
	i, j := p, p
	for i < len(a)-s || j < len(b)-s {
		i, j = m.piece(i, j, len(a)-s, len(b)-s)
	}
	return m.runs()
}

type myers struct {
	a, b       []int32
	gone, come []bool
	limit      int
	reach      []int32   // by diagonal: how far in a
	trace      [][]int32 // reach before each round
}

// piece searches from (i, j) towards (n, m), marks the script it found, and tells how far that goes.
func (m *myers) piece(i0, j0, n, mm int) (int, int) {
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
				return n, mm
			}
			if i <= len(x) && j <= len(y) && i+j > far {
				far, best = i+j, k
			}
		}
		if d == limit {
			i := int(v[off+best])
			m.mark(i0, j0, i, i-best, d)
			return i0 + i, j0 + i - best
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

func (m *myers) runs() []run {
	var out []run
	i, j := 0, 0
	for i < len(m.gone) || j < len(m.come) {
		r := run{a0: i, b0: j}
		for i < len(m.gone) && m.gone[i] {
			i++
		}
		for j < len(m.come) && m.come[j] {
			j++
		}
		r.a1, r.b1 = i, j
		if r.a0 == r.a1 && r.b0 == r.b1 {
			i++
			j++
			continue
		}
		out = append(out, r)
	}
	return out
}
