package tree

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// author makes operations as a device does: it has a tree, and stamps that follow what the
// tree has seen.
type author struct {
	tree    *Tree
	device  byte
	lamport uint64
	seq     uint64
	own     []Stamped // operations it made
	done    []Stamped // operations it knows, in its order
}

func newAuthor(device byte) *author { return &author{tree: New(), device: device} }

// do applies an operation of the author's own and returns it.
func (a *author) do(op Op) Stamped {
	a.lamport++
	a.seq++
	s := Stamped{
		Stamp: Stamp{
			Lamport: a.lamport,
			Feed:    feed.ID{Device: feed.Device{a.device}},
			Seq:     a.seq,
			Op:      op.Hash(),
		},
		Op:      op,
		Applied: int64(a.lamport),
	}
	a.own = append(a.own, s)
	a.done = append(a.done, s)
	a.tree.Apply([]Stamped{s})
	return s
}

// hear applies what others did.
func (a *author) hear(ops ...Stamped) []Change {
	for _, s := range ops {
		a.lamport = max(a.lamport, s.Stamp.Lamport)
	}
	return a.tree.Apply(ops)
}

func (a *author) mkdir(parent NodeID, name string) NodeID {
	id, gen := a.tree.FreshID(Dir, parent, name, nil)
	a.do(Op{Do: OpCreate, Node: id, Kind: Dir, Parent: parent, Name: name, Mode: 0o755, Gen: gen})
	return id
}

// create makes a file with an object as its content.
func (a *author) create(parent NodeID, name, content string) NodeID {
	first := hashOf(content)
	id, gen := a.tree.FreshID(File, parent, name, first[:])
	a.do(Op{Do: OpCreate, Node: id, Kind: File, Parent: parent, Name: name, Mode: 0o644, Gen: gen, First: first})
	a.write(id, nil, content)
	return id
}

// write makes content on top of parents; text unless it begins with "#".
func (a *author) write(node NodeID, parents Version, content string) EventID {
	op := Op{Do: OpContent, Node: node, Parents: parents, Time: 1_700_000_000_000 + int64(a.device)*86_400_000}
	if strings.HasPrefix(content, "#") {
		op.Object = &Object{Hash: hashOf(content), Size: int64(len(content))}
	} else {
		op.Text = a.textOf(node, parents)
	}
	op.Event = EventID(hashOf(fmt.Sprintf("%v %v %v %s", node, op.Text, parents, content)))
	a.do(op)
	return op.Event
}

// textOf is the text of the parents if they are all of one, else a new one.
func (a *author) textOf(node NodeID, parents Version) [16]byte {
	if len(parents) == 0 {
		return node
	}
	first, _ := a.tree.Event(node, parents[0])
	for _, p := range parents {
		if e, _ := a.tree.Event(node, p); e.Object != nil || e.Text != first.Text {
			sum := hashOf(fmt.Sprint("text", node, parents))
			return [16]byte(sum[:16])
		}
	}
	return first.Text
}

// save writes on top of the version that is shown.
func (a *author) save(node NodeID, content string) EventID {
	return a.write(node, a.tree.Get(node).Version, content)
}

func (a *author) move(node, parent NodeID, name string) {
	a.do(Op{Do: OpPlace, Node: node, Parent: parent, Name: name})
}

func (a *author) remove(node NodeID) {
	a.do(Op{Do: OpRemove, Node: node, Seen: a.tree.Get(node).Version})
}

func hashOf(s string) feed.Hash { return feed.Hash(blake3.Sum256([]byte(s))) }

// paths lists what is shown.
func paths(t *Tree) []string {
	var out []string
	t.Walk(func(path string, e Dirent) bool {
		if e.Kind == Dir {
			path += "/"
		}
		out = append(out, path)
		return true
	})
	return out
}

func wantPaths(t *testing.T, tr *Tree, want ...string) {
	t.Helper()
	if got := paths(tr); !slices.Equal(got, want) {
		t.Errorf("shown: %q, want %q", got, want)
	}
}

// exchange brings two authors to the same state.
func exchange(a, b *author) {
	toB, toA := slices.Clone(a.own), slices.Clone(b.own)
	a.hear(toA...)
	b.hear(toB...)
}

func short(device byte) string {
	var d feed.Device
	binary.BigEndian.PutUint16(d[:], uint16(device)<<8)
	return d.Short()
}

func TestSameDirectoryIsOneNode(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	a.create(a.mkdir(Root, "d"), "x", "1")
	b.create(b.mkdir(Root, "d"), "y", "2")
	exchange(a, b)
	for _, x := range []*author{a, b} {
		wantPaths(t, x.tree, "d/", "d/x", "d/y")
	}
}

func TestSameFileIsOneNode(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	a.create(Root, "x", "same")
	b.create(Root, "x", "same")
	exchange(a, b)
	wantPaths(t, a.tree, "x")
	if v := a.tree.History(mustResolve(t, a.tree, "x")); len(v) != 1 {
		t.Errorf("%d events, want 1", len(v))
	}
}

