package text

import (
	"strings"
	"unicode/utf8"
)

// Body is a text that does not change, in pieces. Texts that are made from each other share the pieces that they have in
// common: making one costs what differs, and comparing two looks at no byte that both have in the same memory. A nil Body is
// the empty text. It may be used by several goroutines at once.
type Body struct {
	blocks []block
	bytes  int
	runes  int
	flat   string // all of it, where it was made of one string
}

// NewBody is a text that is valid UTF-8.
func NewBody(s string) *Body { return newRope(s).body() }

// Len is the length in bytes.
func (b *Body) Len() int {
	if b == nil {
		return 0
	}
	return b.bytes
}

// Runes is the length in Unicode code points.
func (b *Body) Runes() int {
	if b == nil {
		return 0
	}
	return b.runes
}

func (b *Body) list() []block {
	if b == nil {
		return nil
	}
	return b.blocks
}

// String is the whole text, which is copied unless it was made of one string.
func (b *Body) String() string {
	if b != nil && len(b.flat) == b.bytes {
		return b.flat
	}
	return b.Slice(0, b.Len())
}

// Slice is the text between two offsets in bytes, which must lie in it. What lies in one piece is not copied.
func (b *Body) Slice(from, to int) string {
	var sb strings.Builder
	for _, x := range b.list() {
		if from >= to {
			break
		}
		n := len(x.s)
		if from < n {
			part := x.s[from:min(to, n)]
			if sb.Len() == 0 && to <= n {
				return part
			}
			if sb.Len() == 0 {
				sb.Grow(to - from)
			}
			sb.WriteString(part)
			from = n
		}
		from, to = from-n, to-n
	}
	return sb.String()
}

// ReadAt copies what is at an offset in bytes, as much as buf holds, and returns how much that was: less at the end.
func (b *Body) ReadAt(buf []byte, off int) (n int) {
	for _, x := range b.list() {
		if n == len(buf) {
			break
		}
		if off < len(x.s) {
			n += copy(buf[n:], x.s[off:])
			off = len(x.s)
		}
		off -= len(x.s)
	}
	return n
}

// EqualAt is the number of bytes, from an offset on, in which data and the text are the same.
func (b *Body) EqualAt(data []byte, off int) (n int) {
	for _, x := range b.list() {
		if n == len(data) {
			break
		}
		if off < len(x.s) {
			part := x.s[off:min(len(x.s), off+len(data)-n)]
			if string(data[n:n+len(part)]) != part {
				return n + commonPrefix(part, string(data[n:n+len(part)]))
			}
			n += len(part)
			off = len(x.s)
		}
		off -= len(x.s)
	}
	return n
}

// EqualBefore is the number of bytes, back from an offset, in which data, from its end, and the text are the same.
func (b *Body) EqualBefore(data []byte, off int) (n int) {
	bs, end := b.list(), b.Len()
	for k := len(bs) - 1; k >= 0 && n < len(data); k-- {
		start := end - len(bs[k].s)
		if start < off {
			part := bs[k].s[:off-start]
			part = part[max(0, len(part)-(len(data)-n)):]
			to := len(data) - n
			if string(data[to-len(part):to]) != part {
				return n + commonSuffix(part, string(data[to-len(part):to]))
			}
			n += len(part)
			off = start
		}
		end = start
	}
	return n
}

// Splice is the text with the bytes between two offsets replaced. Offsets and ins must be such that the result is valid
// UTF-8, and the offsets at the start of characters.
func (b *Body) Splice(from, to int, ins string) *Body {
	r := &rope{}
	if b != nil {
		r.blocks, r.bytes, r.runes = append(make([]block, 0, len(b.blocks)+4), b.blocks...), b.bytes, b.runes
	}
	pos := r.runesTo(from)
	del := 0
	if to > from {
		del = r.runesTo(to) - pos
	}
	r.splice(pos, del, ins, countRunes(ins))
	return r.body()
}

// Resave is the text s as it was saved in place of b: what they have in common at their ends is shared. ok is false where s
// cannot be a text, as IsTextString says.
func (b *Body) Resave(s string) (saved *Body, ok bool) {
	if b.Len() == 0 {
		return NewBody(s), IsTextString(s)
	}
	e := EndsOf(b, &Body{blocks: []block{{s: s}}, bytes: len(s)})
	return b.Replace(e, s[e.Start:len(s)-e.End])
}

// Replace is the text with all between its ends replaced by what may begin and end in the middle of a character that goes
// on in the ends. ok is false where that is no text, as IsTextString says.
func (b *Body) Replace(e Ends, middle string) (saved *Body, ok bool) {
	from, to := e.Start, b.Len()-e.End
	// A character that the start ends in may go on otherwise.
	head := b.Slice(max(0, from-utf8.UTFMax), from)
	for i := len(head); i > 0; {
		if i--; utf8.RuneStart(head[i]) {
			from, middle = from-(len(head)-i), head[i:]+middle
			break
		}
	}
	tail := b.Slice(to, min(b.Len(), to+utf8.UTFMax))
	n := 0
	for n < len(tail) && !utf8.RuneStart(tail[n]) {
		n++
	}
	to, middle = to+n, middle+tail[:n]
	if !plain(middle) || b.Len()-(to-from)+len(middle) > MaxText {
		return nil, false
	}
	if from == to && middle == "" || to-from == len(middle) && b.Slice(from, to) == middle {
		return b, true
	}
	return b.Splice(from, to, middle), true
}

// Share is the same text, in pieces of another one where they have them in common at their ends.
func (b *Body) Share(other *Body) *Body {
	if other.Len() == 0 {
		return b
	}
	e := EndsOf(other, b)
	if same, ok := other.Replace(e, b.Slice(e.Start, b.Len()-e.End)); ok {
		return same
	}
	return b
}

// Ends is EndsOf with another text.
func (b *Body) Ends(other *Body) Ends { return EndsOf(b, other) }

// Equal tells whether two texts are the same.
func (b *Body) Equal(c *Body) bool {
	return b == c || b.Len() == c.Len() && EndsOf(b, c).Start == b.Len()
}

// EndsOf compares two texts as CommonEnds does.
func EndsOf(a, b *Body) Ends {
	e := Ends{}
	most := min(a.Len(), b.Len())
	if a == b {
		return Ends{Start: most}
	}
	x, y := cursor{left: a.list()}, cursor{left: b.list()}
	for e.Start < most {
		p, q := x.next(), y.next()
		n := min(len(p), len(q))
		if p[:n] != q[:n] {
			e.Start += commonPrefix(p, q)
			break
		}
		e.Start += n
		x.part, y.part = p[n:], q[n:]
	}
	x, y = cursor{left: a.list()}, cursor{left: b.list()}
	for most -= e.Start; e.End < most; {
		p, q := x.last(), y.last()
		n := min(len(p), len(q), most-e.End)
		if p[len(p)-n:] != q[len(q)-n:] {
			e.End += commonSuffix(p[len(p)-n:], q[len(q)-n:])
			break
		}
		e.End += n
		x.part, y.part = p[:len(p)-n], q[:len(q)-n]
	}
	return e
}

// cursor goes through blocks from one end.
type cursor struct {
	left []block
	part string // of the block that it is in
}

func (c *cursor) next() string {
	for c.part == "" {
		c.part, c.left = c.left[0].s, c.left[1:]
	}
	return c.part
}

func (c *cursor) last() string {
	for c.part == "" {
		k := len(c.left) - 1
		c.part, c.left = c.left[k].s, c.left[:k]
	}
	return c.part
}
