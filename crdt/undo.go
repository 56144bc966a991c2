package crdt

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Undone says what an undo did.
type Undone struct {
	Action Action   `json:"action"` // the one that was taken back
	ID     ActionID `json:"id"`     // of the undo itself
	Done   []string `json:"done"`   // what is as it was, one line a path
	Left   []string `json:"left"`   // what could not be, and why
}

// Undo takes back what this device did in its last action that is neither an undo nor undone;
// with redo, its last undo; with an id, that action. id begins with at least four hexadecimal
// digits of it.
//
// It is a new change, and takes back only what the action did: what others did since, or at
// the same time, stays. Text that the action put in goes, text that nobody else deleted comes
// back. Moves, deletions, creations, modes and attributes are reversed unless they were
// overtaken: Undone.Left names those. It fails with ErrNotExist where there is nothing to undo.
func (f *Folder) Undo(id string, redo bool) (Undone, error) {
	a, err := f.actionToUndo(id, redo)
	if err != nil {
		return Undone{}, err
	}
	before, err := f.stateBefore(a)
	if err != nil {
		return Undone{}, err
	}
	label := "undo: " + a.Label
	if !a.Undoes.IsZero() {
		label = "redo: " + strings.TrimPrefix(a.Label, "undo: ")
	}
	u := &undo{a: a, before: before, out: Undone{Action: a.Action, ID: NewActionID(), Done: []string{}, Left: []string{}}}
	err = f.Update(func(tx *Tx) error {
		if err := tx.mark(markOp{ID: u.out.ID, Label: label, Undoes: &a.ID}); err != nil {
			return err
		}
		u.tx, u.f = tx, f
		u.run()
		if tx.ops == 0 {
			// Nothing is left of it; the mark alone says that it is undone.
			return errors.Join(u.err, tx.add(op{Mark: tx.label}))
		}
		return u.err
	})
	return u.out, err
}

// undoable is how many actions back an undo looks.
const undoable = 1000

func (f *Folder) actionToUndo(id string, redo bool) (*action, error) {
	if id != "" && len(id) < minPrefix {
		return nil, &Error{Op: "undo", Path: id, Kind: ErrInvalid, Err: errors.New("not the id of an action"), Hint: "sheaf undo --list shows them"}
	}
	for _, n := range []int{16, undoable} {
		list, err := f.lastActions(n)
		if err != nil {
			return nil, err
		}
		for _, a := range slices.Backward(list) {
			switch {
			case id != "" && strings.HasPrefix(a.ID.String(), strings.ToLower(id)),
				id == "" && !a.Undone && !redo && a.Undoes.IsZero(),
				id == "" && !a.Undone && redo && !a.Undoes.IsZero() && !a.redo:
				return a, nil
			}
		}
	}
	what := "this device has done nothing here that is not undone"
	if redo {
		what = "there is no undo to take back"
	} else if id != "" {
		what = "no such action of this device"
	}
	return nil, &Error{Op: "undo", Path: id, Kind: ErrNotExist, Err: errors.New(what), Hint: "sheaf undo --list shows what there is; sheaf restore brings back any other state"}
}

// former is what an action's node was before it.
type former struct {
	parent NodeID
	name   string
	placed bool
	gone   bool // it was removed
	mode   *uint32
	xattrs map[string][]byte
}

// stateBefore finds what the places and attributes that an action set were before it.
func (f *Folder) stateBefore(a *action) (map[NodeID]*former, error) {
	before := map[NodeID]*former{}
	for _, o := range a.ops {
		switch o.Op.Do {
		case tree.OpPlace, tree.OpMode, tree.OpXattr:
			before[o.Op.Node] = &former{xattrs: map[string][]byte{}}
		}
	}
	if len(before) == 0 {
		return before, nil
	}
	first := a.ops[0].Stamp
	err := f.scanRecords(func(d dated) error {
		for _, o := range d.Ops {
			if o.Tree == nil || before[o.Tree.Node] == nil {
				continue
			}
			if d.Feed == first.Feed && (d.Seq > first.Seq || d.Seq == first.Seq && o.Index >= first.Index) || d.order > a.order {
				return nil // the action, or after it
			}
			was := before[o.Tree.Node]
			switch o.Tree.Do {
			case tree.OpCreate:
				was.parent, was.name, was.placed, was.gone, was.mode = o.Tree.Parent, o.Tree.Name, true, false, &o.Tree.Mode
			case tree.OpPlace:
				was.parent, was.name, was.placed, was.gone = o.Tree.Parent, o.Tree.Name, true, false
			case tree.OpRemove:
				was.gone = true
			case tree.OpMode:
				was.mode = &o.Tree.Mode
			case tree.OpXattr:
				if delete(was.xattrs, o.Tree.Key); !o.Tree.Delete {
					was.xattrs[o.Tree.Key] = o.Tree.Value
				}
			}
		}
		return nil
	})
	return before, err
}

