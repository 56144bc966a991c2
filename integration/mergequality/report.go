package main

import (
	"fmt"
	"io"
	"strings"
)

// way is how a merge came about.
type way int

const (
	staleOne way = iota
	apartOne
	staleSeveral
	apartSeveral
	ways
)

var wayNames = [ways]string{"stale save", "reconnect", "stale saves, several", "reconnect, several"}

// tally counts the files of one way.
type tally struct {
	verdicts   [verdicts]int
	twiceClean int // lines that stand twice, where git merges
	twice      int // and where it conflicts
}

// result is what came of a repository.
type result struct {
	name    string
	merges  int // of all kinds
	made    int // with files that both sides changed
	files   int // such files, texts
	equal   int // of them, those that both sides left the same: not counted below
	notText int
	tallies [ways]tally
	cases   []string // that came out differently, for -v
}

func (r *result) add(o *result) {
	r.made, r.files, r.equal, r.notText = r.made+o.made, r.files+o.files, r.equal+o.equal, r.notText+o.notText
	for w := range r.tallies {
		t, x := &r.tallies[w], &o.tallies[w]
		for v := range t.verdicts {
			t.verdicts[v] += x.verdicts[v]
		}
		t.twice, t.twiceClean = t.twice+x.twice, t.twiceClean+x.twiceClean
	}
	r.cases = append(r.cases, o.cases...)
}

// hold merges a file in every way and counts what comes of it.
func (p *pair) hold(m *merge, r *result) error {
	r.files++
	if m.sides[0] == m.sides[1] {
		r.equal++
		if m.saves[0] == nil || m.saves[1] == nil {
			return nil
		}
	}
	for w := range ways {
		saves := m.saves
		make := p.stale
		if w == apartOne || w == apartSeveral {
			make = p.apart
		}
		if w == staleOne || w == apartOne {
			saves = [2][]string{m.sides[:1], m.sides[1:]}
			if m.sides[0] == m.sides[1] {
				continue // nothing to merge
			}
		} else if saves[0] == nil || saves[1] == nil || len(saves[0])+len(saves[1]) == 2 {
			continue
		}
		ours, err := make(m.base, saves)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", m.where, wayNames[w], err)
		}
		j := judge(m, saves, ours)
		t := &r.tallies[w]
		t.verdicts[j.verdict]++
		if m.clean {
			t.twiceClean += j.twice
		} else {
			t.twice += j.twice
		}
		if j.verdict != same && (j.verdict != present || j.twice > 0) {
			r.cases = append(r.cases, fmt.Sprintf("%s: %s: %s\n%s", m.where, wayNames[w], verdictNames[j.verdict], shown(j.lines)))
		}
	}
	return nil
}

func shown(ls []string) string {
	var b strings.Builder
	for i, l := range ls {
		if i == 8 {
			fmt.Fprintf(&b, "\t… %d more\n", len(ls)-i)
			break
		}
		fmt.Fprintf(&b, "\t%q\n", l)
	}
	return b.String()
}

// report prints the tables.
func report(out io.Writer, all []result, verbose bool) {
	total := result{name: "all"}
	for i := range all {
		total.merges += all[i].merges
		total.add(&all[i])
	}
	rows := all
	if len(all) > 1 {
		rows = append(rows[:len(rows):len(rows)], total)
	}
	fmt.Fprintln(out, "| repository | merges | with files both sides changed | files | of them left equal | not text |\n|---|---|---|---|---|---|")
	for _, r := range rows {
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d | %d |\n", r.name, r.merges, r.made, r.files, r.equal, r.notText)
	}
	for w := range ways {
		fmt.Fprintf(out, "\n%s:\n\n", wayNames[w])
		fmt.Fprintln(out, "| repository | git merges | the same bytes | | another order | doubled (lines) | other | git conflicts | all lines stand | joined inside lines | words glued | withdrawn | twice in conflicts (lines) | lost |")
		fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
		for _, r := range rows {
			t := r.tallies[w]
			v := t.verdicts
			clean := v[same] + v[order] + v[doubled] + v[other]
			fmt.Fprintf(out, "| %s | %d | %d | %s | %d | %d (%d) | %d | %d | %d | %d | %d | %d | %d | %d |\n", r.name, clean, v[same], percent(v[same], clean),
				v[order], v[doubled], t.twiceClean, v[other], v[present]+v[words]+v[glued]+v[withdrawn], v[present], v[words], v[glued], v[withdrawn], t.twice, v[lost])
		}
	}
	if verbose {
		for _, r := range all {
			for _, c := range r.cases {
				fmt.Fprintf(out, "\n%s: %s", r.name, c)
			}
		}
	}
}

func percent(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", float64(n)*100/float64(of))
}
