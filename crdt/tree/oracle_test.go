package tree

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// oracle says what a set of operations means, in the plainest way: from scratch, with every
// directory in the log, without regard to cost.
type oracle struct {
	ops    []Stamped // in the order of stamps, without doubles
	here   func(feed.Hash) bool
	nodes  map[NodeID]*onode
	events map[NodeID]map[EventID]*oevent
}

type onode struct {
	id     NodeID
	kind   Kind
	parent NodeID
	name   string
	place  Stamp // that placed it
	kept   Stamp // the last placing, skipped or not
	mode   uint32
	target string
	xattrs map[string]string
	mtime  int64
	mtimed Stamp
	lost   []Stamped // removals
	alts   []Alt
	shown  string
}

type oevent struct {
	id      EventID
	parents Version
	object  *Object
	text    [16]byte
	at      Stamp
	time    int64
}

func newOracle(ops []Stamped, here func(feed.Hash) bool) *oracle {
	o := &oracle{here: here, nodes: map[NodeID]*onode{}, events: map[NodeID]map[EventID]*oevent{}}
	o.ops = slices.Clone(ops)
	slices.SortFunc(o.ops, func(a, b Stamped) int { return a.Stamp.Compare(b.Stamp) })
	o.ops = slices.CompactFunc(o.ops, func(a, b Stamped) bool { return a.Stamp == b.Stamp })
	o.ops = slices.DeleteFunc(o.ops, func(s Stamped) bool { return !s.Op.valid() })
	o.know()
	o.place()
	o.attributes()
	o.versions()
	for id, n := range o.nodes {
		if n.kind == Dir {
			o.names(id)
		}
	}
	return o
}

func (o *oracle) isDir(id NodeID) bool { n := o.nodes[id]; return n != nil && n.kind == Dir }

// know finds the nodes: those whose parent is one, too.
func (o *oracle) know() {
	o.nodes[Root] = &onode{kind: Dir, mode: 0o755}
	for found := true; found; {
		found = false
		for _, s := range o.ops {
			if s.Op.Do == OpCreate && o.nodes[s.Op.Node] == nil && o.isDir(s.Op.Parent) {
				o.nodes[s.Op.Node] = &onode{
					id: s.Op.Node, kind: s.Op.Kind, parent: s.Op.Parent, name: s.Op.Name,
					place: s.Stamp, target: s.Op.Target, xattrs: map[string]string{},
				}
				found = true
			}
		}
	}
}

func (o *oracle) place() {
	for _, s := range o.ops {
		n := o.nodes[s.Op.Node]
		if n == nil || s.Op.Do != OpCreate && s.Op.Do != OpPlace || !o.isDir(s.Op.Parent) {
			continue
		}
		n.kept = s.Stamp
		cycle := false
		for a := s.Op.Parent; n.kind == Dir && a != Root; a = o.nodes[a].parent {
			cycle = cycle || a == n.id
		}
		if !cycle {
			n.parent, n.name, n.place = s.Op.Parent, s.Op.Name, s.Stamp
		}
	}
}

func (o *oracle) attributes() {
	for _, s := range o.ops {
		n := o.nodes[s.Op.Node]
		if n == nil {
			continue
		}
		switch s.Op.Do {
		case OpCreate, OpMode:
			if s.Op.Do == OpMode || o.isDir(s.Op.Parent) {
				n.mode = s.Op.Mode & 0o7777
			}
		case OpMtime:
			n.mtime, n.mtimed = s.Op.Mtime, s.Stamp
		case OpXattr:
			if n.xattrs == nil {
				n.xattrs = map[string]string{}
			}
			delete(n.xattrs, s.Op.Key)
			if !s.Op.Delete {
				n.xattrs[s.Op.Key] = string(s.Op.Value)
			}
		case OpRemove:
			if s.Stamp.Compare(n.kept) > 0 {
				n.lost = append(n.lost, s)
			}
		}
	}
}

