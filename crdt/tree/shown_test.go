package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// looks lists what a tree shows, with everything that a person could see of it but the times of
// arrival.
func looks(t *Tree) (out []string) {
	root := t.Get(Root)
	line := fmt.Sprintf("%o %q", root.Mode, t.Xattrs(Root))
	if root.MtimeSet {
		line += fmt.Sprint(" ", root.Mtime)
	}
	out = append(out, line)
	t.Walk(func(path string, e Dirent) bool {
		i := t.Get(e.Node)
		line := fmt.Sprintf("%s %v %v %o %q", path, e.Node, e.Kind, i.Mode, i.Target)
		if i.MtimeSet {
			line += fmt.Sprint(" ", i.Mtime)
		}
		if e.Alt {
			line += fmt.Sprint(" alt ", e.Version)
		} else {
			line += fmt.Sprint(" ", i.Version, i.Text, i.Object != nil, i.Dirs)
		}
		line += fmt.Sprintf(" %q", t.Xattrs(e.Node)) // a map is printed in order
		out = append(out, line)
		return true
	})
	return out
}

func TestShownIsAFunctionOfTheOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := play(scenarios.Draw(t, "scenario")).all
		one, other := New(), New()
		one.Apply(all)
		mixed := slices.Clone(all)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		other.SetReady(func(feed.Hash) bool { return false }) // nothing of it depends on which objects are here
		for _, s := range mixed {
			other.Apply([]Stamped{s})
		}
		b := one.EncodeShown()
		if !bytes.Equal(b, other.EncodeShown()) {
			t.Fatal("the same operations in another order are written down as other bytes")
		}
		back, err := DecodeShown(b, 7)
		if err != nil {
			t.Fatal(err)
		}
		want, got := looks(one), looks(back)
		if !slices.Equal(want, got) {
			t.Fatalf("shown\n%q\nand read back\n%q", want, got)
		}
		if !bytes.Equal(b, back.EncodeShown()) {
			t.Fatal("written down again it is something else")
		}
		if err := (&replica{tree: back}).sound(); err != nil {
			t.Fatal(err)
		}
	})
}

// Whoever can say how large an object is could otherwise keep all others from making checkpoints.
func TestShownObjectOfAnySize(t *testing.T) {
	for _, size := range []int64{0, 1 << 62, math.MaxInt64} {
		tree := New()
		create := Op{Do: OpCreate, Kind: File, Name: "f", Mode: 0o644}
		create.Node = NodeIDFor(File, Root, "f", make([]byte, 32), 0)
		content := Op{Do: OpContent, Node: create.Node, Event: EventID{1}, Object: &Object{Size: size}}
		tree.Apply([]Stamped{{Stamp: Stamp{Lamport: 1}, Op: create}, {Stamp: Stamp{Lamport: 2}, Op: content}})
		back, err := DecodeShown(tree.EncodeShown(), 1)
		if err != nil {
			t.Fatalf("an object of %d bytes: %v", size, err)
		}
		if o := back.Get(create.Node).Object; o == nil || o.Size != size {
			t.Errorf("an object of %d bytes is read back as %+v", size, o)
		}
	}
}

// shownRoot is how what is shown begins where nothing was set of the root.
var shownRoot = binary.AppendUvarint([]byte{byte(Dir)}, 0o755)

// A node of some bytes has no more attributes than there may be of all together.
func TestDecodeShownAttributes(t *testing.T) {
	head := append(append(slices.Clone(shownRoot), byte(Dir)|flagAttrs, 1), make([]byte, 15)...)
	head = append(head, 1, 'd', 0, 0)
	head = append(head, make([]byte, 32)...) // its device
	for _, n := range []int{MaxShownAttrs, MaxShownAttrs + 1} {
		b := binary.AppendUvarint(slices.Clone(head), uint64(n))
		for range n {
			b = append(b, 1, 'k', 0)
		}
		if _, err := DecodeShown(append(b, 0, 0), 1); (err != nil) != (n > MaxShownAttrs) || err != nil && !errors.Is(err, ErrShown) {
			t.Errorf("%d attributes: %v", n, err)
		}
	}
}

