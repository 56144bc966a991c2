package infer

import (
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
)

// coauthor writes one answer into a text that others change meanwhile. Each of
// its events has its own last one as the only parent, and so is placed by the
// merge: it never has to know where in the current text its place is. The text
// of its own last event it knows without looking, since only it wrote there.
//
// It is not safe for concurrent use. Positions are in code points of that text.
type coauthor struct {
	f      *crdt.Folder
	node   crdt.NodeID
	origin any
	by     string
	nl     string

	tip     crdt.Version
	block   int // where what it wrote begins
	head    int // where the heading begins
	heading string
	cursor  int // where the answer goes on
	tail    int // length of what it wrote behind the cursor
	resumed bool

	written []written
}

// written is one event.
type written struct {
	event crdt.EventID
	words int // characters of the answer in it, but for space
}

// begin writes the heading, or says in the old one that the answer goes on.
func (a *coauthor) begin(p plan, l conversation.Label, attrs func(*crdt.Tx) error) error {
	text := p.content.Text
	a.nl = newline(text)
	a.heading = conversation.Heading(l)
	a.tip = p.content.Version
	from, gone := runes(text[:p.from]), runes(text[p.from:p.to])
	var splices []crdt.Splice
	if p.resume {
		t := p.conv.Turns[p.turn]
		old := strings.TrimRight(text[t.Start:t.Body], "\r\n")
		a.resumed = true
		a.head = runes(text[:t.Start])
		splices = replace(a.head, old, a.heading)
		a.cursor = from + runes(a.heading) - runes(old)
		a.block = a.cursor
		if t.Body == p.from {
			// No word was said: there may not even be a line for it.
			lead := a.nl
			if text[t.Body-1] != '\n' {
				lead += a.nl
			}
			splices = append(splices, crdt.Splice{Pos: from, Del: gone, Ins: lead})
			a.cursor += runes(lead)
			gone = 0
		}
		if gone > 0 {
			splices = append(splices, crdt.Splice{Pos: from, Del: gone})
		}
	} else {
		a.block = from
		a.head = from + runes(p.lead)
		block := p.lead + a.heading + a.nl + a.nl
		a.cursor = from + runes(block)
		a.tail = runes(p.tail)
		splices = []crdt.Splice{{Pos: from, Del: gone, Ins: block + p.tail}}
	}
	return a.splice(0, attrs, merge(splices)...)
}

// merge joins splices that touch: a text's event has them apart.
func merge(s []crdt.Splice) []crdt.Splice {
	var out []crdt.Splice
	for _, x := range s {
		if n := len(out) - 1; n >= 0 && out[n].Pos+out[n].Del == x.Pos {
			out[n].Del += x.Del
			out[n].Ins += x.Ins
			continue
		}
		out = append(out, x)
	}
	return out
}

// say goes on with the answer.
func (a *coauthor) say(words string, attrs func(*crdt.Tx) error) error {
	return a.write(words, nil, attrs)
}

// write adds words at the cursor, and changes the heading where l is not nil.
func (a *coauthor) write(words string, l *conversation.Label, attrs func(*crdt.Tx) error) error {
	var splices []crdt.Splice
	cursor := a.cursor
	if l != nil {
		h := conversation.Heading(*l)
		splices = replace(a.head, a.heading, h)
		cursor += runes(h) - runes(a.heading)
		if a.block > a.head {
			a.block += runes(h) - runes(a.heading)
		}
		a.heading = h
	}
	if words != "" {
		splices = append(splices, crdt.Splice{Pos: a.cursor, Ins: words})
	}
	a.cursor = cursor + runes(words)
	return a.splice(count(words), attrs, splices...)
}

// count returns how many characters are no space.
func count(s string) int {
	n := 0
	for f := range strings.FieldsSeq(s) {
		n += runes(f)
	}
	return n
}

// takeBack deletes what was written, but for the heading below it if people
// went on there.
func (a *coauthor) takeBack(keepTail bool, attrs func(*crdt.Tx) error) error {
	n := a.cursor - a.block
	if !keepTail {
		n += a.tail
	}
	if n == 0 {
		return a.splice(0, attrs)
	}
	return a.splice(0, attrs, crdt.Splice{Pos: a.block, Del: n})
}