func (o *oracle) versions() {
	for found := true; found; {
		found = false
		for _, s := range o.ops {
			n := o.nodes[s.Op.Node]
			if s.Op.Do != OpContent || n == nil || n.kind != File {
				continue
			}
			if o.events[n.id] == nil {
				o.events[n.id] = map[EventID]*oevent{}
			}
			all := o.events[n.id]
			unknown := slices.ContainsFunc(s.Op.Parents, func(p EventID) bool { return all[p] == nil })
			if all[s.Op.Event] != nil || unknown {
				continue
			}
			all[s.Op.Event] = &oevent{s.Op.Event, s.Op.Parents, s.Op.Object, s.Op.Text, s.Stamp, s.Op.Time}
			found = true
		}
	}
	// The first operation counts, though a lie may have it before those it builds on.
	for _, s := range slices.Backward(o.ops) {
		if e := o.events[s.Op.Node][s.Op.Event]; e != nil && s.Op.Do == OpContent {
			e.at, e.time = s.Stamp, s.Op.Time
		}
	}
}

// past adds an event and all before it to a set.
func (o *oracle) past(node NodeID, id EventID, set map[EventID]bool) {
	e := o.events[node][id]
	if e == nil || set[id] {
		return
	}
	set[id] = true
	for _, p := range e.parents {
		o.past(node, p, set)
	}
}

// maximal returns the events for which ok holds that are before no other such.
func (o *oracle) maximal(node NodeID, ok func(*oevent) bool) []*oevent {
	before := map[EventID]bool{}
	for _, e := range o.events[node] {
		if ok(e) {
			for _, p := range e.parents {
				o.past(node, p, before)
			}
		}
	}
	var out []*oevent
	for _, e := range o.events[node] {
		if ok(e) && !before[e.id] {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *oevent) int { return b.at.Compare(a.at) })
	return out
}

// groups returns the visible versions of a file, the one under the name first.
func (o *oracle) groups(node NodeID) [][]*oevent {
	var out [][]*oevent
	ready := func(e *oevent) bool { return e.object == nil || o.here(e.object.Hash) }
next:
	for _, e := range o.maximal(node, ready) {
		for i, g := range out {
			both := e.object != nil && g[0].object != nil && e.object.Hash == g[0].object.Hash
			if both || e.object == nil && g[0].object == nil && e.text == g[0].text {
				out[i] = append(g, e)
				continue next
			}
		}
		out = append(out, []*oevent{e})
	}
	return out
}

func oversion(g []*oevent) Version {
	var v Version
	for _, e := range g {
		v = append(v, e.id)
	}
	return NewVersion(v...)
}

func (o *oracle) alive(n *onode) bool {
	switch {
	case len(n.lost) == 0:
		return true
	case n.kind == File:
		return len(o.gone(n)) < len(o.events[n.id])
	case n.kind == Dir:
		for _, c := range o.nodes {
			if c.id != Root && c.parent == n.id && o.visible(c) {
				return true
			}
		}
	}
	return false
}

func (o *oracle) visible(n *onode) bool {
	if n.kind != File || len(o.events[n.id]) == 0 {
		return o.alive(n)
	}
	gone := o.gone(n)
	for _, e := range o.events[n.id] {
		if !gone[e.id] && (e.object == nil || o.here(e.object.Hash)) {
			return true
		}
	}
	return false
}

// gone are the events of a file that somebody who removed it had seen.
func (o *oracle) gone(n *onode) map[EventID]bool {
	seen := map[EventID]bool{}
	for _, r := range n.lost {
		for _, id := range r.Op.Seen {
			o.past(n.id, id, seen)
		}
	}
	return seen
}

