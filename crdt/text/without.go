package text

import "slices"

// Without is the current text as it would be had the given events changed nothing: what they inserted is not there, what
// nobody but them deleted is. What all others inserted and deleted stays. A hunk that also another event made is that
// event's too, and stays. Events that are not here are ignored. It replays the whole history.
func (d *Doc) Without(events []ID) string {
	g := d.engine
	without := make([]bool, len(g.nodes))
	for _, id := range events {
		if n, ok := d.numbers[id]; ok {
			without[n] = true
		}
	}
	if v, ok := d.left(without); ok {
		return d.view(v).String()
	}
	q := newSequence(d.name, -1, g.start)
	var ops [][]Op // by change
	q.record = func(c int32, op Op) {
		for len(ops) <= int(c) {
			ops = append(ops, nil)
		}
		ops[c] = append(ops[c], op)
	}
	var stays []bool // by change: an event that stays made it
	nodes := d.concluded(g.heads)
	without = append(without, false) // for the one that concludes them
	for e := range nodes {
		q.apply(nodes, e, nil)
		for len(stays) < len(q.changes) {
			stays = append(stays, false)
		}
		for _, c := range q.events[e].changes {
			stays[c] = stays[c] || !without[e]
		}
	}
	// What repeats something is deleted, whoever saved on it, where that something stays.
	for c := range stays {
		if kept := q.changes[c].kept; kept != nil {
			stays[c] = !slices.ContainsFunc(kept, func(k int32) bool { return !stays[k] })
		}
	}
	out := newRope("")
	for _, l := range q.leaves {
		for _, x := range l.spans {
			gone := !stays[x.change]
			for _, c := range x.dels {
				gone = gone || stays[c]
			}
			if !gone {
				out.splice(out.runes, 0, inserted(ops[x.change], q.changes[x.change].last, x), x.n)
			}
		}
	}
	return out.String()
}

// left is the version that is left where nothing that stays has seen what goes.
func (d *Doc) left(without []bool) (v []int32, ok bool) {
	seen := make([]bool, len(without))
	for e := len(without) - 1; e >= 0; e-- {
		if without[e] {
			if seen[e] {
				return nil, false
			}
			continue
		}
		if !seen[e] {
			v = append(v, int32(e))
		}
		for _, p := range d.engine.nodes[e].parents {
			seen[p] = true
		}
	}
	slices.Reverse(v)
	return v, true
}

// inserted is the text of a span, found among the operations of its change, of which last is the greatest counter.
func inserted(ops []Op, last int, x span) string {
	for i := len(ops) - 1; i >= 0; i-- {
		n := runeCount(ops[i].Insert)
		first := last - n + 1
		if n > 0 && x.first >= first && x.first <= last {
			s := ops[i].Insert
			s = s[prefix(s, x.first-first):]
			return s[:prefix(s, x.n)]
		}
		last -= n + ops[i].Delete
	}
	return ""
}
