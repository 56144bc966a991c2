package tree

import (
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A table holds what a map would, whatever was set and deleted.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names nodesByName
		want := map[string]*node{}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			name := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "name"))
			if rapid.Bool().Draw(t, "delete") {
				names.delete(name)
				delete(want, name)
			} else {
				want[name] = &node{name: name}
				names.set(want[name])
			}
		}
		if names.len() != len(want) {
			t.Fatalf("%d names, not %d", names.len(), len(want))
		}
		for i := range 61 {
			name := fmt.Sprint(i)
			if got := names.get(name); got != want[name] {
				t.Fatalf("%s is %v, not %v", name, got, want[name])
			}
		}
		for n := range names.all() {
			if want[n.name] != n {
				t.Fatalf("%v is not in the table", n)
			}
			delete(want, n.name)
		}
		if len(want) > 0 {
			t.Fatalf("all left out %v", want)
		}
	})
}

// Ids that are chosen to be alike spread as others do.
func TestTableOfChosenIDs(t *testing.T) {
	const n = 4096
	for at := range 9 { // the byte that a counter starts at
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			slots := map[uint64]bool{}
			for i := range n {
				id := order.AppendUint64(make([]byte, at, 16), uint64(i))
				slots[idOf{}.hash(NodeID(append(id, make([]byte, 16-len(id))...)))%n] = true
			}
			if len(slots) < n/2 {
				t.Errorf("a counter at byte %d: %d slots for %d ids", at, len(slots), n)
			}
		}
	}
}
