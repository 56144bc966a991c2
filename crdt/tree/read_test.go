package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

func TestVersionsOfAFile(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	f := a.create(Root, "f", "0")
	exchange(a, b)
	base := a.tree.Get(f).Version
	va, vb := NewVersion(a.save(f, "a")), NewVersion(b.save(f, "b"))
	exchange(a, b)

	both := a.tree.Join(f, va, vb, base)
	if want := NewVersion(va[0], vb[0]); !both.Equal(want) || !a.tree.Get(f).Version.Equal(want) {
		t.Errorf("joined: %v, shown: %v, want %v", both, a.tree.Get(f).Version, want)
	}
	for _, c := range []struct {
		above, below Version
		want         bool
	}{
		{both, va, true}, {both, base, true}, {va, base, true}, {va, va, true}, {va, nil, true},
		{va, vb, false}, {va, both, false}, {base, va, false}, {nil, base, false},
		{Version{EventID{9}}, base, false}, {base, Version{EventID{9}}, false},
	} {
		if got := a.tree.Covers(f, c.above, c.below); got != c.want {
			t.Errorf("%v covers %v: %v", c.above, c.below, got)
		}
	}
	ids := func(events []Event) (out []EventID) {
		for _, e := range events {
			out = append(out, e.ID)
		}
		return out
	}
	if got := ids(a.tree.Past(f, va)); !slices.Equal(got, []EventID{base[0], va[0]}) {
		t.Errorf("past of %v: %v", va, got)
	}
	history := a.tree.History(f)
	if got := ids(history); !slices.Equal(got, []EventID{base[0], va[0], vb[0]}) {
		t.Errorf("history: %v", got)
	}
	if !history[1].Parents.Equal(base) || history[1].Stamp.Feed.Device[0] != 1 || history[1].Text != f {
		t.Errorf("second event: %+v", history[1])
	}
}

func TestShows(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	f, dir := a.create(Root, "f", "0"), a.mkdir(Root, "d")
	base := a.tree.Get(f).Version
	exchange(a, b)
	shows := func(when string, node NodeID, v Version, want bool) {
		t.Helper()
		if got := a.tree.Shows(node, v); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	shows("the only version", f, base, true)
	shows("no version", f, nil, false)
	shows("a directory", dir, a.tree.Get(dir).Version, false)
	shows("an unknown node", NodeID{9}, base, false)
	va, vb := NewVersion(a.save(f, "a")), NewVersion(b.save(f, "b"))
	shows("the one before", f, base, false)
	shows("the next", f, va, true)
	exchange(a, b)
	shows("one of two that met", f, va, false)
	merged := NewVersion(a.save(f, "ab"))
	shows("one above both", f, merged, true)
	shows("one below it", f, vb, false)
	a.remove(f)
	shows("removed", f, merged, false)
}

// A stamp that lies about its place does not put an event before its parents.
func TestHistoryIsCausal(t *testing.T) {
	a := newAuthor(1)
	f := a.create(Root, "f", "0")
	a.lamport += 100
	a.save(f, "1")
	a.lamport = 50
	a.save(f, "2")
	seen := map[EventID]bool{}
	for _, e := range a.tree.History(f) {
		for _, p := range e.Parents {
			if !seen[p] {
				t.Errorf("%v comes before its parent %v", e.ID, p)
			}
		}
		seen[e.ID] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d events, want 3", len(seen))
	}
}

func TestMtime(t *testing.T) {
	a := newAuthor(1)
	f := a.create(Root, "f", "0")
	check := func(what string, want int64, set bool) {
		t.Helper()
		if i := a.tree.Get(f); i.Mtime != want || i.MtimeSet != set {
			t.Errorf("%s: mtime %d, set %v; want %d, %v", what, i.Mtime, i.MtimeSet, want, set)
		}
	}
	check("created", int64(a.lamport), false)
	a.do(Op{Do: OpMtime, Node: f, Mtime: 12345})
	check("set", 12345, true)
	a.save(f, "1")
	check("saved", int64(a.lamport), false)
}

func TestResolve(t *testing.T) {
	a := newAuthor(1)
	d := a.mkdir(Root, "d")
	f := a.create(d, "f", "x")
	for path, want := range map[string]NodeID{"": Root, "/": Root, "d": d, "d/f": f, "/d//f": f} {
		if got, err := a.tree.Resolve(path); err != nil || got != want {
			t.Errorf("%q is %v, %v", path, got, err)
		}
	}
	for path, want := range map[string]error{"x": ErrNotExist, "d/x/y": ErrNotExist, "d/f/x": ErrNotDir} {
		if _, err := a.tree.Resolve(path); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
	if dir, name, visible := a.tree.Place(f); dir != d || name != "f" || !visible {
		t.Errorf("placed at %v, %q, %v", dir, name, visible)
	}
}

func TestListingIsNotChangedInPlace(t *testing.T) {
	a := newAuthor(1)
	f := a.create(Root, "f", "x")
	before := a.tree.ReadDir(Root)
	kept := slices.Clone(before)
	a.move(f, Root, "a")
	a.create(Root, "b", "y")
	if before[0].Name != kept[0].Name {
		t.Error("a listing changed after it was handed out")
	}
	wantPaths(t, a.tree, "a", "b")
}

// Readers may run together: the listings they leave behind are guarded. (For -race.)
func TestReadersTogether(t *testing.T) {
	a := newAuthor(1)
	for i := range 50 {
		a.create(a.mkdir(Root, fmt.Sprint("d", i)), "f", "x")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if n := len(paths(a.tree)); n != 100 {
				t.Errorf("%d names, want 100", n)
			}
		})
	}
	wg.Wait()
}

