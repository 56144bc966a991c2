package text

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"
)

// Each rule of the order matters, and the random histories notice when it is broken.
func TestBrokenRulesAreNoticed(t *testing.T) {
	for r, name := range map[rule]string{
		byCounter:       "the greater counter stands first",
		byActor:         "of equal counters, the greater actor stands first",
		deletionCounts:  "a deleted character takes a counter",
		lastSpliceFirst: "splices of a hunk take effect from the last to the first",
		deletionFirst:   "a splice deletes before it inserts",
		equalHunksOnce:  "equal hunks of concurrent events are one change",
		behindVisible:   "an insertion stands right behind its left neighbour, before what was deleted there",
		afterParents:    "counters go on from the greatest of the parents",
		echoesDeleted:   "what both sides of a merge show in one place stands once",
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range 2000 {
				rnd := rand.New(rand.NewPCG(uint64(seed), 1))
				g := randomGraph(t, rnd, 16)
				d := NewDoc(testNode)
				d.engine.broken = r
				for _, e := range g.events {
					add(t, d, e)
				}
				if d.Text() != g.doc.Text() {
					return
				}
			}
			t.Error("not noticed")
		})
	}
}

// Sets of events: any order, any version, and what the other methods say of it.
func TestHistories(t *testing.T) {
	tight(t)
	for seed := range rounds(500) {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		g := randomGraph(t, r, 50)
		d := NewDoc(testNode)
		for i, k := range g.shuffled(r) {
			add(t, d, g.events[k])
			if r.IntN(8) == 0 {
				set := g.past[k]
				checkVersion(t, g, d, set)
			}
			if i%7 == 0 {
				add(t, d, g.events[k]) // again: nothing changes
			}
		}
		if d.Text() != g.doc.Text() {
			t.Fatalf("seed %d: %q and %q\n%s", seed, d.Text(), g.doc.Text(), g)
		}
		if d.Len() != len(d.Text()) || len(d.Events()) != len(g.events) || !utf8.ValidString(d.Text()) {
			t.Fatalf("seed %d: %d bytes of %q, %d events", seed, d.Len(), d.Text(), len(d.Events()))
		}
		for range 5 {
			checkVersion(t, g, d, g.subset(r))
			a, b := g.subset(r), g.subset(r)
			if got, want := d.Ancestor(g.version(a), g.version(b)), a&^b == 0; got != want {
				t.Fatalf("seed %d: ancestor %v, want %v: %x %x\n%s", seed, got, want, a, b, g)
			}
		}
		checkBlame(t, g, d)
	}
}

// checkVersion compares the text of a version with that of a document that has nothing else.
func checkVersion(t *testing.T, g *graph, d *Doc, set uint64) {
	t.Helper()
	alone := NewDoc(testNode)
	for i, e := range g.events {
		if set>>i&1 == 1 {
			add(t, alone, e)
		}
	}
	v := g.version(set)
	if !slices.Equal(alone.Heads(), v) {
		t.Fatalf("heads %v, want %v", alone.Heads(), v)
	}
	got, err := d.At(v)
	if err != nil || got != alone.Text() {
		t.Fatalf("version %x: %q, want %q, %v\n%s", set, got, alone.Text(), err, g)
	}
}

// checkBlame tells that the spans cover the text and that each event is said to have inserted only what it did.
func checkBlame(t *testing.T, g *graph, d *Doc) {
	t.Helper()
	text := d.Text()
	for _, s := range d.Blame() {
		part := text[:s.Bytes]
		text = text[s.Bytes:]
		if utf8.RuneCountInString(part) != s.Runes || s.Bytes == 0 {
			t.Fatalf("%q has not %d code points", part, s.Runes)
		}
		have := map[rune]int{}
		for i, id := range g.ids {
			if id == s.Event {
				for _, h := range g.events[i].Hunks {
					for _, x := range h {
						for _, c := range x.Ins {
							have[c]++
						}
					}
				}
			}
		}
		for _, c := range part {
			if have[c]--; have[c] < 0 {
				t.Fatalf("event %s did not insert %q\n%s", s.Event, part, g)
			}
		}
	}
	if text != "" {
		t.Fatalf("nobody inserted %q", text)
	}
}

// Long histories: runs of saves on the heads, long enough for a sequence to be dropped, between stretches apart and late
// saves over old versions. The text is that of one sequence that starts from nothing.
func TestLongHistories(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 4))
		d := NewDoc(testNode)
		q, whole := newSequence(testNode, -1, 0), newRope("")
		versions := [][]ID{nil}
		apart := 0 // saves that are still to be made over what is not the current version
		for n := range rounds(1200) {
			switch {
			case apart > 0:
				apart--
			case r.IntN(100) == 0:
				apart = r.IntN(60)
			case r.IntN(500) == 0 && n%3 == 0:
				for range coolAfter + 10 {
					versions = append(versions, []ID{add(t, d, Event{Parents: d.Heads(), Hunks: randomHunks(r, d.engine.text.runes, 0.5, 0.5)})})
				}
			}
			v := d.Heads()
			if apart > 0 {
				back := 20
				if r.IntN(50) == 0 {
					back = 1000
				}
				v = versions[max(0, len(versions)-1-r.IntN(back))]
			}
			base, err := d.At(v)
			if err != nil {
				t.Fatal(err)
			}
			id := add(t, d, Event{Parents: v, Hunks: randomHunks(r, utf8.RuneCountInString(base), 0.5, 0.5)})
			versions = append(versions, []ID{id})
			if r.IntN(4) == 0 {
				versions = append(versions, d.Heads())
			}
			for q.next < len(d.engine.nodes) {
				q.apply(d.engine.nodes, q.next, whole)
			}
			if r.IntN(50) == 0 && d.Text() != whole.String() {
				t.Fatalf("seed %d: another text after %d events", seed, q.next)
			}
		}
		if d.Text() != whole.String() {
			t.Fatalf("seed %d: another text", seed)
		}
		for _, v := range versions[len(versions)-20:] {
			alone := NewDoc(testNode)
			numbers, _ := d.find(v)
			for _, e := range d.engine.past(numbers, -1) {
				add(t, alone, *d.engine.nodes[e].event)
			}
			if got, err := d.At(v); err != nil || got != alone.Text() {
				t.Fatalf("seed %d: another old text, %v", seed, err)
			}
		}
	}
}
