package text

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name, base, saved string
		want              []Hunk
	}{
		{"equal", "a\nb\n", "a\nb\n", nil},
		{"first save", "", "a\nb\n", []Hunk{{sp(0, 0, "a\nb\n")}}},
		{"emptied", "a\nb\n", "", []Hunk{{sp(0, 4, "")}}},
		{"line added", "a\nb\n", "a\nx\nb\n", []Hunk{{sp(2, 0, "x\n")}}},
		{"line removed", "a\nx\nb\n", "a\nb\n", []Hunk{{sp(2, 2, "")}}},
		{"newline at the end", "a\nb", "a\nb\n", []Hunk{{sp(3, 0, "\n")}}},
		{"line after an open end", "b", "b\nc", []Hunk{{sp(1, 0, "\nc")}}},
		{"word", "one two three\n", "one 2 three\n", []Hunk{{sp(4, 4, "2 ")}}},
		{"word, wide characters", "é漢 two 😀\n", "é漢 zwei 😀\n", []Hunk{{sp(3, 4, "zwei ")}}},
		{"no characters inside a word", "one twenty three\n", "one twelve three\n", []Hunk{{sp(4, 7, "twelve ")}}},
		{"the last word of a line", "one two\n", "one 2\n", []Hunk{{sp(3, 4, " 2")}}},
		{"words in code", "f(a, b)\n", "f(c, b)\n", []Hunk{{sp(2, 1, "c")}}},
		{"words side by side", "one two three four\n", "eins zwei three four\n", []Hunk{{sp(0, 3, "eins")}, {sp(4, 4, "zwei ")}}},
		{"no indentation", "\tone + two\n", "\t1 + two\n", []Hunk{{sp(1, 4, "1 ")}}},
		{"a character where words have no blanks", "漢字漢字漢字\n", "漢字漢あ漢字\n", []Hunk{{sp(3, 1, "あ")}}},
		{"line with less than half its words", "one two three four\n", "one x y z\n", []Hunk{{sp(0, 19, "one x y z\n")}}},
		{"slides down", "a\n\nb\n\nc\n", "a\n\nx\n\nb\n\nc\n", []Hunk{{sp(3, 0, "x\n\n")}}},
		{"slides down to the end", "x\nx\nx\n", "x\nx\nx\nx\n", []Hunk{{sp(6, 0, "x\n")}}},
		{"removal slides down", "x\nx\nx\ny\n", "x\nx\ny\n", []Hunk{{sp(4, 2, "")}}},
		{"two hunks", "a\nb\nc\nd\ne\n", "A\nb\nc\nd\nE\n", []Hunk{{sp(0, 2, "A\n")}, {sp(8, 2, "E\n")}}},
		{"a line slides up to the next hunk", "p\nx\nq\n", "p\nx\nx\nr\n", []Hunk{{sp(4, 2, "x\nr\n")}}},
		{"a group slides up to a change", "a\nx\n\nc\n", "a\ny\n\nnew\n\nc\n", []Hunk{{sp(2, 2, "y\n\nnew\n")}}},
		{"a removal slides up to a change", "a\nx\n\nold\n\nc\n", "a\ny\n\nc\n", []Hunk{{sp(2, 7, "y\n")}}},
		{"two groups come to touch", "h\n}\nt\n", "h\nx\n}\ny\n}\nt\n", []Hunk{{sp(2, 0, "x\n}\ny\n")}}},
		{"paired among others", "old\nkeep this line here\n", "new\nmore\nkeep that line here\n",
			[]Hunk{{sp(0, 4, "new\nmore\n")}, {sp(9, 5, "that ")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Diff(c.base, c.saved)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// A hunk slides through as many equal lines as there are, also those that the search had set aside as the common end.
func TestDiffSlidesThroughCommonEnd(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 100, 1000} {
		blank := strings.Repeat("\n", n)
		got := Diff("a\n"+blank+"b\n", "a\n\n"+blank+"b\n")
		if len(got) != 1 || got[0][0].Pos != 2+n {
			t.Errorf("%d lines: %+v", n, got)
		}
	}
}

// checkDiff holds for every pair of texts.
func checkDiff(t interface{ Fatalf(string, ...any) }, a, b string) {
	h := Diff(a, b)
	if (h == nil) != (a == b) {
		t.Fatalf("%q to %q: %+v", a, b, h)
	}
	e := Event{Hunks: h}
	if err := e.check(); err != nil {
		t.Fatalf("%q to %q: %v", a, b, err)
	}
	if !e.fits(utf8.RuneCountInString(a)) {
		t.Fatalf("%q to %q: hunks do not fit: %+v", a, b, h)
	}
	if got := patch(a, h); got != b {
		t.Fatalf("%q to %q gives %q: %+v", a, b, got, h)
	}
}

func TestDiffProperties(t *testing.T) {
	line := rapid.SampledFrom([]string{"\n", "x\n", "}\n", "the quick brown fox\n", "the slow brown fox\n", "漢字 é😀\n", "a b", "\t\tq w e\n"})
	text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOf(line).Draw(t, "lines"), "") })
	rapid.Check(t, func(t *rapid.T) { checkDiff(t, text.Draw(t, "base"), text.Draw(t, "saved")) })
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.SampledFrom([]rune("ab \n\té漢\u0301")))
		checkDiff(t, s.Draw(t, "base"), s.Draw(t, "saved"))
	})
}

