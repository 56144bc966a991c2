package text

import (
	"slices"
	"unicode/utf8"
)

// node is an event of an engine, with what is known of it once it is applied.
type node struct {
	event   *Event
	parents []int32 // numbers of events, ascending; those at or before the engine's base are left out
	length  int     // code points of the whole text after it; meant for critical events
	valid   bool
}

// engine keeps the text of a growing set of events. Events have numbers, in the order they are added; every event comes
// after its parents.
//
// A critical event is at, before or after every other. If k is one, the events with smaller numbers are its ancestors and
// those with greater ones its descendants, so the newest critical event at or before an event's parents is found by
// numbers alone, and the text's length right after adding k is the length at version k.
type engine struct {
	name     Node
	nodes    []node
	heads    []int32 // ascending
	critical []int32 // numbers of the critical events, ascending
	text     *rope   // of all events; where there are several heads, echoes still stand
	shown    *rope   // the same without echoes, if known: see version
	echoed   int     // edits by which shown was made
	start    int     // code points of the text before the first event
	seq      *sequence
	broken   rule
	before   func(e int32) (int32, *rope) // gives a critical event at or before one, -1 for the start, and a text to go on from
	quiet    int                          // 1 + the number of events when two heads had no echoes; 0 if it was otherwise when they were last sought
}

// coolAfter is the number of events made on the current heads after which a sequence is dropped.
const coolAfter = 256

func newEngine(name Node, text *rope) *engine {
	return &engine{name: name, text: text, start: text.runes}
}

// add applies an event.
func (g *engine) add(n node) {
	e := len(g.nodes)
	onHeads := containsAll(n.parents, g.heads)
	if onHeads {
		g.text = g.version(len(n.event.Parents))
	}
	g.shown = nil
	g.nodes = append(g.nodes, n)
	if onHeads {
		n.valid = n.event.fits(g.text.runes)
		if n.valid {
			g.text.apply(n.event)
		}
		g.heads = append(g.heads[:0], int32(e))
		g.critical = append(g.critical, int32(e))
		if g.seq != nil && e-g.seq.next > coolAfter {
			g.seq = nil
		}
	} else {
		oldest := -1 // the newest critical event has to be at or before this
		if k := len(n.parents); k > 0 {
			oldest = int(n.parents[k-1])
		}
		for k := len(g.critical); k > 0 && int(g.critical[k-1]) > oldest; k-- {
			g.critical = g.critical[:k-1]
		}
		n.valid = g.resident(e).apply(g.nodes, e, g.text)
		g.heads = slices.DeleteFunc(g.heads, func(h int32) bool { return contains(n.parents, h) })
		g.heads = append(g.heads, int32(e))
	}
	n.length = g.text.runes
	g.nodes[e] = n
}

// version is the text of the heads, for whom names it by a number of events: of too many, echoes are not looked for. The
// first time after an event was added it costs what made the heads differ, and less where there were no echoes before.
func (g *engine) version(names int) *rope {
	if len(g.heads) < 2 || names > maxSides || g.broken == echoesDeleted {
		return g.text
	}
	if g.shown != nil {
		return g.shown
	}
	n := len(g.nodes)
	q := g.resident(n)
	var echoes []echo
	if last := &g.nodes[n-1]; g.quiet == n && len(g.heads) == 2 && len(last.event.Parents) == 1 {
		echoes = q.echoesOfLast(g.nodes, g.heads)
	} else {
		echoes, _ = q.echoes(g.nodes, g.heads)
	}
	g.quiet = 0
	if len(echoes) == 0 && len(g.heads) == 2 {
		g.quiet = n + 1
	}
	g.shown, g.echoed = g.text, len(echoes)
	if len(echoes) > 0 {
		g.shown = g.text.clone()
		for i := len(echoes) - 1; i >= 0; i-- {
			e := &echoes[i]
			if x := &q.leaves[e.leaf].spans[e.i]; len(x.dels) == 0 {
				g.shown.splice(e.before+e.from, e.n, "", 0)
			}
		}
	}
	return g.shown
}

// current is the text.
func (g *engine) current() *rope { return g.version(len(g.heads)) }

// resident is a sequence that has seen all events before e and starts at or before what e has seen.
func (g *engine) resident(e int) *sequence {
	base, length := -1, g.start
	if k := len(g.critical); k > 0 {
		base = int(g.critical[k-1])
		length = g.nodes[base].length
	}
	// The one at hand serves if it starts early enough, and is not so long that a new one is soon cheaper.
	if q := g.seq; q == nil || q.base > base || e-base < (e-q.next)+(e-q.base)/8 {
		g.seq = newSequence(g.name, base, length)
		g.seq.broken = g.broken
		g.seq.findBase = func() *rope { return g.textAt(base) }
	}
	for g.seq.next < e {
		g.seq.apply(g.nodes, g.seq.next, nil)
	}
	return g.seq
}

// textAt makes the text of a critical event.
func (g *engine) textAt(critical int) *rope {
	from, text := g.before(int32(critical))
	start := text.clone()
	q := newSequence(g.name, int(from), text.runes)
	q.broken = g.broken
	q.findBase = func() *rope { return start }
	for q.next <= critical {
		q.apply(g.nodes, q.next, text)
	}
	return text
}

func runeCount(s string) int { return utf8.RuneCountInString(s) }

// apply makes an event's splices in the text of its parents, which they fit.
func (r *rope) apply(e *Event) {
	for i := len(e.Hunks) - 1; i >= 0; i-- {
		for k := len(e.Hunks[i]) - 1; k >= 0; k-- {
			s := e.Hunks[i][k]
			r.splice(s.Pos, s.Del, s.Ins, runeCount(s.Ins))
		}
	}
}

// contains tells whether x is in a, which ascends.
func contains(a []int32, x int32) bool {
	_, ok := slices.BinarySearch(a, x)
	return ok
}

// containsAll tells whether every one of b is in a. Both ascend.
func containsAll(a, b []int32) bool {
	for _, x := range b {
		for len(a) > 0 && a[0] < x {
			a = a[1:]
		}
		if len(a) == 0 || a[0] != x {
			return false
		}
	}
	return true
}