func (a *coauthor) splice(words int, attrs func(*crdt.Tx) error, s ...crdt.Splice) error {
	if len(s) == 0 && attrs == nil {
		return nil
	}
	var v crdt.Version
	err := a.f.UpdateAs(a.origin, func(tx *crdt.Tx) (err error) {
		tx.By(a.by)
		if v, err = tx.Splice(a.node, a.tip, s...); err != nil || attrs == nil {
			return err
		}
		return attrs(tx)
	})
	if v != nil && !v.Equal(a.tip) {
		a.tip = v
		a.written = append(a.written, written{v[0], words})
	}
	return err
}

// replace is the least that turns old, at a place, into new.
func replace(at int, old, new string) []crdt.Splice {
	n := 0
	for n < len(old) && n < len(new) && old[n] == new[n] {
		n++
	}
	for n > 0 && n < len(old) && !utf8.RuneStart(old[n]) || n > 0 && n < len(new) && !utf8.RuneStart(new[n]) {
		n--
	}
	k := 0
	for k < len(old)-n && k < len(new)-n && old[len(old)-1-k] == new[len(new)-1-k] {
		k++
	}
	for k > 0 && !utf8.RuneStart(old[len(old)-k]) {
		k--
	}
	gone, ins := old[n:len(old)-k], new[n:len(new)-k]
	if gone == "" && ins == "" {
		return nil
	}
	return []crdt.Splice{{Pos: at + runes(old[:n]), Del: runes(gone), Ins: ins}}
}

// mine tells which of the answer's words others have left, in a text as Blame
// divides it.
type mine struct {
	turn  int // that the answer's heading stands above, -1 if the heading is gone
	left  int // characters, but for space, that stand
	gone  bool
	below bool // a person wrote in the turn behind
}

// answerIn is the model's turn that text, at an offset, is in or begins; -1 for none. What
// begins an answer may first close a fence, which is the question's.
func answerIn(conv *conversation.File, at int, text string) int {
	first := at + len(text) - len(strings.TrimLeft(text, " \t\r\n"))
	if t := conv.At(first); t >= 0 && conv.Turns[t].Role == conversation.Model {
		return t
	}
	return slices.IndexFunc(conv.Turns, func(t conversation.Turn) bool {
		return t.Role == conversation.Model && at <= t.Start && t.Start < at+len(text)
	})
}

// look finds out what others made of the answer.
func (a *coauthor) look() (c crdt.Content, conv *conversation.File, m mine, err error) {
	c, spans, err := a.f.Blame(a.node)
	m.turn = -1
	if err != nil || c.Object != nil {
		return c, nil, m, err
	}
	conv = conversation.Parse(c.Text)
	events := make(map[crdt.EventID]int, len(a.written))
	for i, w := range a.written {
		events[w.event] = i
	}
	// What others had seen is what they can have deleted on purpose.
	others := slices.DeleteFunc(slices.Clone(c.Version), func(id crdt.EventID) bool { return a.tip[0] == id })
	seen := 0 // events
	if len(others) > 0 {
		// They had seen one event only if they had seen those before it.
		seen = sort.Search(len(a.written), func(i int) bool {
			return !a.f.Covers(a.node, others, crdt.Version{a.written[i].event})
		})
	}
	wrote := 0
	for _, w := range a.written[:seen] {
		wrote += w.words
	}
	left, at := 0, 0
	for _, s := range spans {
		i, ok := events[s.Event]
		text := c.Text[at : at+s.Bytes]
		if ok {
			if m.turn < 0 {
				m.turn = answerIn(conv, at, text)
			}
			if i < seen && a.written[i].words > 0 {
				left += count(text)
			}
		}
		at += s.Bytes
	}
	m.left = left
	m.gone = seen > 0 && wrote > 0 && left == 0 || m.turn < 0
	if m.turn >= 0 && m.turn+1 < len(conv.Turns) {
		m.below = conv.Says(m.turn + 1)
	}
	return c, conv, m, nil
}
