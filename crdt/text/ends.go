package text

import "strings"

// Ends says how much two texts have in common at their start and at their end, in bytes; the two do not overlap in either.
// Nearly every save of a long text changes little of it, so it is compared with what was there once, and all that is asked
// of it afterwards is asked of what differs.
type Ends struct{ Start, End int }

// CommonEnds compares two texts.
func CommonEnds(a, b string) Ends {
	e := Ends{Start: commonPrefix(a, b)}
	e.End = commonSuffix(a[e.Start:], b[e.Start:])
	return e
}

// Equal tells whether the two texts that were compared are, the second of which is s.
func (e Ends) Equal(a, s string) bool { return len(a) == len(s) && e.Start == len(s) }

// wholeLines leaves the lines that are not common as a whole out of common ends. The end may begin before the common start
// ends.
func (e Ends) wholeLines(a, b string) (start, end int) {
	start = strings.LastIndexByte(a[:e.Start], '\n') + 1
	end = e.End
	end += commonSuffix(a[start:len(a)-end], b[start:len(b)-end])
	cut := strings.IndexByte(a[len(a)-end:], '\n') + 1 // the end may start in the middle of a line
	if cut == 0 {
		cut = end
	}
	return start, end - cut
}

// Diff is Diff of two texts, of which it looks at no more than what differs and the lines around it.
func (b *Body) Diff(saved *Body) []Hunk {
	e := EndsOf(b, saved)
	if b.Len() == saved.Len() && e.Start == b.Len() {
		return nil
	}
	from := b.lineStart(e.Start)
	for reach := 4096; ; reach *= 4 {
		// The rest is common, and begins with a line.
		rest := e.End - min(e.End, reach)
		if rest > 0 {
			rest -= b.toLine(b.Len() - rest)
		}
		was, is := b.Slice(from, b.Len()-rest), saved.Slice(from, saved.Len()-rest)
		hunks := Diff(was, is)
		if rest > 0 && !settled(was, hunks) {
			continue // a change may slide on, or go with the lines behind it
		}
		if n := runesTo(b.list(), from); n > 0 {
			for _, h := range hunks {
				for i := range h {
					h[i].Pos += n
				}
			}
		}
		return hunks
	}
}

// Apart gives the lines in which two texts differ: without those that both begin and end with.
func (b *Body) Apart(other *Body) (mine, others string) {
	e := EndsOf(b, other)
	from := b.lineStart(e.Start)
	if e.End > 0 {
		e.End -= b.toLine(b.Len() - e.End) // it may begin in the middle of a line
	}
	return b.Slice(from, b.Len()-e.End), other.Slice(from, other.Len()-e.End)
}

// lineStart is where the line begins that an offset is in.
func (b *Body) lineStart(at int) int {
	for n := 256; ; n *= 4 {
		from := max(0, at-n)
		if i := strings.LastIndexByte(b.Slice(from, at), '\n'); i >= 0 {
			return from + i + 1
		}
		if from == 0 {
			return 0
		}
	}
}

// toLine is how far the next line begins behind an offset, or the end is.
func (b *Body) toLine(at int) int {
	for n := 256; ; n *= 4 {
		to := min(b.Len(), at+n)
		if i := strings.IndexByte(b.Slice(at, to), '\n'); i >= 0 {
			return i + 1
		}
		if to == b.Len() {
			return to - at
		}
	}
}

// settled tells whether what was found by looking at the beginning of a text, as far as a line ends, is what would be found
// by looking at all of it: it ends before the last line.
func settled(s string, hunks []Hunk) bool {
	h := hunks[len(hunks)-1]
	last := h[len(h)-1]
	i := strings.LastIndexByte(s[:len(s)-1], '\n') + 1
	return last.Pos+last.Del < countRunes(s[:i])
}
