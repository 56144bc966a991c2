package main

import (
	"slices"
	"strings"
	"unicode"
)

// verdict is what came of one merge of one file.
type verdict int

const (
	same      verdict = iota // git merges it, to the same bytes
	order                    // git merges it, to the same lines in another order
	doubled                  // git merges it; lines that both sides added stand twice
	other                    // git merges it to something else
	present                  // git conflicts; every line that a side added stands
	words                    // git conflicts; where a line that a side added does not stand, the words it added do
	glued                    // the same, but two words that the sides put at one place stand as one
	withdrawn                // a word that a side added is missing: the other had added it, too, and took it away in a later save
	lost                     // a word that a side added is missing
	verdicts
)

var verdictNames = [verdicts]string{"same", "another order", "doubled", "other", "all lines", "joined inside lines", "glued words", "withdrawn", "LOST"}

// judged is a verdict with its lines.
type judged struct {
	verdict verdict
	twice   int // lines that stand more often than in either side, added by both
	lines   []string
}

// judge compares what we made of a merge of saves with what the sides wrote, and with git's text where
// it has one.
func judge(m *merge, saves [2][]string, ours string) judged {
	var j judged
	base := count(lines(m.base))
	a, b := count(lines(m.sides[0])), count(lines(m.sides[1]))
	have := count(lines(ours))
	for l, n := range have {
		if a[l] > base[l] && b[l] > base[l] && n > max(a[l], b[l]) && strings.ContainsFunc(l, inWord) {
			j.twice += n - max(a[l], b[l])
			j.lines = append(j.lines, "twice: "+l)
		}
	}
	whole := true
	for _, side := range []map[string]int{a, b} {
		for l, n := range side {
			if base[l] == 0 && have[l] < n {
				whole = false
				j.lines = append(j.lines, "not as a line: "+l)
			}
		}
	}
	slices.Sort(j.lines)
	j.lines = slices.Compact(j.lines)
	if !whole {
		w, worst := missing(m, saves, ours)
		if worst >= withdrawn {
			return judged{worst, j.twice, w}
		}
		if j.verdict = worst; len(w) > 0 {
			j.lines = w
		}
	} else {
		j.verdict = present
	}
	if !m.clean {
		return j
	}
	if m.git == ours {
		j.verdict = same
		return j
	}
	theirs := count(lines(m.git))
	j.verdict, j.lines = order, nil
	for l, n := range have {
		if n <= theirs[l] {
			continue
		}
		j.lines = append(j.lines, "ours: "+l)
		if a[l] <= base[l] || b[l] <= base[l] {
			j.verdict = other
		}
		j.verdict = max(j.verdict, doubled)
	}
	for l, n := range theirs {
		if n > have[l] {
			j.verdict = other
			j.lines = append(j.lines, "git's: "+l)
		}
	}
	slices.Sort(j.lines)
	return j
}

// missing lists words that the base does not have and a side does, which stand less often than
// there: no edit that had not seen them can have meant them. It tells the worst of them: glued,
// where they stand inside another word, withdrawn or lost.
func missing(m *merge, saves [2][]string, ours string) (out []string, worst verdict) {
	worst = words
	base, have := count(fields(m.base)), count(fields(ours))
	for side := range m.sides {
		other := count(fields(m.sides[1-side]))
		var before []map[string]int // what the other side saved on its way
		for w, n := range count(fields(m.sides[side])) {
			if base[w] > 0 || have[w] >= n {
				continue
			}
			out = append(out, w)
			if strings.Count(ours, w) >= n {
				worst = max(worst, glued)
				continue
			}
			if before == nil {
				for _, s := range saves[1-side] {
					before = append(before, count(fields(s)))
				}
			}
			taken := slices.ContainsFunc(before, func(c map[string]int) bool { return c[w] > other[w] })
			if taken {
				worst = max(worst, withdrawn)
			} else {
				worst = lost
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), worst
}

func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !inWord(r) })
}

func inWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

func lines(s string) []string { return strings.SplitAfter(s, "\n") }

func count(ss []string) map[string]int {
	out := make(map[string]int, len(ss))
	for _, s := range ss {
		out[s]++
	}
	return out
}
