package crdt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Poison returns the payload of an entry that no honest device makes: operations of every
// kind that are malformed, contradict themselves or the folder, or build on what nobody has.
// nodes are some of the folder's.
func (f *Folder) Poison(r *rand.Rand, nodes []NodeID) []byte {
	if r.IntN(12) == 0 {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	var ops []op
	for range 1 + r.IntN(4) {
		ops = append(ops, f.poison(r, nodes[r.IntN(len(nodes))], nodes[r.IntN(len(nodes))]))
	}
	switch r.IntN(20) {
	case 0:
		return Numbered(2, "no operation", ops)
	case 1:
		return Numbered(2, ops[0])
	case 2:
		return Numbered(r.Uint64()) // of a sheaf that will never be, perhaps
	}
	return encodeOps(ops)
}

func (f *Folder) poison(r *rand.Rand, node, other NodeID) op {
	var unknown EventID
	for i := range unknown {
		unknown[i] = byte(r.Uint32())
	}
	var heads Version
	f.mu.RLock()
	if n := f.tree.Get(node); n != nil {
		heads = n.Version
	}
	f.mu.RUnlock()
	badName := []string{"", ".", "..", "a/b", "\x00", "../../etc", strings.Repeat("n", 256)}[r.IntN(7)]
	of := func(o tree.Op) op { return op{Tree: &o} }
	event := func(e text.Event) op {
		return op{Text: &textOp{Node: node, Event: e.Encode(), By: "\x1b[31m" + badName}}
	}
	object := Object{Hash: Hash(unknown), Size: r.Int64()}
	switch r.IntN(24) {
	case 0:
		return of(tree.Op{Do: tree.OpPlace, Node: node, Parent: other, Name: badName})
	case 1: // below itself, perhaps
		return of(tree.Op{Do: tree.OpPlace, Node: node, Parent: other, Name: "n1"})
	case 2:
		return of(tree.Op{Do: tree.OpRemove, Node: Root, Seen: heads})
	case 3:
		return of(tree.Op{Do: tree.OpRemove, Node: node, Seen: Version{unknown, unknown}})
	case 4:
		return of(tree.Op{Do: tree.OpContent, Node: node, Event: unknown, Parents: heads, Object: &tree.Object{Hash: object.Hash, Size: 1}})
	case 5: // an object that nobody has
		return of(tree.Op{
			Do: tree.OpContent, Node: node, Event: objectEvent(node, heads, object), Parents: heads,
			Object: &tree.Object{Hash: object.Hash, Size: object.Size},
		})
	case 6: // a text without its event
		return of(tree.Op{Do: tree.OpContent, Node: node, Event: unknown, Parents: heads, Text: [16]byte(node)})
	case 7:
		return op{Text: &textOp{Node: node, Event: unknown[:r.IntN(32)]}}
	case 8:
		return event(text.Event{Parents: textIDs(heads), Hunks: []text.Hunk{{{Pos: 1 << 30, Del: 1}}}})
	case 9: // splices that touch
		return event(text.Event{Parents: textIDs(heads), Hunks: []text.Hunk{{{Pos: 0, Del: 1}, {Pos: 1, Del: 1}}}})
	case 10: // not text
		return event(text.Event{Parents: textIDs(heads), Hunks: []text.Hunk{{{Ins: "\x00"}}}})
	case 11: // waits for ever
		return event(text.Event{Parents: []text.ID{text.ID(unknown)}, Hunks: []text.Hunk{{{Ins: "never"}}}})
	case 12:
		return of(tree.Op{Do: tree.OpMode, Node: node, Mode: math.MaxUint32})
	case 13:
		return of(tree.Op{Do: tree.OpMtime, Node: node, Mtime: []int64{math.MinInt64, math.MaxInt64, 4_070_908_800e9}[r.IntN(3)]})
	case 14:
		return of(tree.Op{Do: tree.OpXattr, Node: node, Key: strings.Repeat("k", 300), Value: unknown[:]})
	case 15:
		return op{Admit: &admitOp{Device(unknown), badName}}
	case 16:
		return op{Found: &foundOp{Name: "not the founder"}}
	case 17:
		return []op{{}, {Mark: &markOp{Label: badName}}}[r.IntN(2)]
	case 18: // an id that does not follow from what it names
		return of(tree.Op{Do: tree.OpCreate, Node: node, Kind: Dir, Parent: other, Name: "n2", Gen: 7})
	case 19, 20, 21, 22: // one of those that build on each other, in any order
		ops, err := decodeOps(chained[r.IntN(len(chained))])
		if err != nil {
			panic(err)
		}
		return ops[r.IntN(len(ops))]
	default: // in a directory that others may make later, or in a file
		id := tree.NodeIDFor(Dir, other, "n3", nil, 3)
		return of(tree.Op{Do: tree.OpCreate, Node: id, Kind: Dir, Parent: other, Name: "n3", Gen: 3})
	}
}

var chained = Chained(8)

// Chained returns the payloads of entries, each of which builds on the one before: a file, and
// events that each add a line to its text or its attributes, every fifth a whole object.
func Chained(n int) (payloads [][]byte) {
	id := tree.NodeIDFor(File, Root, "chained", make([]byte, 32), 0)
	payloads = append(payloads, encodeOps([]op{{Tree: &tree.Op{Do: tree.OpCreate, Node: id, Kind: File, Name: "chained", Mode: 0o644}}}))
	l, last := lineage(id), Version(nil)
	pos := 0
	for i := range n {
		ins := fmt.Sprintf("line %d\n", i)
		ev := text.Event{Parents: textIDs(last), Hunks: []text.Hunk{{{Pos: pos, Ins: ins}}}}
		pos += len(ins)
		ops := []op{{Text: &textOp{Node: id, Event: ev.Encode()}}, {Tree: &tree.Op{Do: tree.OpMode, Node: id, Mode: uint32(0o600 + i%64)}}}
		payloads = append(payloads, encodeOps(ops))
		last = Version{EventID(ev.ID(l))}
	}
	return payloads
}

// Joined is one payload of several.
func Joined(payloads ...[]byte) []byte {
	var all []op
	for _, p := range payloads {
		ops, err := decodeOps(p)
		if err != nil {
			panic(err)
		}
		all = append(all, ops...)
	}
	return encodeOps(all)
}

// Never is a payload of operations that wait for ever.
func Never(seed, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	var ops []op
	for range n {
		var id NodeID
		var event text.ID
		for i := range id {
			id[i], event[i] = byte(r.Uint32()), byte(r.Uint32())
		}
		ev := text.Event{Parents: []text.ID{event}, Hunks: []text.Hunk{{{Ins: "never"}}}}
		ops = append(ops, op{Tree: &tree.Op{Do: tree.OpMode, Node: id, Mode: 0o600}}, op{Text: &textOp{Node: id, Event: ev.Encode()}})
	}
	return encodeOps(ops)
}