// A file that others gave more newest versions than any event can build on is shown with the latest,
// the same whatever order they came in.
func TestShownManyVersions(t *testing.T) {
	file := NodeIDFor(File, Root, "f", make([]byte, 32), 0)
	ops := []Stamped{{Stamp: Stamp{Lamport: 1}, Op: Op{Do: OpCreate, Node: file, Kind: File, Name: "f", Mode: 0o644}}}
	const n = MaxHeads + 10
	for i := range n {
		o := Op{Do: OpContent, Node: file, Object: &Object{Size: 1}}
		binary.BigEndian.PutUint32(o.Event[:], uint32(i)*2654435761)
		binary.BigEndian.PutUint32(o.Object.Hash[:], uint32(i))
		ops = append(ops, Stamped{Stamp: Stamp{Lamport: uint64(2 + i)}, Op: o})
	}
	one, other := New(), New()
	one.Apply(ops)
	slices.Reverse(ops[1:])
	other.Apply(ops)
	b := one.EncodeShown()
	if !bytes.Equal(b, other.EncodeShown()) {
		t.Error("in another order they are written down as other bytes")
	}
	back, err := DecodeShown(b, 7)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(back.Heads(file)); got != MaxHeads {
		t.Errorf("%d versions are read back", got)
	}
	if want, got := one.Get(file).Version, back.Get(file).Version; !got.Equal(want) {
		t.Errorf("under the name is %v, and was %v", got, want)
	}
}

// A tree that is as deep as it has nodes is read and walked in a time that its size bounds, and
// written down only so far.
func TestShownDeep(t *testing.T) {
	name := strings.Repeat("d", 200)
	deep := func(depth int) []byte {
		b := slices.Clone(shownRoot)
		for i := range depth {
			b = append(b, byte(Dir))
			b = binary.BigEndian.AppendUint64(append(b, make([]byte, 8)...), uint64(i+1))
			b = binary.AppendUvarint(b, uint64(len(name)))
			if b = append(append(b, name...), 0, 0); i == 0 {
				b = append(b, make([]byte, 32)...) // its device
			}
		}
		return append(b, make([]byte, depth+1)...)
	}
	b := deep(MaxShownDepth)
	tree, err := DecodeShown(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tree.EncodeShown(), b) {
		t.Error("what is not too deep is written otherwise")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	var last NodeID
	tree.Each(func(e Dirent) bool { n, last = n+1, e.Node; return true })
	runtime.ReadMemStats(&after)
	if size := after.TotalAlloc - before.TotalAlloc; n != MaxShownDepth || size > MaxShownDepth*1024 {
		t.Errorf("%d nodes, with %d bytes of memory", n, size)
	}
	if _, err := DecodeShown(deep(MaxShownDepth+1), 1); !errors.Is(err, ErrShown) {
		t.Errorf("deeper: %v", err)
	}
	op := Op{Do: OpCreate, Kind: Dir, Parent: last, Name: "d", Mode: 0o755}
	op.Node = NodeIDFor(op.Kind, op.Parent, op.Name, nil, 0)
	tree.Apply([]Stamped{{Stamp: Stamp{Lamport: 1 << 20, Seq: 1}, Op: op}})
	if tree.EncodeShown() != nil {
		t.Error("what is too deep is written")
	}
}

func FuzzDecodeShown(f *testing.F) {
	f.Add(append(slices.Clone(shownRoot), 0))
	for seed := range 4 {
		t := New()
		t.Apply(play(scenarios.Example(seed)).all)
		f.Add(t.EncodeShown())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := DecodeShown(b, 1)
		if err != nil {
			if !errors.Is(err, ErrShown) {
				t.Fatal(err)
			}
			return
		}
		if err := (&replica{tree: tree}).sound(); err != nil {
			t.Fatal(err)
		}
		looks(tree)
		again, err := DecodeShown(tree.EncodeShown(), 1)
		if err != nil || !slices.Equal(looks(tree), looks(again)) {
			t.Fatal("what was read is not written as it is", err)
		}
	})
}
