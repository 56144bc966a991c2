package text

import "slices"

// Change is one change of the Automerge document that a text is.
type Change struct {
	Actor ID    // who made it, and has made no other
	Deps  []int // numbers of the changes it was made on that no other of them has seen; none: the genesis
	Start int   // counter of its first operation
	Ops   []Op  // in order
}

// OpID names an operation. The zero OpID is the start of the text.
type OpID struct {
	Actor   ID
	Counter int
}

// Op is a run of operations, one for each code point, that either delete or insert.
type Op struct {
	At     OpID   // the first code point to delete, or the one to insert behind
	Delete int    // code points with consecutive counters, each deleted by an operation of its own
	Insert string // each code point behind the one before
}

// own gives the changes of an event that no other of its changes has seen.
func (r *replayed) own() []int32 {
	if r.hunks > 0 {
		return r.changes[:r.hunks]
	}
	return r.changes
}

// echo gives the change of an event that deletes the echoes of its parents: its hunks are made on it.
func (r *replayed) echo() (c int32, ok bool) {
	if len(r.changes) == r.hunks {
		return 0, false
	}
	return r.changes[r.hunks], true
}

// genesisOps is the number of operations of the genesis, the change that makes the empty text. Counters go on from there.
const genesisOps = 1

// Changes gives the changes of a text, each after those it was made on. Events come after their parents, else the error is
// ErrMissingParent. An event that changes nothing is a change without operations.
func Changes(node Node, events []Event) ([]Change, error) {
	d := NewDoc(node)
	for _, e := range events {
		if _, err := d.Add(e); err != nil {
			return nil, err
		}
	}
	g := d.engine
	nodes := d.concluded(g.heads)
	q := newSequence(node, -1, 0)
	ops := [][]Op{nil} // by change of the sequence
	q.record = func(c int32, op Op) {
		if op.At != (OpID{}) {
			op.At.Counter += genesisOps
		}
		for len(ops) <= int(c) {
			ops = append(ops, nil)
		}
		ops[c] = append(ops[c], op)
	}
	var out []Change
	number := []int{-1} // in out, by change of the sequence
	made := make([][]int, len(nodes))
	for e := range nodes {
		n := &nodes[e]
		q.apply(nodes, e, nil)
		r := &q.events[e]
		deps := q.deps(e, g.reduce(n.parents), made, number)
		if len(r.changes) == 0 {
			if e == len(g.nodes) {
				break // of several heads, without echoes
			}
			made[e] = []int{len(out)}
			out = append(out, Change{Actor: n.event.EmptyChangeID(node), Deps: deps, Start: r.last + 1 + genesisOps})
		}
		for c := len(number); c < len(q.changes); c++ {
			x := &q.changes[c]
			start := x.last + 1 + genesisOps
			for _, op := range ops[c] {
				start -= op.Delete + runeCount(op.Insert)
			}
			on := deps
			if echo, ok := r.echo(); ok && int(echo) != c {
				on = []int{number[echo]}
			}
			number = append(number, len(out))
			out = append(out, Change{Actor: x.id, Deps: on, Start: start, Ops: ops[c]})
		}
		for _, c := range r.changes {
			made[e] = append(made[e], number[c])
		}
	}
	return out, nil
}

// deps gives the changes of an event's parents that no other of them has seen, just after the event was applied.
func (q *sequence) deps(e int, parents []int32, made [][]int, number []int) []int {
	holders := map[int32]int32{} // of the parents, by change of the sequence
	for _, p := range parents {
		for _, c := range q.events[p].own() {
			holders[c]++
		}
	}
	s := slices.IndexFunc(q.slots[:], func(sl slot) bool { return len(sl.heads) == 1 && sl.heads[0] == int32(e) })
	var deps []int
	for _, p := range parents {
		if len(q.events[p].changes) == 0 {
			deps = append(deps, made[p]...)
		}
	}
	for c, n := range holders {
		// A change that also an earlier event holds is one that some other parent has seen.
		if q.slots[s].events[c] == n {
			deps = append(deps, number[c])
		}
	}
	slices.Sort(deps)
	return deps
}