// undo is one undo at work. Its methods run in an Update.
type undo struct {
	f      *Folder
	tx     *Tx
	a      *action
	before map[NodeID]*former
	out    Undone
	err    error
}

// effects are what an action did to one node.
type effects struct {
	node    NodeID
	create  *tree.Op
	place   *tree.Op // the last one
	removed bool
	mode    *tree.Op
	xattrs  map[string]*tree.Op
	events  []tree.Op // in order
}

func (u *undo) run() {
	list := u.effects()
	// Directories went after what was in them, and come back before it; what came goes the
	// same way.
	for _, e := range slices.Backward(list) {
		if e.removed {
			u.bringBack(e)
		}
	}
	for _, e := range list {
		if !e.removed && !u.came(e) {
			u.moveBack(e)
			u.content(e)
			u.attributes(e)
		}
	}
	for _, e := range slices.Backward(list) {
		if !e.removed && u.came(e) {
			u.takeAway(e)
		}
	}
}

// came reports whether a node was not there before the action.
func (u *undo) came(e *effects) bool {
	return e.create != nil || e.place != nil && u.before[e.node] != nil && u.before[e.node].gone
}

// effects sums up the action by node, in the order in which it touched them first.
func (u *undo) effects() []*effects {
	var list []*effects
	by := map[NodeID]*effects{}
	for i := range u.a.ops {
		o := &u.a.ops[i].Op
		e := by[o.Node]
		if e == nil {
			e = &effects{node: o.Node, xattrs: map[string]*tree.Op{}}
			by[o.Node] = e
			list = append(list, e)
		}
		switch o.Do {
		case tree.OpCreate:
			if !e.removed {
				e.create = o
			}
			e.removed = false
		case tree.OpPlace:
			e.place, e.removed = o, false
		case tree.OpRemove:
			e.removed = true
		case tree.OpContent:
			e.events = append(e.events, *o)
		case tree.OpMode:
			e.mode = o
		case tree.OpXattr:
			e.xattrs[o.Key] = o
		}
	}
	return list
}

func (u *undo) done(path, what string) { u.out.Done = append(u.out.Done, what+" "+path) }

// did is done where err is nil, else it keeps err.
func (u *undo) did(err error, path, what string) {
	if err != nil {
		u.err = errors.Join(u.err, err)
		return
	}
	u.done(path, what)
}

func (u *undo) left(node NodeID, why string) {
	u.out.Left = append(u.out.Left, u.f.tree.LastPath(node)+": "+why)
}

// bringBack takes back a removal.
func (u *undo) bringBack(e *effects) {
	n := u.f.tree.Get(e.node)
	switch {
	case n == nil || e.create != nil:
		// It was made and removed: nothing is left to take back.
	case n.Visible:
		u.left(e.node, "it is there again already")
	default:
		path, err := u.tx.revive(e.node)
		u.did(err, path, "brought back")
	}
}

// moveBack takes back a move.
func (u *undo) moveBack(e *effects) {
	was, n := u.before[e.node], u.f.tree.Get(e.node)
	switch {
	case e.place == nil || n == nil || was == nil || !was.placed:
		return
	case n.Parent != e.place.Parent || n.Name != e.place.Name:
		u.left(e.node, "it was moved again since")
		return
	case !n.Visible:
		u.left(e.node, "it was removed since")
		return
	case was.parent == n.Parent && was.name == n.Name:
		return
	}
	from := u.f.tree.LastPath(e.node)
	dir, err := u.tx.dirAgain(was.parent)
	if err != nil {
		u.err = errors.Join(u.err, err)
		return
	}
	for d := dir; n.Kind == Dir && d != Root; d = u.f.tree.Get(d).Parent {
		if d == e.node {
			u.left(e.node, "where it was is below it now")
			return
		}
	}
	to, err := u.tx.putBack(e.node, dir, was.name)
	u.did(err, from+" to "+to, "moved")
}

// takeAway removes what the action made or brought back, unless somebody changed it since.
func (u *undo) takeAway(e *effects) {
	n := u.f.tree.Get(e.node)
	if n == nil || !n.Visible {
		return // gone already
	}
	switch {
	case n.Kind == Dir && len(u.f.tree.ReadDir(e.node)) > 0:
		u.left(e.node, "it is not empty")
		return
	case n.Kind == File && !u.untouched(e, n):
		u.left(e.node, "it was changed since")
		return
	}
	path := u.f.tree.LastPath(e.node)
	if err := u.tx.remove(e.node, n.Version); err != nil {
		u.left(e.node, err.Error())
		return
	}
	u.done(path, "removed")
}