func TestFreshID(t *testing.T) {
	a := newAuthor(1)
	first := hashOf("x")
	seen := map[NodeID]bool{}
	for range 40 {
		id := a.create(Root, "f", "x")
		if seen[id] {
			t.Fatal("an id came twice")
		}
		seen[id] = true
		a.remove(id)
	}
	if _, gen := a.tree.FreshID(File, Root, "f", first[:]); gen != 40 {
		t.Errorf("generation %d, want 40", gen)
	}
	link := func() NodeID {
		id, gen := a.tree.FreshID(Symlink, Root, ".#f", []byte("me@here"))
		a.do(Op{Do: OpCreate, Node: id, Kind: Symlink, Name: ".#f", Target: "me@here", Gen: gen})
		return id
	}
	id := link()
	a.remove(id)
	if link() != id {
		t.Error("a symlink made again is another node")
	}
}

func TestDevicesNameTheSuffixes(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	a.create(Root, "x.txt", "of a")
	b.create(Root, "x.txt", "of b")
	exchange(a, b)
	for _, c := range []struct{ device, want string }{
		{"laptop", "x (laptop).txt"},
		{"/", "x (" + short(1) + ").txt"},
		{"a/b\x00\n", "x (ab).txt"},
		{strings.Repeat("ü", 100), "x (" + strings.Repeat("ü", 32) + ").txt"},
	} {
		changes := a.tree.SetDevices(func(feed.Device) string { return c.device })
		wantPaths(t, a.tree, c.want, "x.txt")
		if len(changes) != 1 || changes[0].After.Name != c.want {
			t.Errorf("changes %+v, want one to %q", changes, c.want)
		}
	}
}

func TestSuffixedNamesFit(t *testing.T) {
	for _, name := range []string{"x", ".bashrc", "a.tar.gz", strings.Repeat("ü", 127), strings.Repeat("a", 251) + ".txt", "x." + strings.Repeat("e", 200)} {
		for _, i := range []int{1, 2, 1000} {
			got := suffixed(&node{name: name, kind: File}, "somebody's laptop 2023-11-14", i)
			if !ValidName(got) || !utf8.ValidString(got) {
				t.Errorf("%q becomes %q", name, got)
			}
		}
	}
	if got := suffixed(&node{name: "v1.2", kind: Dir}, "x", 2); got != "v1.2 (x 2)" {
		t.Errorf("a directory's name becomes %q", got)
	}
}

// Operations wait for what they build on, in whatever order it comes.
func TestOperationsWait(t *testing.T) {
	a := newAuthor(1)
	d := a.mkdir(Root, "d")
	f := a.create(d, "f", "#0")
	a.save(f, "#1")
	a.move(f, Root, "g")
	b := New()
	b.SetReady(func(feed.Hash) bool { return false })
	for _, s := range slices.Backward(a.done) {
		b.Apply([]Stamped{s})
	}
	wantPaths(t, b, "d/")
	if absent := b.Absent(); len(absent) != 2 {
		t.Errorf("%d objects are absent, want 2", len(absent))
	}
	b.SetReady(nil)
	wantPaths(t, b, "d/", "g")
	if b.waiting.count != 0 {
		t.Errorf("%d operations wait for nothing", b.waiting.count)
	}
}
