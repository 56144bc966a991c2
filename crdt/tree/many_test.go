package tree

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// An entry can have eight times as many operations, and whoever makes it can have all of them be versions
// of one file, or nodes of one name. They are applied in a second; by looking at all of them for each
// it would take an hour.
func TestManyOfOne(t *testing.T) {
	const n = 1 << 13
	file := Op{Do: OpCreate, Kind: File, Name: "f", Mode: 0o644}
	file.Node = NodeIDFor(file.Kind, file.Parent, file.Name, file.first(), 0)
	version := func(i int) Op {
		op := Op{Do: OpContent, Node: file.Node}
		binary.BigEndian.PutUint32(op.Event[:], uint32(i+1))
		return op
	}
	for what, make := range map[string]func(i int) Op{
		"events of one text": func(i int) Op { op := version(i); op.Text = [16]byte(file.Node); return op },
		"objects": func(i int) Op {
			op := version(i)
			op.Object = &Object{Size: 1, Hash: feed.Hash(op.Event)}
			return op
		},
		"nodes": func(i int) Op {
			op := file
			op.Gen = uint32(i + 1)
			op.Node = NodeIDFor(op.Kind, op.Parent, op.Name, op.first(), op.Gen)
			return op
		},
	} {
		for _, absent := range []bool{false, true} {
			tree := New()
			if absent {
				tree.SetReady(func(feed.Hash) bool { return false })
			}
			tree.Hold()
			tree.Apply([]Stamped{{Stamp: Stamp{Lamport: 1}, Op: file}})
			for i := range n {
				tree.Apply([]Stamped{{Stamp: Stamp{Lamport: 2, Index: uint32(i)}, Op: make(i)}})
			}
			tree.Release()
			if got := len(tree.History(file.Node)) + tree.nodes.len(); got < n {
				t.Errorf("%s: %d of %d are there", what, got, n)
			}
			if names := tree.ReadDir(Root); !absent && what != "events of one text" && len(names) < n ||
				!slices.IsSortedFunc(names, func(a, b Dirent) int { return compareNames(a.Name, b.Name) }) {
				t.Errorf("%s: %d names are shown", what, len(names))
			}
		}
	}
}

func compareNames(a, b string) int { return slices.Compare([]byte(a), []byte(b)) }
