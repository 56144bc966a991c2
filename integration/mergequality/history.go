package main

import (
	"bufio"
	"container/heap"
	"context"
	"slices"
	"strings"
)

// history is a repository's commits. Numbers fall from parents to children: a commit comes
// before all that it knows of.
type history struct {
	ids     []string
	parents [][]int32
}

// mergeCommit is a merge that can be made again: two parents with one merge base.
type mergeCommit struct {
	id, base string
	parents  [2]string
	saves    [2][]string // commits from the base to each parent, the oldest first; nil: not one line
}

// maxSaves bounds the commits of one side that are made as saves.
const maxSaves = 200

func (r repo) history(ctx context.Context) (h history, err error) {
	p, err := r.pipe(ctx, []string{}, "rev-list", "--all", "--date-order", "--parents")
	if err != nil {
		return h, err
	}
	number := map[string]int32{}
	var lines [][]string
	for s := bufio.NewScanner(p.out); s.Scan(); {
		f := strings.Fields(s.Text())
		number[f[0]] = int32(len(lines))
		lines = append(lines, f)
		h.ids = append(h.ids, f[0])
	}
	for _, f := range lines {
		var ps []int32
		for _, id := range f[1:] {
			if n, ok := number[id]; ok { // not in a shallow repository
				ps = append(ps, n)
			}
		}
		h.parents = append(h.parents, ps)
	}
	return h, p.close()
}

// merges lists the merges that can be made again, by id, and counts all there are.
func (h *history) merges(limit int) (out []mergeCommit, all int) {
	var ns []int32
	for n, ps := range h.parents {
		if len(ps) > 1 {
			all++
		}
		if len(ps) == 2 {
			ns = append(ns, int32(n))
		}
	}
	slices.SortFunc(ns, func(a, b int32) int { return strings.Compare(h.ids[a], h.ids[b]) })
	if limit > 0 && len(ns) > limit {
		ns = ns[:limit]
	}
	side := make([]uint8, len(h.ids))
	for _, n := range ns {
		a, b := h.parents[n][0], h.parents[n][1]
		bases := h.bases(a, b, side)
		if len(bases) != 1 || bases[0] == a || bases[0] == b {
			continue
		}
		m := mergeCommit{id: h.ids[n], base: h.ids[bases[0]], parents: [2]string{h.ids[a], h.ids[b]}}
		m.saves = [2][]string{h.line(bases[0], a), h.line(bases[0], b)}
		out = append(out, m)
	}
	return out, all
}

type numbers []int32

func (q numbers) Len() int           { return len(q) }
func (q numbers) Less(i, j int) bool { return q[i] < q[j] }
func (q numbers) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *numbers) Push(x any)        { *q = append(*q, x.(int32)) }
func (q *numbers) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

// bases gives the merge bases of two commits. side is all zero, before and after.
func (h *history) bases(a, b int32, side []uint8) (out []int32) {
	const both, old = 3, 4 // old: reached from a base
	var q numbers
	var touched []int32
	open := 0 // in the queue, and not old
	mark := func(n int32, s uint8) {
		was := side[n]
		side[n] |= s
		switch {
		case was == 0:
			touched = append(touched, n)
			heap.Push(&q, n)
			if s < old {
				open++
			}
		case was < old && side[n] >= old:
			open--
		}
	}
	mark(a, 1)
	mark(b, 2)
	for open > 0 {
		n := heap.Pop(&q).(int32)
		s := side[n]
		if s < old {
			open--
			if s == both {
				out = append(out, n)
				s |= old
			}
		}
		for _, p := range h.parents[n] {
			mark(p, s)
		}
	}
	for _, n := range touched {
		side[n] = 0
	}
	return out
}

// line gives the commits from base, left out, to tip, along first parents; nil if they do not
// lead there.
func (h *history) line(base, tip int32) []string {
	var out []string
	for n := tip; n != base; n = h.parents[n][0] {
		if n > base || len(h.parents[n]) == 0 || len(out) == maxSaves {
			return nil
		}
		out = append(out, h.ids[n])
	}
	slices.Reverse(out)
	return out
}
