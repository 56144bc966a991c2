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
	t.Digests(func(_ NodeID, d feed.Hash) {
		for i := range sum { // in any order the same
			sum[i] ^= d[i]
		}
	})
	return sum
}

// Digests calls fn with what Digest is made of: one digest a node, in no order.
func (t *Tree) Digests(fn func(NodeID, feed.Hash)) {
	h := blake3.NewDeriveKey("sheaf 2026-01 digest of a node v1")
	var b []byte
	for n := range t.nodes.all() {
		h.Reset()
		b = n.appendState(b[:0])
		h.Write(b)
		fn(n.id, feed.Hash(h.Sum(nil)))
	}
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
	if n.rare == nil {
		return b
	}
	text(n.rare.target)
	for _, k := range slices.Sorted(maps.Keys(n.rare.xattrs)) {
		if x := n.rare.xattrs[k]; !x.deleted {
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