func FuzzDiff(f *testing.F) {
	f.Add("a\nb\n", "a\nc\n")
	f.Add("", "x")
	f.Add("the quick fox\n\n\n", "the slow fox\n\n")
	f.Add("漢字\u0301é", "漢é")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !plain(a) || !plain(b) {
			t.Skip()
		}
		checkDiff(t, a, b)
	})
}

// No input takes long: the bound is generous, what it catches is a square of the length.
func TestDiffBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(n, kinds int, end string) string {
		var sb strings.Builder
		for range n {
			sb.WriteByte(byte('a' + r.IntN(kinds)))
			sb.WriteString(end)
		}
		return sb.String()
	}
	for _, c := range []struct{ name, a, b string }{
		{"short lines", noise(20_000, 20, "\n"), noise(20_000, 20, "\n")},
		{"two kinds of lines", noise(20_000, 2, "\n"), noise(20_000, 2, "\n")},
		{"one line of words", noise(20_000, 20, " "), noise(20_000, 20, " ")},
		{"one line of one word", noise(1_000_000, 20, ""), noise(1_000_000, 20, "")},
		{"nothing in common", strings.Repeat("a\n", 100_000), strings.Repeat("b\n", 100_000)},
		{"blank lines", strings.Repeat("\n", 100_000), strings.Repeat("\n", 100_001)},
		{"equal blocks", strings.Repeat("x\n}\n\n", 50_000), strings.Repeat("x\n}\n\nx\n}\n", 33_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			h := Diff(c.a, c.b)
			if d := time.Since(start); d > 60*time.Second {
				t.Errorf("took %v", d)
			}
			e := Event{Hunks: h}
			if err := e.check(); err != nil || !e.fits(utf8.RuneCountInString(c.a)) {
				t.Fatalf("%v", err)
			}
			text := newRope(c.a)
			text.apply(&e)
			if text.String() != c.b {
				t.Fatal("the hunks give another text")
			}
			t.Log(len(h), "hunks", time.Since(start))
		})
	}
}

// A save that changes more places than an event may hold is one splice.
func TestDiffOfTooManyPlaces(t *testing.T) {
	var a, b strings.Builder
	for range MaxSplices + 1 {
		a.WriteString("x\né\n")
		b.WriteString("x\nè\n")
	}
	h := Diff(a.String(), b.String())
	if len(h) != 1 || len(h[0]) != 1 || h[0][0].Pos != 2 || h[0][0].Del != 4*MaxSplices+1 {
		t.Fatalf("%d hunks, the first at %d", len(h), h[0][0].Pos)
	}
	if patchOne(a.String(), h[0][0]) != b.String() {
		t.Error("another text")
	}
}

func patchOne(base string, s Splice) string {
	r := newRope(base)
	r.apply(&Event{Hunks: []Hunk{{s}}})
	return r.String()
}

// Where the edits are too many to search all of them, lines that are once in both texts hold them together: what is
// between is compared by itself.
func TestDiffAnchors(t *testing.T) {
	var base, saved strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&base, "line %d\n", i)
		if i%100 == 0 {
			for range 40 {
				saved.WriteString("the same line\n")
			}
		}
		if i%2 == 0 || i%100 > 90 {
			fmt.Fprintf(&saved, "line %d\n", i)
		}
	}
	hunks := Diff(base.String(), saved.String())
	gone, come := 0, 0
	for _, h := range hunks {
		for _, s := range h {
			gone += s.Del
			come += strings.Count(s.Ins, "the same line\n")
			if n := strings.Count(s.Ins, "\n"); n != strings.Count(s.Ins, "the same line\n") && n != 0 {
				t.Fatalf("a line that stayed is inserted: %q", s.Ins)
			}
		}
	}
	if come != 1600 || gone > base.Len()/2 {
		t.Errorf("%d lines came, %d characters went", come, gone)
	}
}

func TestAnchors(t *testing.T) {
	for _, c := range []struct {
		a, b []int32
		want [][2]int
	}{
		{nil, nil, [][2]int{}},
		{[]int32{1, 2, 3}, []int32{3, 1, 2}, [][2]int{{0, 1}, {1, 2}}},
		{[]int32{1, 1, 2}, []int32{1, 2, 2}, [][2]int{}},
		{[]int32{5, 9, 5, 7, 8}, []int32{9, 8, 5, 7, 5}, [][2]int{{1, 0}, {4, 1}}},
	} {
		if got := anchors(c.a, c.b); !reflect.DeepEqual(got, c.want) {
			t.Errorf("anchors(%v, %v) = %v, not %v", c.a, c.b, got, c.want)
		}
	}
}

// Two people change a line alike, and one of them another word of it as well: what they did alike is there once.
func TestAlikeInsideALine(t *testing.T) {
	d := NewDoc(testNode)
	base := "the quick fox jumps over it\n"
	v := save(t, d, nil, base)
	for _, saved := range []string{"the slow fox jumps over it\n", "the slow fox runs over it\n"} {
		add(t, d, Event{Parents: v, Hunks: Diff(base, saved)})
	}
	if got := d.Text(); got != "the slow fox runs over it\n" {
		t.Errorf("%q", got)
	}
}
