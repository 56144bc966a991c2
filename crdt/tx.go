package crdt

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
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
func (f *Folder) Bulk(fn func(*Tx) error) error { return f.update(nil, true, fn) }

func (f *Folder) update(origin any, bulk bool, fn func(*Tx) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.changeable("update"); err != nil {
		return err
	}
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

func (tx *Tx) add(o op) {
	enc := encode(o)
	s := tx.pend(o, len(enc))
	if !tx.bulk {
		tx.b.Set(tx.f.key('p', be32(s.Index)), enc)
	}
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

// addText is add for the event that is t in the tree.
func (tx *Tx) addText(o *textOp, t *tree.Op) {
	s := tx.pend(op{Text: o}, len(o.Event))
	if tx.bulk {
		return
	}
	p := pendingOp{op: op{Text: o}}
	if len(o.Event) >= longEvent {
		p.Text = &textOp{Node: o.Node, By: o.By}
		p.Stored = &storedText{tx.f.textKey(s, t), t.Parents}
	}
	tx.b.Set(tx.f.key('p', be32(s.Index)), encode(p))
}

// pend applies an operation and returns its stamp.
func (tx *Tx) pend(o op, size int) tree.Stamp {
	if o.Mark == nil {
		tx.turn(size)
		if tx.label != nil && !tx.marked {
			tx.marked = true
			tx.add(op{Mark: tx.label})
		}
	}
	changes := tx.f.pend(tx.b, o, size, tx.bulk)
	tx.changes = append(tx.changes, changes...)
	s := tx.f.pending.stamp()
	s.Index-- // of the next one
	tx.f.pending.kept[s.Index].Begin = tx.ops == 0
	tx.ops++
	return s
}

// dir checks that a name can be made in a directory.
func (tx *Tx) free(op string, dir NodeID, name string) error {
	f := tx.f
	if err := checkName(op, name); err != nil {
		return err
	}
	d, ok := f.shown(dir)
	if !ok {
		return fail(op, name, ErrNotExist, nil)
	}
	if d.Kind != Dir {
		return fail(op, f.tree.Path(dir), ErrNotDir, nil)
	}
	if _, ok := f.tree.Entry(dir, name); ok {
		return fail(op, join(f.tree.Path(dir), name), ErrExists, nil)
	}
	return nil
}

func checkName(op, name string) error {
	switch {
	case len(name) > 255:
		return fail(op, name[:32]+"…", ErrNameTooLong, nil)
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fail(op, name, ErrInvalid, errors.New("not a name"))
	}
	return nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Create makes a file with its first content.
func (tx *Tx) Create(dir NodeID, name string, mode uint32, c NewContent) (NodeID, Version, error) {
	// Who made the file did not know that another device had removed its directory.
	// It brings the directory back, as it would have had the removal come later.
	if d := tx.f.tree.Get(dir); d == nil || d.Kind != Dir || !d.Removed || d.Visible {
		if err := tx.free("create", dir, name); err != nil {
			return NodeID{}, nil, err
		}
	} else if err := checkName("create", name); err != nil {
		return NodeID{}, nil, err
	}
	return tx.create(dir, name, mode, c)
}

// CreateBeside makes a file whose name was free when its maker looked. A file of
// that name that came meanwhile is shown beside it, as if the two had been made
// on devices apart; one of the same content is the same file.
func (tx *Tx) CreateBeside(dir NodeID, name string, mode uint32, c NewContent) (NodeID, Version, error) {
	node, v, err := tx.Create(dir, name, mode, c)
	if !errors.Is(err, ErrExists) {
		return node, v, err
	}
	if e, ok := tx.f.tree.Entry(dir, name); ok && e.Kind == File && !e.Alt {
		if n, ok := tx.f.shown(e.Node); ok {
			now, err := tx.f.contentOf(n)
			if err == nil && sameContent(now, c) {
				return e.Node, now.Version, nil
			}
		}
	}
	return tx.create(dir, name, mode, c)
}

func sameContent(now Content, c NewContent) bool {
	if now.Object == nil || c.Object == nil {
		return now.Object == nil && c.Object == nil && now.Text == c.Text
	}
	return now.Object.Hash == c.Object.Hash
}

func (tx *Tx) create(dir NodeID, name string, mode uint32, c NewContent) (NodeID, Version, error) {
	first := Hash(blake3.Sum256([]byte(c.Text)))
	if c.Object != nil {
		first = c.Object.Hash
	} else if err := checkText(name, c.Text); err != nil {
		return NodeID{}, nil, err
	}
	node, gen := tx.f.tree.FreshID(File, dir, name, first[:])
	tx.add(op{Tree: &tree.Op{Do: tree.OpCreate, Node: node, Kind: File, Parent: dir, Name: name, Mode: mode & 0o7777, Gen: gen, First: first}})
	if c.Object == nil && c.Text == "" {
		return node, nil, nil
	}
	v, err := tx.write(node, nil, c)
	return node, v, err
}

// Mkdir makes a directory.
func (tx *Tx) Mkdir(dir NodeID, name string, mode uint32) (NodeID, error) {
	if err := tx.free("mkdir", dir, name); err != nil {
		return NodeID{}, err
	}
	node, gen := tx.f.tree.FreshID(Dir, dir, name, nil)
	tx.add(op{Tree: &tree.Op{Do: tree.OpCreate, Node: node, Kind: Dir, Parent: dir, Name: name, Mode: mode & 0o7777, Gen: gen}})
	return node, nil
}

// Symlink makes a symbolic link.
func (tx *Tx) Symlink(dir NodeID, name, target string) (NodeID, error) {
	if err := tx.free("symlink", dir, name); err != nil {
		return NodeID{}, err
	}
	if target == "" || len(target) > 4095 || strings.ContainsRune(target, 0) {
		return NodeID{}, fail("symlink", name, ErrInvalid, errors.New("not a target"))
	}
	node, gen := tx.f.tree.FreshID(Symlink, dir, name, []byte(target))
	tx.add(op{Tree: &tree.Op{Do: tree.OpCreate, Node: node, Kind: Symlink, Parent: dir, Name: name, Mode: 0o777, Target: target, Gen: gen}})
	return node, nil
}

func checkText(name, s string) error {
	if !text.IsTextString(s) {
		return notText(name)
	}
	return nil
}

func notText(name string) error {
	return fail("write", name, ErrInvalid, errors.New("not a text: it must be kept as an object"))
}

// file returns a file, also one that was removed: writing to it brings it back.
func (tx *Tx) file(op string, node NodeID) (*tree.Info, error) {
	n := tx.f.tree.Get(node)
	if n == nil {
		return nil, fail(op, node.String(), ErrNotExist, nil)
	}
	if n.Kind == Dir {
		return nil, fail(op, tx.f.tree.Path(node), ErrIsDir, nil)
	}
	if n.Kind != File {
		return nil, fail(op, tx.f.tree.Path(node), ErrInvalid, errors.New("not a file"))
	}
	return n, nil
}

// Write gives a file new content. base is the version that the writer had
// read: a text becomes the changes from there to it, and is merged with what
// came meanwhile. The version returned is what the writer now knows, its own
// and not the merged one. Content that changes nothing makes no event.
func (tx *Tx) Write(node NodeID, base Version, c NewContent) (Version, error) {
	n, err := tx.file("write", node)
	if err != nil {
		return nil, err
	}
	if fault.On("crdt-current-base") {
		base = n.Version
	}
	for _, p := range base {
		if _, ok := tx.f.tree.Event(node, p); !ok {
			return nil, fail("write", tx.f.tree.Path(node), ErrInvalid, errors.New("the base is not a version of this file"))
		}
	}
	now, err := tx.f.contentOf(n)
	there := n.Visible && err == nil
	same := false
	var ends text.Ends
	switch merges := there && now.Object == nil && c.Object == nil; {
	case merges:
		ends = text.CommonEnds(now.Text, c.Text)
		if !ends.StillText(c.Text) {
			return nil, notText(tx.f.tree.Path(node))
		}
		if same = ends.Equal(now.Text, c.Text); !same && len(base) > 0 && base.Equal(now.Version) {
			return tx.change(node, now, c.Text, ends)
		}
	case c.Object == nil:
		if err := checkText(tx.f.tree.Path(node), c.Text); err != nil {
			return nil, err
		}
	default:
		same = there && sameContent(now, c)
	}
	// Content equal to the current one needs no event, whatever the base, unless that ends a
	// version shown beside it.
	if same && !knowsBeside(n, base) {
		return now.Version, nil
	}
	return tx.write(node, base, c)
}

// change is write for a save of who knows the current version, which is a text; the two are compared
// already. It looks at no more of them than what differs, whatever their size.
func (tx *Tx) change(node NodeID, now Content, saved string, ends text.Ends) (Version, error) {
	l, _, err := tx.f.lineageOf(node, now.Version)
	if err != nil {
		return nil, fail("write", tx.f.tree.Path(node), ErrInvalid, err)
	}
	var hunks []text.Hunk
	err = tx.f.withDoc(node, l, func(d *text.Doc) error {
		if slices.Equal(d.Heads(), textIDs(now.Version)) {
			hunks = d.Diff(saved, ends)
		} else {
			hunks = text.Diff(now.Text, saved) // others of its events are not shown
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	v, err := tx.writeText(node, now.Version, saveOf(hunks), int64(len(saved)))
	if err == nil {
		tx.f.texts.adoptChange(l, v[0], saved, ends)
	}
	return v, err
}

func saveOf(hunks []text.Hunk) text.Event {
	ev := text.Event{Hunks: hunks}
	if fault.On("crdt-every-save-differs") {
		ev.Nonce = make([]byte, text.NonceSize)
		rand.Read(ev.Nonce)
	}
	return ev
}

// knowsBeside reports whether a version has seen one that is shown beside the file.
func knowsBeside(n *tree.Info, v Version) bool {
	return slices.ContainsFunc(n.Alts, func(a tree.Alt) bool { return containsAll(v, a.Version) })
}

func containsAll(v, all Version) bool {
	return !slices.ContainsFunc(all, func(e EventID) bool { return !slices.Contains(v, e) })
}

func (tx *Tx) write(node NodeID, base Version, c NewContent) (Version, error) {
	if c.Object != nil {
		return tx.writeObject(node, base, *c.Object), nil
	}
	base, err := tx.asText(node, base, c.Text)
	if err != nil {
		return nil, err
	}
	l, goesOn, err := tx.f.lineageOf(node, base)
	if err != nil {
		return nil, fail("write", tx.f.tree.Path(node), ErrInvalid, err)
	}
	var before string
	if goesOn && len(base) > 0 {
		if before, err = tx.f.textAt(node, base); err != nil {
			return nil, err
		}
		if before == c.Text {
			return slices.Clone(base), nil
		}
	}
	hunks := []text.Hunk{{{Ins: c.Text}}}
	if before != "" {
		hunks = text.Diff(before, c.Text)
	} else if c.Text == "" {
		hunks = nil
	}
	v, err := tx.writeText(node, base, saveOf(hunks), int64(len(c.Text)))
	if err == nil && goesOn {
		tx.f.texts.adopt(l, c.Text)
	}
	return v, err
}

// asText makes a text of a version that was kept whole though it is one, and returns the version
// that holds it: what is written next is a change of it, on every device that does the same, and
// merges. Of anything else it returns the version itself.
func (tx *Tx) asText(node NodeID, v Version, next string) (Version, error) {
	if len(v) != 1 {
		return v, nil
	}
	e, _ := tx.f.tree.Event(node, v[0])
	if e.Object == nil {
		return v, nil
	}
	was, ok, err := tx.f.home.TextOf(fromTree(e.Object))
	if errors.Is(err, ErrNotHere) || err == nil && (!ok || was == "" || was == next) {
		return v, nil
	} else if err != nil {
		return nil, err
	}
	return tx.writeText(node, v, text.Event{Hunks: []text.Hunk{{{Ins: was}}}}, int64(len(was)))
}

func (tx *Tx) writeText(node NodeID, base Version, ev text.Event, size int64) (Version, error) {
	on, err := narrow(base, func(v Version) (EventID, error) { return tx.putText(node, v, text.Event{}) })
	if err != nil {
		return nil, err
	}
	id, err := tx.putText(node, on, ev)
	if err != nil {
		return nil, err
	}
	if _, ok := tx.f.tree.TextSize(node, id); !ok {
		tx.f.storeSize(tx.b, node, id, size)
	}
	tx.saved(node, base, Version{id})
	return Version{id}, nil
}

// putText makes one event of a text.
func (tx *Tx) putText(node NodeID, on Version, ev text.Event) (EventID, error) {
	ev.Parents = textIDs(on)
	o := &textOp{Node: node, Event: ev.Encode(), By: tx.by}
	t, _, _, err := tx.f.resolve(o)
	if err != nil {
		return EventID{}, fail("write", tx.f.tree.Path(node), ErrInvalid, err)
	}
	tx.addText(o, &t)
	return t.Event, nil
}

func (tx *Tx) writeObject(node NodeID, base Version, o Object) Version {
	on, _ := narrow(base, func(v Version) (EventID, error) { return tx.putObject(node, v, o), nil })
	v := Version{tx.putObject(node, on, o)}
	tx.saved(node, base, v)
	return v
}

// putObject makes one event that gives a file an object.
func (tx *Tx) putObject(node NodeID, on Version, o Object) EventID {
	parents := slices.Clone(on)
	slices.SortFunc(parents, func(a, b EventID) int { return slices.Compare(a[:], b[:]) })
	id := objectEvent(node, parents, o)
	tx.add(op{Tree: &tree.Op{Do: tree.OpContent, Node: node, Event: id, Parents: parents, Object: &tree.Object{Hash: o.Hash, Size: o.Size}, By: tx.by}})
	return id
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

// Resolve ends a version that is shown beside a file because the two do not
// merge: what stands under the name goes on, knowing of both. The other stays
// in the history.
func (tx *Tx) Resolve(node NodeID, beside Version) error {
	n, err := tx.file("resolve", node)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(n.Alts, func(a tree.Alt) bool { return a.Version.Equal(beside) }) {
		return fail("resolve", tx.f.tree.Path(node), ErrNotExist, errors.New("no such version is shown beside the file"))
	}
	now, err := tx.f.contentOf(n)
	if err != nil {
		return err
	}
	both := tree.NewVersion(append(slices.Clone(n.Version), beside...)...)
	if now.Object != nil {
		tx.writeObject(node, both, *now.Object)
		return nil
	}
	var hunks []text.Hunk
	if now.Text != "" {
		hunks = []text.Hunk{{{Ins: now.Text}}} // it begins a new text: the two had no common one
	}
	_, err = tx.writeText(node, both, text.Event{Hunks: hunks}, int64(len(now.Text)))
	return err
}

// Choose ends a version that is shown beside a file by putting it under the name. What stood
// there stays in the history.
func (tx *Tx) Choose(node NodeID, beside Version) error {
	n, err := tx.file("resolve", node)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(n.Alts, func(a tree.Alt) bool { return a.Version.Equal(beside) }) {
		return fail("resolve", tx.f.tree.Path(node), ErrNotExist, errors.New("no such version is shown beside the file"))
	}
	c, err := tx.f.contentAt(node, beside)
	if err != nil {
		return err
	}
	both := tree.NewVersion(append(slices.Clone(n.Version), beside...)...)
	_, err = tx.write(node, both, NewContent{Text: c.Text, Object: c.Object})
	return err
}

// Append adds to the end of the current text, as O_APPEND means it: two
// appends never merge into one. It fails with ErrInvalid where file and data
// are not both text.
func (tx *Tx) Append(node NodeID, data []byte) (Version, error) {
	n, err := tx.file("append", node)
	if err != nil {
		return nil, err
	}
	now, err := tx.f.contentOf(n)
	if err != nil {
		return nil, err
	}
	if now.Object != nil || !text.IsText(data) || len(now.Text)+len(data) > text.MaxText {
		return nil, fail("append", tx.f.tree.Path(node), ErrInvalid, errors.New("not text"))
	}
	if len(data) == 0 {
		return now.Version, nil
	}
	nonce := make([]byte, 16)
	rand.Read(nonce)
	end := runes(now.Text)
	return tx.writeText(node, now.Version, text.Event{
		Hunks: []text.Hunk{{{Pos: end, Ins: string(data)}}}, Nonce: nonce,
	}, int64(len(now.Text)+len(data)))
}

// Splice changes a text at exact places: the splices are in code points of the
// text at base, ascending and apart. Two splices never merge into one, even
// where they are equal. Unlike Write it does not bring back a file that was
// removed (ErrNotExist), and so can follow a writer that nobody waits for.
func (tx *Tx) Splice(node NodeID, base Version, splices ...Splice) (Version, error) {
	n, ok := tx.f.shown(node)
	if !ok {
		return nil, fail("write", node.String(), ErrNotExist, nil)
	}
	path := tx.f.tree.Path(node)
	if n.Kind != File {
		return nil, fail("write", path, ErrInvalid, errors.New("not a file"))
	}
	if _, goesOn, err := tx.f.lineageOf(node, base); err != nil || !goesOn {
		return nil, fail("write", path, ErrInvalid, errors.New("the base is not a version of this text"))
	}
	before, err := tx.f.textAt(node, base)
	if err != nil {
		return nil, err
	}
	if len(splices) == 0 {
		return slices.Clone(base), nil
	}
	size := len(before)
	ev := text.Event{Nonce: make([]byte, text.NonceSize)}
	rand.Read(ev.Nonce)
	offset, at := 0, 0 // the same place in bytes and in code points
	for i, s := range splices {
		if s.Pos < at || s.Del < 0 || i > 0 && s.Pos == at || s.Del == 0 && s.Ins == "" || checkText(path, s.Ins) != nil {
			return nil, fail("write", path, ErrInvalid, errors.New("not splices of a text"))
		}
		start, ok := forward(before, offset, s.Pos-at)
		end, ok2 := forward(before, start, s.Del)
		if !ok || !ok2 {
			return nil, fail("write", path, ErrInvalid, errors.New("a splice beyond the text"))
		}
		size += len(s.Ins) - (end - start)
		offset, at = end, s.Pos+s.Del
		ev.Hunks = append(ev.Hunks, text.Hunk{s})
	}
	if size > text.MaxText {
		return nil, fail("write", path, ErrInvalid, errors.New("too large for a text"))
	}
	return tx.writeText(node, base, ev, int64(size))
}

// forward returns the offset n code points after one.
func forward(s string, offset, n int) (int, bool) {
	for ; n > 0; n-- {
		if offset >= len(s) {
			return 0, false
		}
		_, w := utf8.DecodeRuneInString(s[offset:])
		offset += w
	}
	return offset, true
}

// Move gives a node another place. The name must be free: replacing a file by
// renaming over it is a Write to it and a Remove of the other.
func (tx *Tx) Move(node, dir NodeID, name string) error {
	n, ok := tx.f.shown(node)
	if !ok || node == Root {
		return fail("rename", node.String(), ErrNotExist, nil)
	}
	if n.Kind == Dir {
		for d := dir; ; {
			if d == node {
				return fail("rename", tx.f.tree.Path(node), ErrInvalid, errors.New("into itself"))
			}
			p, ok := tx.f.shown(d)
			if !ok || d == Root {
				break
			}
			d = p.Parent
		}
	}
	if err := tx.free("rename", dir, name); err != nil {
		return err
	}
	tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: node, Parent: dir, Name: name}})
	return nil
}

// Remove takes a node out of the tree; its history stays. A directory must be
// empty. The directory it was in stays, also one that others removed and that
// lived only through this node: who removes what is in a directory, name by name,
// still means to remove the directory itself.
func (tx *Tx) Remove(node NodeID) error {
	n, ok := tx.f.shown(node)
	if !ok {
		return fail("remove", node.String(), ErrNotExist, nil)
	}
	return tx.RemoveSeen(node, n.Version)
}

// RemoveSeen is Remove by somebody who had seen an older version of the file:
// what came after it brings the file back.
func (tx *Tx) RemoveSeen(node NodeID, seen Version) error {
	n, ok := tx.f.shown(node)
	if !ok {
		return fail("remove", node.String(), ErrNotExist, nil)
	}
	if node == Root {
		return fail("remove", "/", ErrInvalid, nil)
	}
	if n.Kind == Dir && len(tx.f.tree.ReadDir(node)) > 0 {
		return fail("remove", tx.f.tree.Path(node), ErrNotEmpty, nil)
	}
	var above []tree.Info
	for dir := n.Parent; dir != Root; {
		p, ok := tx.f.shown(dir)
		if !ok {
			break
		}
		above, dir = append(above, *p), p.Parent
	}
	if err := tx.remove(node, seen); err != nil {
		return err
	}
	for _, p := range slices.Backward(above) {
		if _, ok := tx.f.shown(p.Node); !ok {
			tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: p.Node, Parent: p.Parent, Name: p.Name}})
		}
	}
	return nil
}

// remove removes a node whose remover has seen a version of it.
func (tx *Tx) remove(node NodeID, seen Version) error {
	seen, err := narrow(seen, func(v Version) (EventID, error) {
		if e, _ := tx.f.tree.Event(node, v[0]); e.Object != nil {
			return tx.putObject(node, v, fromTree(e.Object)), nil
		}
		return tx.putText(node, v, text.Event{})
	})
	if err != nil {
		return err
	}
	tx.add(op{Tree: &tree.Op{Do: tree.OpRemove, Node: node, Seen: slices.Clone(seen)}})
	return nil
}

func (tx *Tx) attr(what string, node NodeID, o tree.Op) error {
	if _, ok := tx.f.shown(node); !ok {
		return fail(what, node.String(), ErrNotExist, nil)
	}
	o.Node = node
	tx.add(op{Tree: &o})
	return nil
}

// SetMode sets the permission bits, 07777.
func (tx *Tx) SetMode(node NodeID, mode uint32) error {
	return tx.attr("chmod", node, tree.Op{Do: tree.OpMode, Mode: mode & 0o7777})
}

// SetMtime sets the time of last modification, as utimensat does.
func (tx *Tx) SetMtime(node NodeID, t time.Time) error {
	return tx.attr("utimens", node, tree.Op{Do: tree.OpMtime, Mtime: t.UnixNano()})
}

// Limits of extended attributes, those of the kernel.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
)