// names gives the shown names of a directory's children.
func (o *oracle) names(dir NodeID) {
	type candidate struct {
		n  *onode
		at Stamp
		g  []*oevent
	}
	byName := map[string][]*onode{}
	for id, n := range o.nodes {
		if id != Root && n.parent == dir {
			n.shown = n.name
			byName[n.name] = append(byName[n.name], n)
		}
	}
	var list []candidate
	for _, all := range byName {
		last := slices.MaxFunc(all, func(a, b *onode) int { return a.place.Compare(b.place) })
		for _, n := range all {
			if n != last && o.alive(n) {
				list = append(list, candidate{n: n, at: n.place})
			}
			if n.kind != File || !o.visible(n) {
				continue
			}
			for i, g := range o.groups(n.id) {
				if i > 0 {
					list = append(list, candidate{n, g[0].at, g})
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.n.name, b.n.name), a.at.Compare(b.at))
	})
	used := map[string]bool{}
	for _, c := range list {
		suffix := c.at.Feed.Device.Short()
		if c.g != nil && c.g[0].time != 0 {
			suffix += " 2023-11-" + fmt.Sprint(14+c.g[0].time/86_400_000-1_700_000_000_000/86_400_000)
		}
		for i := 1; ; i++ {
			name := suffixed(&node{name: c.n.name, kind: c.n.kind}, suffix, i)
			if used[name] || byName[name] != nil {
				continue
			}
			used[name] = true
			if c.g == nil {
				c.n.shown = name
			} else {
				c.n.alts = append(c.n.alts, Alt{Name: name, Version: oversion(c.g)})
			}
			break
		}
	}
}

func (o *oracle) path(n *onode) string {
	if n.id == Root {
		return ""
	}
	return o.path(o.nodes[n.parent]) + "/" + n.shown
}

// dump describes everything.
func (o *oracle) dump() string {
	var lines []string
	for id, n := range o.nodes {
		i := Info{
			Node: id, Kind: n.kind, Mode: n.mode, Target: n.target, Parent: n.parent, Name: n.name,
			Removed: !o.alive(n), Visible: o.visible(n),
		}
		path := ""
		if i.Visible {
			path = o.path(n)
		}
		last := Stamp{}
		if g := o.groups(id); len(g) > 0 {
			i.Version, last = oversion(g[0]), g[0][0].at
		}
		var tops []Event
		for _, e := range o.maximal(id, func(*oevent) bool { return true }) {
			tops = append(tops, Event{ID: e.id, Stamp: e.at})
		}
		if i.MtimeSet = n.mtimed.Lamport > 0 && n.mtimed.Compare(last) > 0; i.MtimeSet {
			i.Mtime = n.mtime
		}
		lines = append(lines, line(path, &i, tops, n.xattrs))
		for _, a := range n.alts {
			lines = append(lines, fmt.Sprintf("%s/%s = %v", o.path(o.nodes[n.parent]), a.Name, a.Version))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// dump describes everything that a tree knows, as the oracle's does.
func dump(t *Tree) string {
	paths := map[NodeID]string{Root: ""}
	var lines []string
	t.Walk(func(path string, e Dirent) bool {
		if e.Alt {
			lines = append(lines, fmt.Sprintf("/%s = %v", path, e.Version))
		} else {
			paths[e.Node] = "/" + path
		}
		return true
	})
	for n := range t.nodes.all() {
		id := n.id
		xattrs := map[string]string{}
		for k, v := range t.Xattrs(id) {
			xattrs[k] = string(v)
		}
		lines = append(lines, line(paths[id], t.Get(id), t.Heads(id), xattrs))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func line(path string, i *Info, tops []Event, xattrs map[string]string) string {
	var heads, attrs []string
	for _, h := range tops {
		heads = append(heads, fmt.Sprintf("%v@%d/%d", Version{h.ID}, h.Stamp.Lamport, h.Stamp.Feed.Device[0]))
	}
	slices.Sort(heads)
	for _, k := range slices.Sorted(maps.Keys(xattrs)) {
		attrs = append(attrs, k+"="+xattrs[k])
	}
	mtime := int64(0)
	if i.MtimeSet {
		mtime = i.Mtime
	}
	return fmt.Sprintf("%s %v %v own %v %q mode %o target %q removed %v shown %v version %v heads %v mtime %v xattrs %v",
		path, i.Node, i.Kind, i.Parent, i.Name, i.Mode, i.Target, i.Removed, i.Visible, i.Version, heads, mtime, attrs)
}
