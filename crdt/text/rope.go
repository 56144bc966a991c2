package text

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	blockSize = 4096 // bytes of a block cut from a long text
	blockJoin = 1024 // bytes up to which an edit copies neighbours into one block
)

// rope is a text that is edited at code-point positions. It is a flat list of short blocks, each with its number of code
// points, so that a position is found by adding block counts and looking into one block. Blocks are substrings of texts
// that are there anyway: cutting one copies nothing.
type rope struct {
	blocks []block
	runes  int
	bytes  int

	hintBlock, hintPos int // where the last edit was: block and the position it starts at

	flat   string // the whole text, if fresh
	fresh  bool
	frozen *Body // the text as it is, if somebody asked for it
}

type block struct {
	s string
	n int // code points
}

func newRope(s string) *rope {
	r := &rope{bytes: len(s), flat: s, fresh: true}
	r.blocks = appendBlocks(nil, s)
	for _, b := range r.blocks {
		r.runes += b.n
	}
	return r
}

// appendBlocks cuts s into blocks.
func appendBlocks(bs []block, s string) []block {
	for len(s) > 0 {
		n := len(s)
		if n > blockSize {
			for n = blockSize; !utf8.RuneStart(s[n]); n-- {
			}
		}
		bs = append(bs, block{s[:n], countRunes(s[:n])})
		s = s[n:]
	}
	return bs
}

// countRunes counts the code points of valid UTF-8, eight bytes at a time: all bytes but those that continue one.
func countRunes(s string) int {
	n := len(s)
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if w &= 0x8080808080808080 &^ (w << 1); w != 0 {
			n -= bits.OnesCount64(w)
		}
	}
	for i := range len(s) {
		if !utf8.RuneStart(s[i]) {
			n--
		}
	}
	return n
}

// clone is a second rope of the same text; the characters are shared.
func (r *rope) clone() *rope {
	c := *r
	c.blocks = slices.Clone(r.blocks)
	return &c
}

// byteOffset is the offset of the k-th of n code points of s.
func byteOffset(s string, n, k int) int {
	if n == len(s) {
		return k
	}
	if k <= n/2 {
		return prefix(s, k)
	}
	at := len(s)
	for k = n - k; k > 0; k-- {
		_, w := utf8.DecodeLastRuneInString(s[:at])
		at -= w
	}
	return at
}

// prefix is the length in bytes of the first k code points of s.
func prefix(s string, k int) int {
	at := 0
	for ; k > 0; k-- {
		_, w := utf8.DecodeRuneInString(s[at:])
		at += w
	}
	return at
}

// seek finds the block that holds the pos-th code point's end, and the position that block starts at: an edit at a border
// belongs to the block on the left, so that typing goes on in one block.
func (r *rope) seek(pos int) (i, start int) {
	if pos > r.hintPos/2 { // nearer to the last edit than to the start
		i, start = r.hintBlock, r.hintPos
		for i > 0 && pos <= start {
			i--
			start -= r.blocks[i].n
		}
	}
	for i < len(r.blocks) && pos > start+r.blocks[i].n {
		start += r.blocks[i].n
		i++
	}
	return i, start
}

// part is n code points behind pos, which lie in the text.
func (r *rope) part(pos, n int) string {
	var out strings.Builder
	for i, start := r.seek(pos); n > 0; i++ {
		b := r.blocks[i]
		from := pos - start
		k := min(n, b.n-from)
		s := b.s[byteOffset(b.s, b.n, from):]
		out.WriteString(s[:byteOffset(s, b.n-from, k)])
		pos, n, start = pos+k, n-k, start+b.n
	}
	return out.String()
}