// SetXattr sets an extended attribute.
func (tx *Tx) SetXattr(node NodeID, key string, value []byte) error {
	if key == "" || len(key) > maxXattrName || len(value) > maxXattrValue {
		return fail("setxattr", key, ErrInvalid, errors.New("too long"))
	}
	return tx.attr("setxattr", node, tree.Op{Do: tree.OpXattr, Key: key, Value: slices.Clone(value)})
}

// RemoveXattr removes an extended attribute.
func (tx *Tx) RemoveXattr(node NodeID, key string) error {
	return tx.attr("removexattr", node, tree.Op{Do: tree.OpXattr, Key: key, Delete: true})
}

// SetLocal keeps a value on this device only, in the same batch as the changes
// beside it, the last of them where they are several batches, so that a restart
// can tell whether they were made; nil removes it.
func (tx *Tx) SetLocal(name string, value []byte) {
	tx.locals = append(tx.locals, local{tx.f.key('k', []byte(name)), slices.Clone(value)})
	tx.stored++
}

// Note makes something known to Status, on this device.
func (tx *Tx) Note(kind, path, what string) {
	tx.f.note(tx.b, Note{Time: time.Now(), Kind: kind, Path: path, Text: what})
	tx.stored++
}

// Return puts a directory that was removed back to where it was last, with those
// above it. One that is shown stays where it is.
func (tx *Tx) Return(dir NodeID) error {
	n := tx.f.tree.Get(dir)
	switch {
	case n == nil:
		return fail("restore", dir.String(), ErrNotExist, nil)
	case n.Kind != Dir:
		return fail("restore", n.Name, ErrNotDir, nil)
	case n.Visible:
		return nil
	}
	if err := tx.Return(n.Parent); err != nil {
		return err
	}
	tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: dir, Parent: n.Parent, Name: n.Name}})
	return nil
}
