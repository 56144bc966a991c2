package crdt_test

import (
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// TestGather makes several changes one entry, which is undone whole; divided by what another
// device sends, it is still one action.
func TestGather(t *testing.T) {
	for _, divided := range []bool{false, true} {
		a, b := pair(t)
		a.create("old", "one\n")
		a.create("theirs", "x\n")
		sync(t, a, b)
		id := crdt.NewActionID()
		if err := a.f.Gather(id, "git", time.Minute); err != nil {
			t.Fatal(err)
		}
		last := a.f.Last()
		a.mkdir("d")
		a.create("d/new", "two\n")
		if divided {
			b.write("theirs", b.node("theirs").Version, "y\n")
			b.send(a)
			last++ // theirs
		} else {
			time.Sleep(150 * time.Millisecond) // the flusher passes it over
			if ls, err := a.f.Since(last, 10); err != nil || len(ls) != 0 {
				t.Errorf("%d entries are sealed already: %v", len(ls), err)
			}
		}
		a.remove("old")
		if err := a.f.EndGather("git: main 1a2b3c4"); err != nil {
			t.Fatal(err)
		}
		want := last + 1
		if divided {
			want++
		}
		if got := a.f.Last(); got != want {
			t.Errorf("divided %v: entry %d is the last, want %d", divided, got, want)
		}
		acts, err := a.f.Actions(1)
		if err != nil || acts[0].ID != id || acts[0].Label != "git: main 1a2b3c4" {
			t.Fatalf("divided %v: %+v, %v", divided, acts, err)
		}
		sync(t, a, b)
		same(t, a, b)
		if _, err := a.f.Undo("", false); err != nil {
			t.Fatal(err)
		}
		if _, err := a.f.Resolve("d"); err == nil {
			t.Error("the directory is still there")
		}
		equalText(t, "the file", a.read("old").Text, "one\n")
		sync(t, a, b)
		same(t, a, b)
	}
}

// While changes gather, BulkAs gathers with them.
func TestGatherBulk(t *testing.T) {
	a, b := pair(t)
	id, last := crdt.NewActionID(), a.f.Last()
	if err := a.f.Gather(id, "git", time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		err := a.f.BulkAs(nil, func(tx *crdt.Tx) error {
			_, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Text: name})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.f.EndGather("git"); err != nil {
		t.Fatal(err)
	}
	if n := a.f.Last() - last; n != 1 {
		t.Errorf("%d entries, want one", n)
	}
	if acts, err := a.f.Actions(1); err != nil || acts[0].ID != id {
		t.Errorf("%+v, %v", acts, err)
	}
	a.send(b)
	same(t, a, b)
}
