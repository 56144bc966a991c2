package text

import (
	"strings"
	"unicode/utf8"
)

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

// StillText is IsTextString for the second of two texts of which the first is one.
func (e Ends) StillText(s string) bool {
	// The last character of the common start may be cut, and go on otherwise.
	i, j := e.Start, len(s)-e.End
	for i > 0 {
		if i--; utf8.RuneStart(s[i]) {
			break
		}
	}
	for j < len(s) && !utf8.RuneStart(s[j]) {
		j++
	}
	return len(s) <= MaxText && plain(s[i:j])
}

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

// Diff is Diff of the current text and a saved one, which were compared.
func (d *Doc) Diff(saved string, e Ends) []Hunk {
	return diff(d.Text(), saved, e, d.engine.current().runesTo)
}

// AdoptChange is Adopt after an event that was made on the text that was compared with this one: the ends are not looked at
// again. It does nothing where the event is not all of the current version.
func (d *Doc) AdoptChange(id ID, text string, e Ends) {
	if h := d.engine.heads; len(h) == 1 && d.ids[h[0]] == id {
		d.engine.text.adopt(text, e)
	}
}
