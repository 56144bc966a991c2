package tree

import (
	"slices"
	"sort"
)

// move is a directory's move in the log. Between the first state, in which every directory is
// where it was born, and the present, the log is applied in the order of stamps; a move that
// would make a cycle at its turn is skipped. A late move undoes the log's tail and does it
// again.
//
// A birthplace follows from the id and ids are hashes, so the first state has no cycle, and a
// directory that was never moved needs no place in the log.
type move struct {
	at   *stamp
	node *node
	to   *node
	name string

	done     bool // not skipped; then what undoing it restores:
	from     *node
	fromName string
	fromAt   *stamp
}

// startLog takes a directory into the log before its first move: its creations count as moves
// to its birthplace from now on.
func (t *Tree) startLog(n *node) {
	d := n.dir
	if d.logged {
		return
	}
	d.logged = true
	for _, at := range d.creates {
		t.moves = append(t.moves, move{at: at, node: n, to: n.parent, name: n.name})
	}
	if d.creates[0] != n.place {
		t.hold(n)
		n.place = d.creates[0]
	}
}

// runMoves brings the moves of this batch into the log: one undo and one redo for all of them.
func (t *Tree) runMoves() {
	if len(t.moves) > 0 {
		slices.SortFunc(t.moves, func(a, b move) int { return a.at.compare(b.at) })
		first := t.moves[0].at
		tail := sort.Search(len(t.log), func(i int) bool { return t.flaw != neverUndo && t.log[i].at.compare(first) >= 0 })
		for i := len(t.log) - 1; i >= tail; i-- {
			t.undo(&t.log[i])
		}
		t.log = mergeMoves(t.log, tail, t.moves)
		for i := tail; i < len(t.log); i++ {
			t.do(&t.log[i])
		}
		clear(t.moves)
		t.moves = t.moves[:0]
	}
	for _, n := range t.lifted {
		t.put(n)
	}
	clear(t.lifted)
	t.lifted = t.lifted[:0]
}

// mergeMoves merges sorted moves into log[tail:], dropping doubles.
func mergeMoves(log []move, tail int, moves []move) []move {
	late := slices.Clone(log[tail:])
	log = log[:tail]
	for len(late) > 0 || len(moves) > 0 {
		from := &late
		if len(late) == 0 || len(moves) > 0 && moves[0].at.compare(late[0].at) < 0 {
			from = &moves
		}
		m := (*from)[0]
		*from = (*from)[1:]
		if len(log) == 0 || log[len(log)-1].at.compare(m.at) != 0 {
			log = append(log, m)
		}
	}
	return log
}

// hold lifts a directory until the moves of the batch are done: on the way its parents may
// make no tree.
func (t *Tree) hold(n *node) {
	if t.lift(n) {
		t.lifted = append(t.lifted, n)
	}
}

func (t *Tree) do(m *move) {
	for a := m.to; a != nil && t.flaw != allowCycles; a = a.parent {
		if a == m.node {
			return
		}
	}
	t.hold(m.node)
	m.done = true
	m.from, m.fromName, m.fromAt = m.node.parent, m.node.name, m.node.place
	m.node.parent, m.node.name, m.node.place = m.to, m.name, m.at
}

func (t *Tree) undo(m *move) {
	if !m.done {
		return
	}
	t.hold(m.node)
	m.node.parent, m.node.name, m.node.place = m.from, m.fromName, m.fromAt
	m.done = false
	m.from, m.fromName, m.fromAt = nil, "", nil
}
