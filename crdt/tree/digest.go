package tree

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Digest says in 32 bytes what the operations applied so far have made of the nodes: where each
// is, its attributes and the newest versions. Trees with the same operations have the same
// digest on every device, whatever is local to one of them: times of arrival, and which objects
// are here. It finds faults, not forgers.
func (t *Tree) Digest() (sum feed.Hash) {
	t.Digests(func(_ NodeID, d feed.Hash) { sum = sum.Xor(d) }) // in any order the same
	return sum
}

// Digests calls fn with what Digest is made of: one digest a node, in no order.
func (t *Tree) Digests(fn func(NodeID, feed.Hash)) {
	h := newDigester()
	for n := range t.nodes.all() {
		fn(n.id, h.of(n))
	}
}

// Nodes returns the ids of all nodes that are known, in no order.
func (t *Tree) Nodes() []NodeID {
	ids := make([]NodeID, 0, t.nodes.len())
	for n := range t.nodes.all() {
		ids = append(ids, n.id)
	}
	return ids
}

// DigestOf is the part of Digest that these nodes have in it: a large tree can be digested piece
// by piece, the parts added by exclusive or.
func (t *Tree) DigestOf(ids []NodeID) (sum feed.Hash) {
	h := newDigester()
	for _, id := range ids {
		if n := t.nodes.get(id); n != nil {
			sum = sum.Xor(h.of(n))
		}
	}
	return sum
}

// digester makes the digests of nodes, one after the other.
type digester struct {
	h *blake3.Hasher
	b []byte
}

func newDigester() digester {
	return digester{h: blake3.NewDeriveKey("sheaf 2026-01 digest of a node v1")}
}

func (d *digester) of(n *node) feed.Hash {
	d.h.Reset()
	d.b = n.appendState(d.b[:0])
	d.h.Write(d.b)
	return feed.Hash(d.h.Sum(nil))
}

// appendState appends what is the same on every device of a node.
func (n *node) appendState(b []byte) []byte {
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = append(b, n.id[:]...)
	b = append(b, byte(n.kind), byte(n.mode), byte(n.mode>>8))
	if n.parent != nil {
		b = append(b, n.parent.id[:]...)
	}
	text(n.name)
	if n.kind != Dir { // a directory lives by what is shown in it, which is local
		b = append(b, bit(n.alive))
	}
	if n.mtimeAt != nil {
		b = binary.AppendVarint(b, n.mtime)
	}
	if n.kind == File {
		var heads []EventID
		for _, e := range n.file.tops() {
			heads = append(heads, e.id)
		}
		slices.SortFunc(heads, compareEvents)
		for _, id := range heads {
			b = append(b, id[:]...)
		}
	}
	var few rare // what is left of it after a removal that was outdone is as good as nothing
	if n.rare != nil {
		few = *n.rare
	}
	text(few.target)
	for _, k := range slices.Sorted(maps.Keys(few.xattrs)) {
		if x := few.xattrs[k]; !x.deleted {
			text(k)
			text(string(x.value))
		}
	}
	return b
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
