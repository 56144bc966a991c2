package crdt

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Action is what this device did to a folder in one go: the Updates of one Tx.Label, or one
// Update with those like it that followed without a pause: rm -r, a copied tree, a save that
// takes several steps. A second change of a file begins another one.
type Action struct {
	ID     ActionID  `json:"id"`
	Time   time.Time `json:"time"` // of its end
	Author string    `json:"author,omitempty"`
	Label  string    `json:"label"`            // what it was
	Undone bool      `json:"undone,omitempty"` // taken back, and not put back since
	Undoes ActionID  `json:"-"`                // not zero: it took that action back
}

// The pauses, in ms, that end an action, and how long one without a label may be. What another
// author than the person writes, a model, comes in pieces as it thinks.
const (
	pause       = 1000
	authorPause = 15_000
	longest     = 30_000
)

// class is what all operations of an Update do.
type class uint8

const (
	mixed class = iota
	creates
	writes
	moves
	removes
	sets // attributes
)

// action is an Action with its operations.
type action struct {
	Action
	class class
	redo  bool  // it took back an undo
	first int64 // unix ms
	last  int64
	order uint64 // of its last entry
	ops   []tree.Stamped
	nodes map[NodeID]bool
}

// Actions lists this device's last actions, newest first, at most limit.
func (f *Folder) Actions(limit int) ([]Action, error) {
	list, err := f.lastActions(limit)
	out := make([]Action, 0, len(list))
	for _, a := range slices.Backward(list) {
		out = append(out, a.Action)
	}
	return out, err
}

// lastActions returns this device's last actions, oldest first. It reads only as far back as
// it has to.
func (f *Folder) lastActions(limit int) ([]*action, error) {
	if err := f.seal(); err != nil {
		return nil, err
	}
	newest := f.Last()
	for span := uint64(256); ; span *= 4 {
		from := uint64(1)
		if span < newest {
			from = newest - span + 1
		}
		list, err := f.actionsSince(from, newest)
		if err != nil {
			return nil, err
		}
		// The first of them may have begun earlier.
		if from > 1 && len(list) > 0 {
			list = list[1:]
		}
		if n := len(list) - limit; n >= 0 {
			return list[n:], nil
		}
		if from == 1 {
			return list, nil
		}
	}
}

func (f *Folder) actionsSince(from, to uint64) ([]*action, error) {
	g := gathering{f: f, open: map[string]*action{}, byID: map[ActionID]*action{}}
	for n := from; n <= to; n++ {
		d, ok, err := f.recordAt(n)
		if err != nil {
			return nil, err
		}
		if ok && d.Feed.Device == f.home.device {
			g.record(d)
		}
	}
	for _, a := range g.list {
		if a.Label == "" {
			a.Label = f.summary(a)
		}
	}
	for _, a := range g.list {
		g.mark(a, false)
	}
	slices.SortStableFunc(g.list, func(a, b *action) int { return cmp.Compare(a.order, b.order) })
	return g.list, nil
}

// gathering makes actions of records.
type gathering struct {
	f    *Folder
	list []*action
	open map[string]*action // by author: the one that may go on
	byID map[ActionID]*action
	last named // several Updates are in one entry
}

// named is the entry of an order.
type named struct {
	order uint64 // 0: none
	hash  Hash
}

// hashOf names the entry that an operation came in.
func (g *gathering) hashOf(s tree.Stamp, order uint64) (Hash, error) {
	if g.last.order == order {
		return g.last.hash, nil
	}
	h, err := g.f.hashOf(s, order)
	if err == nil {
		g.last = named{order, h}
	}
	return h, err
}

// mark says whether an action is undone. What an undone undo took back stands again.
func (g *gathering) mark(a *action, undone bool) {
	a.Undone = undone
	if u := g.byID[a.Undoes]; u != nil && !a.Undoes.IsZero() {
		a.redo = !u.Undoes.IsZero() && !u.redo
		g.mark(u, !undone)
	}
}

