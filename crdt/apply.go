package crdt

import (
	"errors"

	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// when says where an operation stands in the order of all, and when it was.
type when struct {
	stamp   tree.Stamp
	applied int64  // unix ns, by this device's clock
	made    int64  // unix ms, by its maker's clock
	lends   uint64 // order of the entry if its texts can be read from it, else 0
}

// apply is the one place where an operation, local or remote, becomes part of
// the state. What must be stored with it goes to b, which is nil while a
// folder is opened and it is stored already. What it returns goes into the
// entry's record. It runs with mu held.
func (f *Folder) apply(b *kv.Batch, w when, o op) (recorded, []tree.Change) {
	var v resolved
	if o.Text != nil {
		var err error
		if v, err = f.resolve(o.Text); errors.Is(err, errUnknownParent) {
			f.wait(*o.Text, w)
			return recorded{Raw: &o}, nil
		} else if err != nil {
			return recorded{}, nil // malformed: nothing, on every device
		}
	}
	return f.applyResolved(b, w, o, v)
}

// applyResolved is apply of an operation of which is known what it stands for, if it is a textOp.
func (f *Folder) applyResolved(b *kv.Batch, w when, o op, v resolved) (recorded, []tree.Change) {
	switch {
	case o.Tree != nil:
		t := *o.Tree
		// Only a textOp may make a version of a text: its hunks belong to it.
		if t.Do == tree.OpContent && (t.Object == nil || t.Event != objectEvent(t.Node, t.Parents, fromTree(t.Object))) {
			return recorded{}, nil
		}
		if f.deaf(w, &t) {
			return recorded{}, nil
		}
		if t.Do == tree.OpContent {
			t.Time, t.By = w.made, authorOf(t.By)
			f.wantedAgain(b, t.Object.Hash)
		}
		return recorded{Tree: &t}, f.place(b, w, t, 0)
	case o.Text != nil:
		v.op.Time = w.made
		return recorded{Tree: &v.op, Size: sizeOf(v.event)}, f.addText(b, w, v)
	case o.Admit != nil:
		f.admit(*o.Admit, w.stamp)
		return recorded{Raw: &o}, nil
	case o.Found != nil:
		f.foundBy(*o.Found, w.stamp)
		return recorded{Raw: &o}, nil
	case o.Mark != nil:
		return recorded{Raw: &o}, nil
	}
	return recorded{}, nil
}

func (f *Folder) addText(b *kv.Batch, w when, v resolved) []tree.Change {
	if b != nil {
		f.storeText(b, w, v)
	}
	if v.here && sizeOf(v.event) >= keptAtOnce && f.unbegun(&v.op) {
		f.texts.begin(v.text, v.event)
	} else {
		f.texts.add(v.text, v.event)
	}
	return f.place(b, w, v.op, sizeOf(v.event))
}

// place hands one operation to the tree, with the size of its text where that is known, and
// applies what had waited for it.
func (f *Folder) place(b *kv.Batch, w when, t tree.Op, size int64) []tree.Change {
	w.stamp.Op = t.Hash()
	changes := f.tree.Apply([]tree.Stamped{{Stamp: w.stamp, Op: t, Size: size, Applied: w.applied}})
	return append(changes, f.wake(b)...)
}

func fromTree(o *tree.Object) Object { return Object{Hash: o.Hash, Size: o.Size} }

// changesOf joins the changes of one batch: one a node, from before the first
// to after the last.
func changesOf(cs []tree.Change) []Change {
	var out []Change
	at := map[NodeID]int{}
	for _, c := range cs {
		x := Change{Node: c.Node, What: whatOf(c.What), Before: Place(c.Before), After: Place(c.After), Alt: c.Alt}
		if c.Alt {
			out = append(out, x)
			continue
		}
		if i, ok := at[c.Node]; ok {
			out[i].What |= x.What
			if x.What&PlaceChanged != 0 {
				out[i].After = x.After
			}
			continue
		}
		at[c.Node] = len(out)
		out = append(out, x)
	}
	return out
}

func whatOf(k tree.What) (w What) {
	if k&tree.Content != 0 {
		w |= ContentChanged
	}
	if k&tree.Attr != 0 {
		w |= AttrChanged
	}
	if k&tree.Placed != 0 {
		w |= PlaceChanged
	}
	return w
}
