package tree

import (
	"slices"
	"sort"
)

// spot is where the log has a directory.
type spot struct {
	parent *node
	name   string
	at     *stamp // of the operation that put it there
}

// move is a directory's move in the log. Between the first state, in which every directory is
// where it was born, and the present, the log is applied in the order of stamps; a move that
// would make a cycle at its turn is skipped. A late move undoes the log's tail and does it
// again. All that happens to spots: nodes move afterwards, and only those that end elsewhere.
//
// A birthplace follows from the id and ids are hashes, so the first state has no cycle, and a
// directory that was never moved needs no place in the log.
type move struct {
	at   *stamp
	node *node
	to   *node
	name string

	done bool // not skipped
	from spot // if done: what undoing it restores
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
	d.spot.at = d.creates[0]
}

// runMoves brings the moves of this batch into the log: one undo and one redo for all of them.
func (t *Tree) runMoves() {
	if len(t.moves) == 0 {
		return
	}
	slices.SortFunc(t.moves, func(a, b move) int { return a.at.compare(b.at) })
	first := t.moves[0].at
	tail := sort.Search(len(t.log), func(i int) bool { return t.flaw != neverUndo && t.log[i].at.compare(first) >= 0 })
	for i := len(t.log) - 1; i >= tail; i-- {
		t.log[i].undo()
	}
	t.log = mergeMoves(t.log, tail, t.moves)
	for i := tail; i < len(t.log); i++ {
		if m := &t.log[i]; t.flaw == allowCycles || !m.cycle() {
			m.do()
		}
	}
	clear(t.moves)
	t.moves = t.moves[:0]

	// On the way nodes may make no tree: all leave their places before any takes its new one.
	var lifted []*node
	for i := tail; i < len(t.log); i++ {
		if n := t.log[i].node; n.dir.spot != (spot{n.parent, n.name, n.place}) && t.lift(n) {
			lifted = append(lifted, n)
		}
	}
	for _, n := range lifted {
		n.parent, n.name, n.place = n.dir.spot.parent, n.dir.spot.name, n.dir.spot.at
	}
	for _, n := range lifted {
		t.put(n)
	}
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

// cycle reports whether the move would put its directory below itself.
func (m *move) cycle() bool {
	for a := m.to; a != nil; a = a.dir.spot.parent {
		if a == m.node {
			return true
		}
	}
	return false
}

func (m *move) do() {
	at := &m.node.dir.spot
	m.done, m.from = true, *at
	*at = spot{m.to, m.name, m.at}
}

func (m *move) undo() {
	if m.done {
		m.node.dir.spot = m.from
		m.done, m.from = false, spot{}
	}
}