func mustResolve(t *testing.T, tr *Tree, path string) NodeID {
	t.Helper()
	id, err := tr.Resolve(path)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestNameBelongsToTheLast(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	a.create(Root, "x.txt", "of a")
	b.create(Root, "x.txt", "of b")
	exchange(a, b)
	loser := "x (" + short(1) + ").txt"
	for _, x := range []*author{a, b} {
		wantPaths(t, x.tree, loser, "x.txt")
	}
	// The loser keeps its shown name when the owner goes, and loses the suffix when renamed.
	a.remove(mustResolve(t, a.tree, "x.txt"))
	wantPaths(t, a.tree, loser)
	a.move(mustResolve(t, a.tree, loser), Root, "x.txt")
	wantPaths(t, a.tree, "x.txt")
}

func TestRemoval(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	d := a.mkdir(Root, "d")
	f := a.create(d, "f", "one")
	exchange(a, b)
	a.remove(f)
	a.remove(d)
	wantPaths(t, a.tree)
	b.save(f, "two") // unseen by the removal: brings the file back, and its directory
	exchange(a, b)
	for _, x := range []*author{a, b} {
		wantPaths(t, x.tree, "d/", "d/f")
	}
	b.remove(f) // the last living thing in a removed directory
	exchange(a, b)
	for _, x := range []*author{a, b} {
		wantPaths(t, x.tree)
	}
	if id := a.mkdir(Root, "d"); id != d {
		t.Error("a removed directory made again is another node")
	}
	wantPaths(t, a.tree, "d/")
}

func TestCrossedMovesMakeNoCycle(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	x, y := a.mkdir(Root, "x"), a.mkdir(Root, "y")
	exchange(a, b)
	a.move(x, y, "x")
	b.move(y, x, "y")
	exchange(a, b)
	for _, d := range []*author{a, b} {
		wantPaths(t, d.tree, "y/", "y/x/") // the earlier stamp moved, the later was skipped
	}
}

func TestUnmergeableVersionsStandSideBySide(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	f := a.create(Root, "p.png", "#base")
	exchange(a, b)
	a.save(f, "#of a")
	eb := b.save(f, "#of b")
	exchange(a, b)
	for _, x := range []*author{a, b} {
		wantPaths(t, x.tree, "p ("+short(1)+" 2023-11-15).png", "p.png")
		if v := x.tree.Get(f).Version; !v.Equal(Version{eb}) {
			t.Errorf("version %v stands under the name, want %v", v, Version{eb})
		}
	}
	i := a.tree.Get(f)
	a.write(f, a.tree.Join(f, i.Version, i.Alts[0].Version), "#both")
	wantPaths(t, a.tree, "p.png")
}

// An event names the bytes of its object, and not how many its maker says there are. Of two that
// say it, the first in the order counts, whichever was heard first.
func TestObjectOfTwoSizes(t *testing.T) {
	file := Op{Do: OpCreate, Kind: File, Name: "f", Mode: 0o644}
	file.Node = NodeIDFor(file.Kind, file.Parent, file.Name, file.first(), 0)
	of := func(size int64) Op {
		return Op{Do: OpContent, Node: file.Node, Event: EventID{1}, Object: &Object{Hash: feed.Hash{1}, Size: size}}
	}
	ops := []Stamped{
		{Stamp: Stamp{Lamport: 1}, Op: file},
		{Stamp: Stamp{Lamport: 2}, Op: of(10)},
		{Stamp: Stamp{Lamport: 3}, Op: of(20)},
	}
	one, other := New(), New()
	one.Apply(ops)
	slices.Reverse(ops)
	other.Apply(ops)
	if a, b := one.Get(file.Node).Object.Size, other.Get(file.Node).Object.Size; a != 10 || b != 10 {
		t.Errorf("%d and %d bytes", a, b)
	}
	if !bytes.Equal(one.EncodeShown(), other.EncodeShown()) {
		t.Error("the same operations show something else")
	}
}

func TestObjectsThatAreNotHere(t *testing.T) {
	a := newAuthor(1)
	f := a.create(Root, "f", "#one")
	a.save(f, "#two")
	here := map[feed.Hash]bool{}
	b := New()
	b.SetReady(func(h feed.Hash) bool { return here[h] })
	b.Apply(a.done)
	wantPaths(t, b)
	changes := b.ObjectReady(hashOf("#one"), 77)
	wantPaths(t, b, "f")
	want := Change{Node: f, What: Placed | Content, After: Place{Dir: Root, Name: "f", Visible: true}}
	if len(changes) != 1 || changes[0] != want {
		t.Errorf("changes %+v, want %+v", changes, want)
	}
	if i := b.Get(f); i.Object.Hash != hashOf("#one") || i.Mtime != 77 {
		t.Errorf("object %v of %d, want the first, of 77", i.Object, i.Mtime)
	}
	b.ObjectReady(hashOf("#two"), 78)
	if i := b.Get(f); i.Object.Hash != hashOf("#two") {
		t.Error("the second version is not shown once it is here")
	}
}
