package text

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPairing = 1 << 20 // words compared to pair the lines of a hunk
	longLine   = 4096    // bytes from which a line is paired by its ends before its words are counted
)

// refine makes the hunk that turns lines a, which start at pos, into lines b.
func refine(a, b []string, pos int) Hunk {
	var h Hunk
	add := func(s Splice) {
		if k := len(h) - 1; k >= 0 && h[k].Pos+h[k].Del == s.Pos {
			h[k].Del += s.Del
			h[k].Ins += s.Ins
		} else {
			h = append(h, s)
		}
	}
	i, j := 0, 0
	for _, p := range append(pair(a, b), [2]int{len(a), len(b)}) {
		if i < p[0] || j < p[1] {
			n := utf8.RuneCountInString(strings.Join(a[i:p[0]], ""))
			add(Splice{Pos: pos, Del: n, Ins: strings.Join(b[j:p[1]], "")})
			pos += n
		}
		if i, j = p[0], p[1]; i < len(a) {
			for _, s := range words(a[i], b[j], pos) {
				add(s)
			}
			pos += utf8.RuneCountInString(a[i])
			i, j = i+1, j+1
		}
	}
	return h
}

// pair finds lines of a and b that are versions of each other: in order, with at least half of their words in common, and
// as alike as possible in all.
func pair(a, b []string) [][2]int {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	if len(a) == 1 && len(b) == 1 && max(len(a[0]), len(b[0])) >= longLine {
		p, s := commonEnds(a[0], b[0])
		if 2*(p+s) >= max(len(a[0]), len(b[0])) {
			return [][2]int{{0, 0}}
		}
	}
	if len(a)*len(b) > maxPairing {
		return nil
	}
	ids := interner{}
	x, nx := bags(ids, a)
	y, ny := bags(ids, b)
	if len(a)*ny+len(b)*nx > maxPairing {
		return nil
	}
	alike := make([][]float64, len(a))
	best := make([][]float64, len(a)+1) // of a[i:] and b[j:]
	best[len(a)] = make([]float64, len(b)+1)
	for i := len(a) - 1; i >= 0; i-- {
		alike[i] = make([]float64, len(b))
		best[i] = make([]float64, len(b)+1)
		for j := len(b) - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if f := likeness(x[i], y[j]); f >= 0.5 {
				alike[i][j] = f
				best[i][j] = max(best[i][j], best[i+1][j+1]+f)
			}
		}
	}
	var out [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case alike[i][j] > 0 && best[i][j] == best[i+1][j+1]+alike[i][j]:
			out = append(out, [2]int{i, j})
			i, j = i+1, j+1
		case best[i][j] == best[i+1][j]:
			i++
		default:
			j++
		}
	}
	return out
}

// bags gives the words of each line, sorted, and how many there are in all.
func bags(ids interner, ls []string) (bags [][]int32, n int) {
	bags = make([][]int32, len(ls))
	for i, l := range ls {
		var ws []string
		for t := range tokens(l) {
			if strings.TrimSpace(t) != "" {
				ws = append(ws, t)
			}
		}
		bags[i] = ids.all(ws)
		slices.Sort(bags[i])
		n += len(ws)
	}
	return bags, n + len(ls)
}

// likeness is the share of words that two lines have in common, 0 to 1.
func likeness(a, b []int32) float64 {
	if len(a)+len(b) == 0 {
		return 0
	}
	n, all := 0, len(a)+len(b)
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			n++
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return 2 * float64(n) / float64(all)
}

// words makes the splices that turn line a, which starts at pos, into line b, in whole words. A word takes the blank behind
// it along, or else the one before it, so that two that take the place of one do not come to stand as one word.
func words(a, b string, pos int) []Splice {
	p, s := commonEnds(a, b)
	p -= blankAtEnd(a[:p])
	s -= blankAtStart(a[len(a)-s:])
	pos += utf8.RuneCountInString(a[:p])
	a, b = a[p:len(a)-s], b[p:len(b)-s]
	x, y := slices.Collect(tokens(a)), slices.Collect(tokens(b))
	ids := interner{}
	runs := differ(ids.all(x), ids.all(y))
	at := 0
	var out []Splice
	for k, r := range runs {
		if isWord(x[r.a0:r.a1]) && isWord(y[r.b0:r.b1]) {
			next := len(x)
			if k+1 < len(runs) {
				next = runs[k+1].a0 - 1 // one character at least stays between two splices
			}
			switch {
			case r.a1 < next && isBlank(x[r.a1]):
				r.a1, r.b1 = r.a1+1, r.b1+1
			case r.a0 > at && (k == 0 || r.a0 > at+1) && isBlank(x[r.a0-1]):
				r.a0, r.b0 = r.a0-1, r.b0-1
			}
		}
		pos += utf8.RuneCountInString(strings.Join(x[at:r.a0], ""))
		at = r.a1
		n := utf8.RuneCountInString(strings.Join(x[r.a0:r.a1], ""))
		out = append(out, Splice{Pos: pos, Del: n, Ins: strings.Join(y[r.b0:r.b1], "")})
		pos += n
	}
	return out
}

// blankAtEnd is the length of the blank that a line's start ends with, if something is before it.
func blankAtEnd(s string) int {
	word := strings.TrimRight(s, " \t")
	if word == "" {
		return 0
	}
	return len(s) - len(word)
}

// blankAtStart is the length of the blank that a line's end starts with, if something is behind it.
func blankAtStart(s string) int {
	word := strings.TrimLeft(s, " \t")
	if word == "" {
		return 0
	}
	return len(s) - len(word)
}

func isBlank(token string) bool { return token[0] == ' ' || token[0] == '\t' }

// isWord tells whether tokens start and end with a word.
func isWord(tokens []string) bool {
	if len(tokens) == 0 {
		return false
	}
	first, _ := utf8.DecodeRuneInString(tokens[0])
	last, _ := utf8.DecodeLastRuneInString(tokens[len(tokens)-1])
	return inWord(first) && inWord(last)
}

// commonEnds gives the bytes of equal whole words at the start and the end of two lines.
func commonEnds(a, b string) (p, s int) {
	p = commonPrefix(a, b)
	for p > 0 && !(border(a, p) && border(b, p)) {
		p--
	}
	s = commonSuffix(a[p:], b[p:])
	for s > 0 && !(border(a, len(a)-s) && border(b, len(b)-s)) {
		s--
	}
	return p, s
}

// tokens cuts a line into words, runs of one kind of blank, and single other characters.
func tokens(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for s != "" {
			n := 1
			for !border(s, n) {
				n++
			}
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
	}
}

// border tells whether a word ends or starts at a byte offset.
func border(s string, at int) bool {
	if at == 0 || at == len(s) {
		return true
	}
	if !utf8.RuneStart(s[at]) {
		return false
	}
	a, _ := utf8.DecodeLastRuneInString(s[:at])
	b, _ := utf8.DecodeRuneInString(s[at:])
	if unicode.IsMark(b) || b == '\u200d' || a == '\u200d' {
		return false // belongs to the character before it
	}
	if a == ' ' || a == '\t' {
		return a != b
	}
	return !(inWord(a) && inWord(b))
}

// inWord tells whether a character makes a word with its neighbours. Scripts that set no blanks between words do not:
// there a change of one character would replace the paragraph.
func inWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	return (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) &&
		!unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}