// splice replaces del code points at pos by ins, which has n. The range must lie in the text.
func (r *rope) splice(pos, del int, ins string, n int) {
	i, start := r.seek(pos)
	var left, right block
	j := i
	if i < len(r.blocks) {
		b := r.blocks[i]
		left.n = pos - start
		left.s = b.s[:byteOffset(b.s, b.n, left.n)]
		end := start // where block j starts
		for pos+del > end+r.blocks[j].n {
			end += r.blocks[j].n
			r.bytes -= len(r.blocks[j].s)
			j++
		}
		b = r.blocks[j]
		k := pos + del - end
		right.s, right.n = b.s[byteOffset(b.s, b.n, k):], b.n-k
		r.bytes -= len(b.s)
		j++
	}
	r.bytes += len(left.s) + len(ins) + len(right.s)
	r.runes += n - del

	var room [4]block
	put := room[:0]
	if len(left.s)+len(ins) <= blockJoin {
		left = block{left.s + ins, left.n + n}
		ins, n = "", 0
	} else if len(ins)+len(right.s) <= blockJoin {
		right = block{ins + right.s, n + right.n}
		ins, n = "", 0
	}
	if ins == "" && len(left.s)+len(right.s) <= blockJoin {
		left = block{left.s + right.s, left.n + right.n}
		right = block{}
	}
	if left.n > 0 {
		put = append(put, left)
	}
	if ins != "" {
		put = appendBlocks(put, ins)
	}
	if right.n > 0 {
		put = append(put, right)
	}
	// Short neighbours become one, else edits from the end to the start would leave a block each.
	if k := len(put) - 1; k >= 0 && j < len(r.blocks) && len(put[k].s)+len(r.blocks[j].s) <= blockJoin {
		put[k] = block{put[k].s + r.blocks[j].s, put[k].n + r.blocks[j].n}
		j++
	}
	if len(put) > 0 && i > 0 && len(put[0].s)+len(r.blocks[i-1].s) <= blockJoin {
		i--
		start -= r.blocks[i].n
		put[0] = block{r.blocks[i].s + put[0].s, r.blocks[i].n + put[0].n}
	}
	r.blocks = slices.Replace(r.blocks, i, j, put...)
	r.hintBlock, r.hintPos = i, start
	r.fresh, r.flat, r.frozen = false, "", nil
}

// String is the whole text. It is kept until the next edit.
func (r *rope) String() string {
	if !r.fresh {
		r.flat, r.fresh = r.body().Slice(0, r.bytes), true
	}
	return r.flat
}

// memory is about how many bytes the rope takes beside the text that its blocks share.
func (r *rope) memory() int {
	n := len(r.blocks) * 24
	if r.frozen != nil {
		n *= 2
	}
	if r.fresh {
		n += len(r.flat)
	}
	return n
}

// apart is memory with what so many edits have copied of the text.
func (r *rope) apart(splices int) int { return r.memory() + min(r.bytes, splices*blockJoin) }

// body is the text as it is now.
func (r *rope) body() *Body {
	if r.frozen == nil {
		if len(r.blocks) > 4*(r.bytes/blockSize)+16 {
			r.compact()
		}
		r.frozen = &Body{blocks: slices.Clone(r.blocks), bytes: r.bytes, runes: r.runes}
		if r.fresh {
			r.frozen.flat = r.flat
		}
	}
	return r.frozen
}

// compact joins neighbours that are short.
func (r *rope) compact() {
	out := r.blocks[:0]
	for i := 0; i < len(r.blocks); {
		b, j := r.blocks[i], i+1
		n := len(b.s)
		for j < len(r.blocks) && n+len(r.blocks[j].s) <= blockSize {
			n += len(r.blocks[j].s)
			b.n += r.blocks[j].n
			j++
		}
		if j > i+1 {
			var sb strings.Builder
			sb.Grow(n)
			for _, x := range r.blocks[i:j] {
				sb.WriteString(x.s)
			}
			b.s = sb.String()
		}
		out = append(out, b)
		i = j
	}
	clear(r.blocks[len(out):])
	r.blocks = out
	r.hintBlock, r.hintPos = 0, 0
}

// runesTo is the number of code points in front of an offset in bytes.
func (r *rope) runesTo(at int) int { return runesTo(r.blocks, at) }

func runesTo(blocks []block, at int) int {
	n := 0
	for _, b := range blocks {
		if at <= len(b.s) {
			return n + countRunes(b.s[:at])
		}
		n, at = n+b.n, at-len(b.s)
	}
	return n
}
