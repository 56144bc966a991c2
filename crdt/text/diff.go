package text

import (
	"strings"
	"unicode/utf8"
)

// Diff finds what a save changed: hunks that turn base into saved, nil where they are equal. The rules are made for merging:
//
//   - Lines are compared, and a group of added or removed lines that can stand in several places is slid to the one where
//     others put it who make the same change (slide). Every group of lines is a hunk of its own.
//   - Inside a hunk, lines that have half their words in common are paired, and only the words that differ are replaced.
//     Other lines are replaced whole. Characters inside words are never mixed: two edits of one word give two words.
//
// Time and memory are bounded (differ); what is too large to refine is replaced whole.
func Diff(base, saved string) []Hunk {
	return diff(base, saved, CommonEnds(base, saved), func(at int) int { return countRunes(base[:at]) })
}

// diff is Diff of texts that were compared; runes gives the code points in front of an offset of base.
func diff(base, saved string, e Ends, runes func(at int) int) []Hunk {
	if e.Equal(base, saved) {
		return nil
	}
	start, end := e.wholeLines(base, saved)
	a, b := lines(base[start:len(base)-end]), lines(saved[start:len(saved)-end])
	ids := interner{}
	x, y := ids.all(a), ids.all(b)
	found := differ(x, y)
	runs := slide(x, y, found)
	// The common end comes back bit by bit as long as the last hunk slides through all that is there.
	for n := 16; end > 0 && runs[len(runs)-1].a1 == len(a); n *= 2 {
		more := firstLines(base[len(base)-end:], n)
		for _, l := range more {
			end -= len(l)
		}
		a, b = append(a, more...), append(b, more...)
		x, y = append(x, ids.all(more)...), append(y, ids.all(more)...)
		runs = slide(x, y, found)
	}

	var hunks []Hunk
	splices := 0
	pos, at := runes(start), 0
	for _, r := range runs {
		for ; at < r.a0; at++ {
			pos += utf8.RuneCountInString(a[at])
		}
		h := refine(a[r.a0:r.a1], b[r.b0:r.b1], pos)
		splices += len(h)
		if splices > MaxSplices {
			return []Hunk{{whole(base, saved)}}
		}
		// Each splice is a change of its own: what two people did alike is one change, also where the line, or the lines
		// around it, are not alike in the rest.
		for i := range h {
			hunks = append(hunks, h[i:i+1:i+1])
		}
	}
	return hunks
}

// whole replaces everything between the common ends.
func whole(base, saved string) Splice {
	p := commonPrefix(base, saved)
	for p > 0 && (p < len(base) && !utf8.RuneStart(base[p]) || p < len(saved) && !utf8.RuneStart(saved[p])) {
		p--
	}
	s := commonSuffix(base[p:], saved[p:])
	for s > 0 && !utf8.RuneStart(base[len(base)-s]) {
		s--
	}
	gone := base[p : len(base)-s]
	return Splice{Pos: utf8.RuneCountInString(base[:p]), Del: utf8.RuneCountInString(gone), Ins: saved[p : len(saved)-s]}
}

// commonPrefix is the length of the longest common prefix, in bytes. Most texts that are compared are nearly equal and
// long, so whole stretches are compared at a time.
func commonPrefix(a, b string) int {
	const stretch = 1024
	n, p := min(len(a), len(b)), 0
	for p+stretch <= n && a[p:p+stretch] == b[p:p+stretch] {
		p += stretch
	}
	for p < n && a[p] == b[p] {
		p++
	}
	return p
}

// commonSuffix is the length of the longest common suffix.
func commonSuffix(a, b string) int {
	const stretch = 1024
	n, s := min(len(a), len(b)), 0
	for s+stretch <= n && a[len(a)-s-stretch:len(a)-s] == b[len(b)-s-stretch:len(b)-s] {
		s += stretch
	}
	for s < n && a[len(a)-1-s] == b[len(b)-1-s] {
		s++
	}
	return s
}

// lines cuts a text behind its newlines.
func lines(s string) []string { return firstLines(s, strings.Count(s, "\n")+1) }

// firstLines is the first n lines of a text, or as many as it has.
func firstLines(s string, n int) []string {
	out := make([]string, 0, n)
	for ; s != "" && n > 0; n-- {
		i := strings.IndexByte(s, '\n') + 1
		if i == 0 {
			i = len(s)
		}
		out = append(out, s[:i])
		s = s[i:]
	}
	return out
}

// interner numbers strings: equal ones have one number.
type interner map[string]int32

func (ids interner) all(ss []string) []int32 {
	out := make([]int32, len(ss))
	for i, s := range ss {
		id, ok := ids[s]
		if !ok {
			id = int32(len(ids))
			ids[s] = id
		}
		out[i] = id
	}
	return out
}
