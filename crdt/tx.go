package crdt

import (
	"errors"
	"slices"

	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Tx is a group of changes that become visible, and reach the database,
// together. It is valid only inside the function given to Update, and not safe
// for concurrent use.
type Tx struct {
	f       *Folder
	b       *kv.Batch
	changes []tree.Change
	turned  int // of the changes, those that turn stored
	locals  []local
	ops     int // operations made
	stored  int // other things to store
	by      string
	label   *markOp // to be sealed by itself
	saves   map[NodeID]save
	marked  bool  // the label is in the entry that is pending
	failed  error // why what was done before could not be stored
	bulk    bool  // sealed with what it stores: nothing is pending afterwards
}

// local is a value to be stored with the last of the changes: a restart must not take them for
// made before all of them are.
type local struct{ key, value []byte }

// save is what one Update did to a file's content.
type save struct{ base, saved Version }

// By makes author the one whose content the transaction writes from here on: a
// program that writes for itself, not for the person at the device, which
// signs nonetheless. It is for people to read, at most 128 bytes of plain text.
func (tx *Tx) By(author string) { tx.by = authorOf(author) }

// saved keeps what subscribers hear of a save.
func (tx *Tx) saved(node NodeID, base, v Version) {
	if tx.saves == nil {
		tx.saves = map[NodeID]save{}
	}
	if s, ok := tx.saves[node]; ok {
		base = s.base
	}
	tx.saves[node] = save{slices.Clone(base), v}
}

// told are the changes as subscribers hear of them.
func (tx *Tx) told() []Change {
	cs := changesOf(tx.changes)
	for i := range cs {
		if s, ok := tx.saves[cs[i].Node]; ok && !cs[i].Alt && cs[i].What&ContentChanged != 0 {
			cs[i].Base, cs[i].Saved = s.base, s.saved
		}
	}
	return cs
}

// Update runs fn, whose changes are one batch: they survive the death of the
// process when Update returns. Where fn fails, what it did before stands. More
// than 4 MiB of changes, or 4096, are several entries, and as many batches.
// fn must not call the folder's other methods: they would wait for it.
func (f *Folder) Update(fn func(*Tx) error) error { return f.UpdateAs(nil, fn) }

// UpdateAs is Update whose Notice carries origin, so that a subscriber can
// tell its own changes.
func (f *Folder) UpdateAs(origin any, fn func(*Tx) error) error { return f.update(origin, false, fn) }

// Bulk is Update for many changes that were not there before, as an import makes them: they
// are one entry, which is signed and stored with what it does, so that nothing of them is
// written twice. The changes of one Bulk should stay below half a megabyte, one that is larger
// by itself excepted; they must not be more than an entry can hold, else nothing is done.
func (f *Folder) Bulk(fn func(*Tx) error) error { return f.BulkAs(nil, fn) }

// BulkAs is Bulk whose Notice carries origin. While changes gather (Gather) it is UpdateAs.
func (f *Folder) BulkAs(origin any, fn func(*Tx) error) error { return f.update(origin, true, fn) }

func (f *Folder) update(origin any, bulk bool, fn func(*Tx) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.changeable("update"); err != nil {
		return err
	}
	bulk = bulk && !f.gathering()
	if f.pending != nil && (bulk || f.pending.full()) {
		if err := f.sealLocked(); err != nil {
			return err
		}
	}
	tx := &Tx{f: f, b: f.home.db.Batch(), bulk: bulk}
	ferr := fn(tx)
	if tx.failed != nil {
		err := f.disown(tx.failed) // what came after is nowhere but in memory
		tx.tellTurned(origin)
		return err
	}
	if tx.ops == 0 && tx.stored == 0 {
		return ferr
	}
	for _, l := range tx.locals {
		if l.value == nil {
			tx.b.Delete(l.key)
		} else {
			tx.b.Set(l.key, l.value)
		}
	}
	sealed := func() {}
	if bulk && tx.ops > 0 {
		var err error
		if sealed, err = f.sealInto(tx.b); err != nil {
			return f.disown(err)
		}
	}
	if err := f.commit(tx.b); err != nil {
		tx.tellTurned(origin)
		return err
	}
	sealed()
	if tx.ops > 0 {
		f.post(Notice{Local: true, Origin: origin, By: f.home.device, Changes: tx.told()})
		f.home.flush.poke()
	}
	if tx.label != nil {
		if err := f.sealLocked(); err != nil {
			f.home.log.Warn("a labelled change is not sealed yet", "folder", f.grant.Name, "err", err)
		}
	}
	return ferr
}

// usable says whether the memory can be trusted, and mends it if it cannot.
func (f *Folder) usable() error {
	if f.closed {
		return fail("update", f.grant.Name, ErrClosed, nil)
	}
	if f.broken == nil {
		return nil
	}
	if err := f.load(); err != nil {
		f.broken = err
		return err
	}
	return nil
}

// changeable says whether this device may make an entry, be it to admit another one: others
// would refuse it until they know of this device's own admission, which must come first.
func (f *Folder) changeable(op string) error {
	if err := f.usable(); err != nil {
		return err
	}
	if _, ok := f.members[f.home.device]; !ok {
		return &Error{Op: op, Path: f.grant.Name, Kind: ErrDenied, Err: errors.New("this device's admission has not arrived yet"),
			Hint: "wait for the first sync"}
	}
	return f.refuseChange(op)
}

// commit stores a batch that the memory already shows. If it cannot be stored,
// the memory is made anew from what is.
func (f *Folder) commit(b *kv.Batch) error {
	f.shelf.store(b)
	if err := f.shelf.err; err != nil {
		return f.disown(err)
	}
	err := f.home.db.Commit(b)
	f.unstored = unstored{}
	if err == nil {
		return nil
	}
	return f.disown(storage("update", f.grant.Name, err))
}

// disown makes the memory anew from what is stored, because of err, which it returns.
func (f *Folder) disown(err error) error {
	f.unstored = unstored{}
	f.broken = err
	if lerr := f.load(); lerr != nil {
		f.broken = lerr
	}
	return err
}

// add makes an operation. It fails with ErrInvalid where no device would take it, and the
// operation is not made.
func (tx *Tx) add(o op) error {
	enc := encode(o)
	kept, err := tx.pend(o, len(enc))
	if err == nil && !tx.bulk {
		tx.b.Set(tx.f.key('p', be32(kept.Index)), enc)
	}
	return err
}

// turn stores what was done so far and seals what is pending, if that and an operation of size
// bytes would be more than one entry should hold: nothing larger can be sealed, ever.
func (tx *Tx) turn(size int) {
	f, p := tx.f, tx.f.pending
	if tx.bulk || tx.failed != nil || p == nil || len(p.ops) == 0 || !p.full() && p.bytes+size <= maxPendingBytes {
		return
	}
	if tx.ops == 0 { // all that is pending is stored, and nothing of this Update is to be without the rest
		tx.failed = f.sealLocked()
		return
	}
	if tx.failed = f.commit(tx.b); tx.failed == nil {
		tx.turned = len(tx.changes)
		tx.failed = f.sealLocked()
	}
	tx.b, tx.marked = f.home.db.Batch(), false
}

// tellTurned tells subscribers of what an Update that failed had stored before.
func (tx *Tx) tellTurned(origin any) {
	if tx.changes = tx.changes[:tx.turned]; tx.turned > 0 {
		tx.f.post(Notice{Local: true, Origin: origin, By: tx.f.home.device, Changes: tx.told()})
	}
}

// addText is add for a textOp. It returns the version that the operation makes in the tree.
func (tx *Tx) addText(o *textOp) (*tree.Op, error) {
	kept, err := tx.pend(op{Text: o}, len(o.Event))
	if err != nil || tx.bulk {
		return kept.Tree, err
	}
	p := pendingOp{op: op{Text: o}}
	if len(o.Event) >= longEvent {
		s := tx.f.pending.stamp()
		s.Index = kept.Index
		p.Text = &textOp{Node: o.Node, By: o.By}
		p.Stored = &storedText{tx.f.textKey(s, kept.Tree), kept.Tree.Parents}
	}
	tx.b.Set(tx.f.key('p', be32(kept.Index)), encode(p))
	return kept.Tree, nil
}

// pend applies an operation and returns what is kept of it.
func (tx *Tx) pend(o op, size int) (recorded, error) {
	if o.Mark == nil {
		tx.turn(size)
		if tx.label != nil && !tx.marked {
			if err := tx.add(op{Mark: tx.label}); err != nil {
				return recorded{}, err
			}
			tx.marked = true
		}
	}
	kept, changes, err := tx.f.pend(tx.b, o, size, tx.bulk)
	if err != nil {
		return recorded{}, err
	}
	tx.changes = append(tx.changes, changes...)
	tx.f.pending.kept[kept.Index].Begin = tx.ops == 0
	tx.ops++
	return kept, nil
}

// putText makes one event of a text.
func (tx *Tx) putText(node NodeID, on Version, ev text.Event) (EventID, error) {
	ev.Parents = textIDs(on)
	o := &textOp{Node: node, Event: ev.Encode(), By: tx.by}
	if h := ev.Hunks; len(h) == 1 && len(h[0]) == 1 && h[0][0].Pos == 0 && h[0][0].Del == 0 && len(ev.Nonce) == 0 {
		o.whole = &ev // of another one, what was inserted may be a small part of a string
	}
	t, err := tx.addText(o)
	if err != nil {
		return EventID{}, err
	}
	return t.Event, nil
}

// putObject makes one event that gives a file an object.
func (tx *Tx) putObject(node NodeID, on Version, o Object) (EventID, error) {
	parents := slices.Clone(on)
	slices.SortFunc(parents, func(a, b EventID) int { return slices.Compare(a[:], b[:]) })
	id := objectEvent(node, parents, o)
	return id, tx.add(op{Tree: &tree.Op{Do: tree.OpContent, Node: node, Event: id, Parents: parents, Object: &tree.Object{Hash: o.Hash, Size: o.Size}, By: tx.by}})
}

// manySides is more than the sides of a merge that text compares with each other: merging so many
// of more changes nothing in what they show.
const manySides = 8

// narrow returns a version that an event can be made on: of one with more heads than that, some are
// merged first. Others decide how many there are.
func narrow(v Version, merge func(Version) (EventID, error)) (Version, error) {
	for len(v) > tree.MaxHeads {
		k := min(max(manySides, len(v)-tree.MaxHeads+1), tree.MaxHeads)
		id, err := merge(tree.NewVersion(v[:k]...))
		if err != nil {
			return nil, err
		}
		v = tree.NewVersion(append(slices.Clone(v[k:]), id)...)
	}
	return v, nil
}

// remove removes a node whose remover has seen a version of it.
func (tx *Tx) remove(node NodeID, seen Version) error {
	seen, err := narrow(seen, func(v Version) (EventID, error) {
		if e, _ := tx.f.tree.Event(node, v[0]); e.Object != nil {
			return tx.putObject(node, v, fromTree(e.Object))
		}
		return tx.putText(node, v, text.Event{})
	})
	if err != nil {
		return err
	}
	return tx.add(op{Tree: &tree.Op{Do: tree.OpRemove, Node: node, Seen: slices.Clone(seen)}})
}
