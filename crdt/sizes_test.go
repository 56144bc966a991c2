package crdt

import (
	"slices"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/text"
)

// What a merged text comes to depends on the rules of merging, and so does its size: a size that
// is kept from other rules would cut it off, or add to it.
func TestSizesOfOtherRules(t *testing.T) {
	f, merged := newNotes(t)
	var plain NodeID
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.Update(func(tx *Tx) (err error) {
		first := f.tree.Heads(merged)[0].ID
		event := func(on Version, pos int, ins string) EventID {
			ev := text.Event{Parents: textIDs(on), Hunks: []text.Hunk{{{Pos: pos, Ins: ins}}}}
			o, failed := tx.addText(&textOp{Node: merged, Event: ev.Encode()})
			if failed != nil {
				t.Fatal(failed)
			}
			return o.Event
		}
		sides := Version{event(Version{first}, 0, "above\n"), event(Version{first}, 4, "below\n")}
		id := event(sides, 0, "top\n")
		f.storeSize(tx.b, merged, id, 3)
		plain, _, err = tx.Create(Root, "plain", 0o644, NewContent{Text: "plain\n"})
		if err == nil {
			f.storeSize(tx.b, plain, f.tree.Heads(plain)[0].ID, 3)
		}
		return err
	}))
	sizes := func() (out []int64) {
		t.Helper()
		must(f.seal())
		f.mu.Lock()
		err := f.load()
		f.mu.Unlock()
		must(err)
		for _, n := range []NodeID{merged, plain} {
			i, err := f.Get(n)
			must(err)
			out = append(out, i.Size)
		}
		return out
	}
	if got := sizes(); !slices.Equal(got, []int64{3, 3}) {
		t.Fatalf("the sizes that were kept are not used: %v", got)
	}
	b := f.home.db.Batch()
	b.Set(f.key('v'), be32(DigestVersion-1))
	must(f.home.db.Commit(b))
	want := []int64{int64(len("top\nabove\none\nbelow\n")), 3} // of what nothing was merged in, the size stays
	for range 2 {
		if got := sizes(); !slices.Equal(got, want) {
			t.Errorf("the sizes are %v, want %v", got, want)
		}
	}
}
