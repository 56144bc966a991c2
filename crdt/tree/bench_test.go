package tree

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// manyFiles returns the operations that make n files, a hundred in a directory, as one device
// would, and the directories.
func manyFiles(n int) (ops []Stamped, dirs []NodeID) {
	f := feed.ID{Device: feed.Device{1}}
	add := func(op Op) {
		i := uint64(len(ops) + 1)
		ops = append(ops, Stamped{
			Stamp:   Stamp{Lamport: i / 100, Feed: f, Seq: i / 100, Index: uint32(i % 100), Op: op.Hash()},
			Op:      op,
			Applied: int64(i),
		})
	}
	for i := range n {
		if i%100 == 0 {
			name := fmt.Sprintf("directory %d", i/100)
			dirs = append(dirs, NodeIDFor(Dir, Root, name, nil, 0))
			add(Op{Do: OpCreate, Node: dirs[i/100], Kind: Dir, Name: name, Mode: 0o755})
		}
		name := fmt.Sprintf("file-%d.txt", i)
		first := hashOf(name)
		id := NodeIDFor(File, dirs[i/100], name, first[:], 0)
		add(Op{Do: OpCreate, Node: id, Kind: File, Parent: dirs[i/100], Name: name, Mode: 0o644, First: first})
		add(Op{Do: OpContent, Node: id, Event: EventID(first), Text: id})
	}
	return ops, dirs
}

// BenchmarkLoad opens a folder of 100,000 files.
func BenchmarkLoad(b *testing.B) {
	const n = 100_000
	ops, _ := manyFiles(n)
	var before, after runtime.MemStats
	var t *Tree
	for b.Loop() {
		t = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		t = New()
		for batch := range slices.Chunk(ops, 4096) {
			t.Apply(batch)
		}
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/file")
	runtime.KeepAlive(t)
	runtime.KeepAlive(ops)
}

func BenchmarkLookup(b *testing.B) {
	t := New()
	ops, dirs := manyFiles(100_000)
	t.Apply(ops)
	for i := 0; b.Loop(); i++ {
		if _, ok := t.Lookup(dirs[i%10], names10[i%10]); !ok {
			b.Fatal("not found")
		}
	}
}

var names10 = func() (out []string) {
	for i := range 10 {
		out = append(out, fmt.Sprintf("file-%d.txt", i*101))
	}
	return out
}()

// BenchmarkReadDir lists a directory of 10,000 files, of which one changes each time.
func BenchmarkReadDir(b *testing.B) {
	a := newAuthor(1)
	var ids []NodeID
	for i := range 10_000 {
		ids = append(ids, a.create(Root, fmt.Sprintf("file-%d", i), "x"))
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		a.move(ids[i%len(ids)], Root, fmt.Sprintf("file-%d-%d", i%len(ids), i))
		b.StartTimer()
		if len(a.tree.ReadDir(Root)) != len(ids) {
			b.Fatal("lost one")
		}
	}
}

// BenchmarkSave gives one file of many a new version.
func BenchmarkSave(b *testing.B) {
	t := New()
	ops, _ := manyFiles(100_000)
	t.Apply(ops)
	file := ops[2].Op
	var op Op
	var parents Version
	i := uint64(len(ops))
	for b.Loop() {
		i++
		op = Op{Do: OpContent, Node: file.Node, Event: EventID(hashOf(fmt.Sprint(i))), Parents: parents, Text: file.Node}
		if len(t.Apply([]Stamped{{Stamp: Stamp{Lamport: i, Seq: i}, Op: op}})) != 1 {
			b.Fatal("no change")
		}
		parents = Version{op.Event}
	}
}

// BenchmarkLateMove applies a move of a directory that is older than the last 1,000 moves.
func BenchmarkLateMove(b *testing.B) {
	a := newAuthor(1)
	var dirs []NodeID
	for i := range 1_000 {
		dirs = append(dirs, a.mkdir(Root, fmt.Sprint("d", i)))
	}
	a.lamport += 1_000_000
	for i, d := range dirs[1:] {
		a.move(d, dirs[i/2], "moved")
	}
	ops := slices.Clone(a.done)
	late := newAuthor(2)
	late.lamport = 2_000
	for b.Loop() {
		b.StopTimer()
		late.lamport++
		late.seq++
		op := Op{Do: OpPlace, Node: dirs[500], Parent: dirs[999], Name: fmt.Sprint("late ", late.seq)}
		s := Stamped{Stamp: Stamp{Lamport: late.lamport, Feed: feed.ID{Device: feed.Device{2}}, Seq: late.seq}, Op: op}
		t := New()
		t.Apply(ops)
		b.StartTimer()
		t.Apply([]Stamped{s})
	}
}

func BenchmarkDecodeOp(b *testing.B) {
	ops, _ := manyFiles(2)
	create, content := ops[1].Op.Encode(), ops[2].Op.Encode()
	b.ReportAllocs()
	for b.Loop() {
		for _, code := range [][]byte{create, content} {
			if _, err := DecodeOp(code); err != nil {
				b.Fatal(err)
			}
		}
	}
}
