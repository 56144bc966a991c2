package text

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// Without what came after a version, a text is that version's.
func TestWithout(t *testing.T) {
	for seed := range uint64(rounds(400)) {
		r := rand.New(rand.NewPCG(seed, 7))
		g := randomGraph(t, r, 57)
		for range 4 {
			var keep uint64
			for range 1 + r.IntN(3) {
				keep |= g.past[r.IntN(len(g.events))]
			}
			var rest []ID
			for s := (uint64(1)<<len(g.events) - 1) &^ keep; s != 0; s &= s - 1 {
				rest = append(rest, g.ids[bits.TrailingZeros64(s)])
			}
			want, err := g.doc.At(g.version(keep))
			if err != nil {
				t.Fatal(err)
			}
			if got := g.doc.Without(rest); got != want {
				t.Fatalf("seed %d: without %d of %d events\n got %q\nwant %q", seed, len(rest), len(g.events), got, want)
			}
		}
		if got := g.doc.Without(g.ids); got != "" {
			t.Fatalf("seed %d: without all events there is %q", seed, got)
		}
	}
}

func TestWithoutOneOfMany(t *testing.T) {
	d := NewDoc(testNode)
	v := save(t, d, nil, "one\ntwo\nthree\n")
	mine := save(t, d, v, "one\n2\nthree\n")
	later := save(t, d, mine, "zero\none\n2\nthree\nfour\n")
	if got := d.Without(mine); got != "zero\none\ntwo\nthree\nfour\n" {
		t.Errorf("without the middle: %q", got)
	}
	// What another took away as well stays away.
	save(t, d, v, "one\nthree\n")
	save(t, d, later, "zero\none\nthree\nfour\n")
	if got := d.Without(mine); got != "zero\none\nthree\nfour\n" {
		t.Errorf("a line that two deleted: %q", got)
	}
	// One change that two made is not undone by one of them.
	a := NewDoc(testNode)
	v = save(t, a, nil, "x\ny\n")
	both := []Hunk{{sp(0, 0, "new\n")}}
	one := add(t, a, Event{Parents: v, Hunks: append([]Hunk{}, append(both, Hunk{sp(2, 1, "Y")})...)})
	add(t, a, Event{Parents: v, Hunks: both})
	if got := a.Without([]ID{one}); got != "new\nx\ny\n" {
		t.Errorf("a change of two: %q", got)
	}
}

// BlameAt of any version divides its text, also one of several heads that show the same.
func TestBlameAt(t *testing.T) {
	d := NewDoc(testNode)
	v := save(t, d, nil, "one\ntwo\nthree\n")
	a := save(t, d, v, "one\ntwo\nsame\nthree\nof a\n")
	b := save(t, d, v, "zero\none\ntwo\nsame\nthree\n")
	c := save(t, d, b, "zero\none\ntwo\nsame\nthree\nlast\n")
	for _, version := range [][]ID{v, a, b, c, d.Heads(), SortIDs([]ID{a[0], b[0]}), SortIDs([]ID{b[0], c[0]})} {
		text, err := d.At(version)
		if err != nil {
			t.Fatal(err)
		}
		spans, err := d.BlameAt(version)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range spans {
			n += s.Bytes
		}
		if n != len(text) {
			t.Errorf("%d bytes have an author, of %q", n, text)
		}
	}
}