// untouched reports whether a file holds what the action left in it.
func (u *undo) untouched(e *effects, n *tree.Info) bool {
	if e.create == nil && len(e.events) == 0 {
		// It was brought back, with the content that it had.
		end := u.a.ops[len(u.a.ops)-1].Stamp.Lamport
		return !slices.ContainsFunc(u.f.tree.Heads(n.Node), func(h tree.Event) bool { return h.Stamp.Lamport > end })
	}
	var last Version
	if k := len(e.events); k > 0 {
		last = Version{e.events[k-1].Event}
	}
	if n.Version.Equal(last) {
		return true
	}
	now, err := u.f.contentOf(n)
	if err != nil {
		return false
	}
	then, err := u.f.contentAt(e.node, last)
	return err == nil && sameContent(now, NewContent{Text: then.Text, Object: then.Object})
}

// content takes back what the action wrote into a file that had been there before.
func (u *undo) content(e *effects) {
	n := u.f.tree.Get(e.node)
	if len(e.events) == 0 || n == nil {
		return
	}
	if !n.Visible {
		u.left(e.node, "it was removed since")
		return
	}
	c, ok := u.textWithout(e, n)
	if !ok {
		if c, ok = u.versionBefore(e, n); !ok {
			return
		}
	}
	now, err := u.f.contentOf(n)
	if err != nil {
		u.err = errors.Join(u.err, err)
		return
	}
	if sameContent(now, c) {
		return // nothing of it is left
	}
	if _, err := u.tx.write(e.node, n.Version, c.inPieces()); err != nil {
		u.err = errors.Join(u.err, err)
		return
	}
	u.done(u.f.tree.LastPath(e.node), "took back changes in")
}

// textWithout is the text that a file would hold without the action; ok is false where the
// action, or somebody since, began a new text or an object.
func (u *undo) textWithout(e *effects, n *tree.Info) (c NewContent, ok bool) {
	if n.Object != nil || len(n.Version) == 0 {
		return c, false
	}
	var ids []text.ID
	chain := true
	for i, ev := range e.events {
		x, known := u.f.tree.Event(e.node, ev.Event)
		if !known || x.Object != nil || x.Text != n.Text {
			return c, false
		}
		for _, p := range x.Parents {
			if px, _ := u.f.tree.Event(e.node, p); px.Object != nil || px.Text != x.Text {
				return c, false // the first of its text
			}
		}
		chain = chain && (i == 0 || x.Parents.Equal(Version{e.events[i-1].Event}))
		ids = append(ids, text.ID(ev.Event))
	}
	first, _ := u.f.tree.Event(e.node, e.events[0].Event)
	err := u.f.withDoc(e.node, n.Text, func(d *text.Doc) error {
		// Where all is as the action left it, it becomes as it was. Text that was taken out
		// and put in again elsewhere would have lost its place in the other way.
		if after, err := d.At(ids[len(ids)-1:]); chain && err == nil && (after == d.Text() || fault.On("crdt-undo-blind")) {
			c.Text, err = d.At(textIDs(first.Parents))
			return err
		}
		c.Text = d.Without(ids)
		return nil
	})
	return c, err == nil
}

// versionBefore is what a file held before the action, if nobody has written to it since.
func (u *undo) versionBefore(e *effects, n *tree.Info) (c NewContent, ok bool) {
	last := e.events[len(e.events)-1].Event
	if len(n.Version) != 1 || n.Version[0] != last {
		u.left(e.node, "it was changed since, and does not merge")
		return c, false
	}
	first, _ := u.f.tree.Event(e.node, e.events[0].Event)
	was, err := u.f.contentAt(e.node, first.Parents)
	if err != nil || was.Object != nil && !u.f.home.objects.Has(blob.Hash(was.Object.Hash)) {
		u.left(e.node, "what it held before is not on this device any more")
		return c, false
	}
	return NewContent{Text: was.Text, Object: was.Object}, true
}

// attributes puts back what nobody else has set since.
func (u *undo) attributes(e *effects) {
	was, n := u.before[e.node], u.f.tree.Get(e.node)
	if was == nil || n == nil || !n.Visible {
		return
	}
	if e.mode != nil && was.mode != nil && *was.mode != e.mode.Mode {
		if n.Mode == e.mode.Mode {
			err := u.tx.add(op{Tree: &tree.Op{Do: tree.OpMode, Node: e.node, Mode: *was.mode}})
			u.did(err, u.f.tree.LastPath(e.node), "set the mode back of")
		} else {
			u.left(e.node, "its mode was changed since")
		}
	}
	now := u.f.tree.Xattrs(e.node)
	for _, key := range slices.Sorted(maps.Keys(e.xattrs)) {
		o := e.xattrs[key]
		have, set := now[key]
		if set == o.Delete || string(have) != string(o.Value) {
			u.left(e.node, "its attribute "+key+" was changed since")
			continue
		}
		old, had := was.xattrs[key]
		err := u.tx.add(op{Tree: &tree.Op{Do: tree.OpXattr, Node: e.node, Key: key, Value: old, Delete: !had}})
		u.did(err, u.f.tree.LastPath(e.node), "set the attribute "+key+" back of")
	}
}
