package plain

import (
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/sheaf-fs/sheaf/crdt"
)

// FuzzRecords makes a table of records that a disk may give back: one of finite size, in which
// every name is in its directory.
func FuzzRecords(f *testing.F) {
	dir, file := crdt.NodeID{1}, crdt.NodeID{2}
	for _, rs := range [][]record{
		{},
		{{Name: "d", Node: dir, Kind: crdt.Dir}, {Parent: dir, Name: "f", Node: file, Kind: crdt.File, Mode: 0o644}},
		{{Name: "self", Node: crdt.Root, Kind: crdt.Dir}},
		{{Name: "d", Node: dir, Kind: crdt.Dir}, {Parent: dir, Name: "d", Node: dir, Kind: crdt.Dir}},
		{{Parent: dir, Name: "lost", Node: file, Kind: crdt.File}},
	} {
		b, err := cbor.Marshal(rs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var rs []record
		if cbor.Unmarshal(b, &rs) != nil {
			return
		}
		in := map[crdt.NodeID][]record{}
		for _, r := range rs {
			in[r.Parent] = append(in[r.Parent], r)
		}
		tb := tableOf(in)
		n := 0
		var walk func(e *entry)
		walk = func(e *entry) {
			if n++; n > len(rs)+1 {
				t.Fatalf("more than %d records became entries", len(rs))
			}
			for name, c := range e.children {
				if c.Name != name || c.parent != e || c.Parent != e.Node || !c.attached() {
					t.Fatalf("%q is in another place than %q", c.Name, e.path())
				}
				walk(c)
			}
		}
		walk(tb.root)
	})
}