func (g *gathering) record(d dated) {
	ops := slices.DeleteFunc(g.f.treeOps(d), func(o tree.Stamped) bool { return isHead(&o.Op) })
	if len(ops) == 0 {
		return
	}
	if m := d.mark(); m != nil {
		clear(g.open)
		a := g.byID[m.ID]
		if a == nil {
			a = g.begin(m.ID, d)
			if m.Undoes != nil {
				a.Undoes = *m.Undoes
			}
		}
		a.Label = labelOf(m.Label) // of several entries, the last knows best
		a.add(d, ops)
		return
	}
	begins := map[uint32]bool{}
	for _, o := range d.Ops {
		if o.Begin {
			begins[o.Index] = true
		}
	}
	for start := 0; start < len(ops); {
		end := start + 1
		for end < len(ops) && !begins[ops[end].Stamp.Index] {
			end++
		}
		g.update(d, ops[start:end], start == 0)
		start = end
	}
}

// update adds the operations of one Update.
func (g *gathering) update(d dated, ops []tree.Stamped, firstOfEntry bool) {
	author := ""
	for _, o := range ops {
		if o.Op.By != "" {
			author = o.Op.By
		}
	}
	a := g.open[author]
	if a == nil || !a.takes(d, ops, author, firstOfEntry) {
		var id ActionID
		h, err := g.hashOf(ops[0].Stamp, d.order)
		if err != nil {
			return
		}
		if !firstOfEntry { // several of one entry: each needs a name
			h = Hash(blake3.Sum256(append(h[:], be32(ops[0].Stamp.Index)...)))
		}
		copy(id[:], h[:])
		a = g.begin(id, d)
		a.Author, a.class = author, classOf(ops)
		g.open[author] = a
	}
	a.add(d, ops)
}

func (g *gathering) begin(id ActionID, d dated) *action {
	a := &action{Action: Action{ID: id}, first: d.at, nodes: map[NodeID]bool{}}
	g.list = append(g.list, a)
	g.byID[id] = a
	return a
}

func (a *action) add(d dated, ops []tree.Stamped) {
	a.last, a.order, a.Time = d.at, d.order, time.UnixMilli(d.at)
	a.ops = append(a.ops, ops...)
	for _, o := range ops {
		a.nodes[o.Op.Node] = true
	}
}

// takes reports whether an Update goes on with the action.
func (a *action) takes(d dated, ops []tree.Stamped, author string, firstOfEntry bool) bool {
	if author != "" {
		return d.at-a.last <= authorPause
	}
	if d.at-a.last > pause || d.at-a.first > longest {
		return false
	}
	c := classOf(ops)
	touched := slices.ContainsFunc(ops, func(o tree.Stamped) bool { return a.nodes[o.Op.Node] })
	switch {
	case c == sets && touched:
		return true // a save sets what the old file had
	case c == removes && a.class == writes && !firstOfEntry && !touched:
		return true // a save by rename takes the file away that it wrote
	}
	return c == a.class && c != mixed && !touched
}

// classOf is what all operations of an Update do.
func classOf(ops []tree.Stamped) class {
	made := map[NodeID]bool{}
	var all class
	for i, o := range ops {
		var c class
		switch o.Op.Do {
		case tree.OpCreate:
			made[o.Op.Node] = true
			c = creates
		case tree.OpPlace:
			c = moves
		case tree.OpRemove:
			c = removes
		case tree.OpContent:
			c = writes
		default:
			c = sets
		}
		if made[o.Op.Node] && (c == writes || c == sets) {
			c = creates
		}
		switch {
		case i == 0:
			all = c
		case c == all:
		case c == sets && all == writes:
		case all == sets && c == writes:
			all = writes
		default:
			return mixed
		}
	}
	return all
}

// summary says in a few words what an action did.
func (f *Folder) summary(a *action) string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	verbs := map[tree.OpKind]string{
		tree.OpCreate: "made", tree.OpPlace: "moved", tree.OpRemove: "removed", tree.OpContent: "wrote",
		tree.OpMode: "changed the mode of", tree.OpMtime: "set the time of", tree.OpXattr: "set an attribute of",
	}
	verb := verbs[a.ops[0].Op.Do]
	if a.class == mixed {
		verb = "changed"
	}
	top := a.ops[0].Op.Node
	if a.class == removes {
		top = a.ops[len(a.ops)-1].Op.Node // a directory goes after what was in it
	}
	path := orRoot(f.tree.LastPath(top))
	if len(a.nodes) == 1 {
		return verb + " " + path
	}
	return fmt.Sprintf("%s %s and %d more", verb, path, len(a.nodes)-1)
}

func orRoot(path string) string {
	if path == "" {
		return "the folder"
	}
	return path
}
