package crdt

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// What a transaction does to the content of files.

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

// inPieces is the content with its text in pieces, for who has none to share them with.
func (c NewContent) inPieces() Holding { return Holding{Body: NewBody(c.Text), Object: c.Object} }

// Same tells whether two files hold the same.
func (h Holding) Same(other Holding) bool {
	if h.Object != nil || other.Object != nil {
		return h.Object != nil && other.Object != nil && h.Object.Hash == other.Object.Hash
	}
	return h.Body.Equal(other.Body)
}

func (tx *Tx) create(dir NodeID, name string, mode uint32, c NewContent) (NodeID, Version, error) {
	first := sumOf(c.Text)
	if c.Object != nil {
		first = c.Object.Hash
	} else if err := checkText(name, c.Text); err != nil {
		return NodeID{}, nil, err
	}
	node, gen := tx.f.tree.FreshID(File, dir, name, first[:])
	err := tx.add(op{Tree: &tree.Op{Do: tree.OpCreate, Node: node, Kind: File, Parent: dir, Name: name, Mode: mode & 0o7777, Gen: gen, First: first}})
	if err != nil {
		return NodeID{}, nil, err
	}
	if c.Object == nil && c.Text == "" {
		return node, nil, nil
	}
	v, err := tx.write(node, nil, c.inPieces())
	return node, v, err
}

// hashers are kept for the next text: they are large.
var hashers = sync.Pool{New: func() any { return blake3.New() }}

// sumOf is the BLAKE3 of a text.
func sumOf(s string) (sum Hash) {
	h := hashers.Get().(*blake3.Hasher)
	defer hashers.Put(h)
	h.Reset()
	h.WriteString(s)
	h.Sum(sum[:0])
	return sum
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
	if c.Object != nil {
		return tx.Save(node, base, Holding{Object: c.Object})
	}
	// Shared with what is there, it need not be looked at again.
	var was *Body
	if n := tx.f.tree.Get(node); n != nil && n.Visible && n.Kind == File {
		if now, err := tx.f.heldAt(node, n.Version); err == nil {
			was = now.Body
		}
	}
	body, ok := was.Resave(c.Text)
	if !ok {
		return nil, notText(tx.f.tree.Path(node))
	}
	return tx.Save(node, base, Holding{Body: body})
}

// Save is Write for a text in pieces, which must be one (IsText): where it shares them with what
// the file holds, the cost is that of what differs. Its Version is not looked at.
func (tx *Tx) Save(node NodeID, base Version, c Holding) (Version, error) {
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
	if c.Object == nil && c.Body.Len() > MaxText {
		return nil, notText(tx.f.tree.Path(node))
	}
	// Content equal to the current one needs no event, whatever the base, unless that ends a
	// version shown beside it.
	now, err := tx.f.heldAt(node, n.Version)
	if n.Visible && err == nil && now.Same(c) && !knowsBeside(n, base) {
		return now.Version, nil
	}
	return tx.write(node, base, c)
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

func (tx *Tx) write(node NodeID, base Version, c Holding) (Version, error) {
	if c.Object != nil {
		return tx.writeObject(node, base, *c.Object)
	}
	base, err := tx.asText(node, base, c.Body)
	if err != nil {
		return nil, err
	}
	_, goesOn, err := tx.f.lineageOf(node, base)
	if err != nil {
		return nil, fail("write", tx.f.tree.Path(node), ErrInvalid, err)
	}
	var before *Body
	if goesOn && len(base) > 0 {
		if before, err = tx.f.bodyAt(node, base); err != nil {
			return nil, err
		}
		if before.Equal(c.Body) {
			return slices.Clone(base), nil
		}
	}
	var hunks []text.Hunk
	switch {
	case before.Len() > 0:
		hunks = before.Diff(c.Body)
	case c.Body.Len() > 0:
		hunks = []text.Hunk{{{Ins: c.Body.String()}}}
	}
	return tx.writeText(node, base, saveOf(hunks), int64(c.Body.Len()))
}

// asText makes a text of a version that was kept whole though it is one, and returns the version
// that holds it: what is written next is a change of it, on every device that does the same, and
// merges. Of anything else it returns the version itself.
func (tx *Tx) asText(node NodeID, v Version, next *Body) (Version, error) {
	if len(v) != 1 {
		return v, nil
	}
	e, _ := tx.f.tree.Event(node, v[0])
	if e.Object == nil {
		return v, nil
	}
	was, ok, err := tx.f.home.TextOf(fromTree(e.Object))
	if errors.Is(err, ErrNotHere) || err == nil && (!ok || was == "" || len(was) == next.Len() && was == next.String()) {
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

func (tx *Tx) writeObject(node NodeID, base Version, o Object) (Version, error) {
	on, err := narrow(base, func(v Version) (EventID, error) { return tx.putObject(node, v, o) })
	if err != nil {
		return nil, err
	}
	id, err := tx.putObject(node, on, o)
	if err != nil {
		return nil, err
	}
	tx.saved(node, base, Version{id})
	return Version{id}, nil
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
		_, err = tx.writeObject(node, both, *now.Object)
		return err
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
	c, err := tx.f.heldAt(node, beside)
	if err != nil {
		return err
	}
	both := tree.NewVersion(append(slices.Clone(n.Version), beside...)...)
	_, err = tx.write(node, both, c)
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
	now, err := tx.f.heldAt(node, n.Version)
	if err != nil {
		return nil, err
	}
	size := now.Body.Len() + len(data)
	if now.Object != nil || !text.IsText(data) || size > text.MaxText {
		return nil, fail("append", tx.f.tree.Path(node), ErrInvalid, errors.New("not text"))
	}
	if len(data) == 0 {
		return now.Version, nil
	}
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return tx.writeText(node, now.Version, text.Event{
		Hunks: []text.Hunk{{{Pos: now.Body.Runes(), Ins: string(data)}}}, Nonce: nonce,
	}, int64(size))
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
