package text

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// What is asked of two texts that were compared is what would be found by looking at all of them.
func TestEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.StringOfN(rapid.SampledFrom([]rune("a\néÉ😀\u0301")), 0, 12, -1)
		long := strings.Repeat("line é\n", rapid.SampledFrom([]int{0, 1, 400, 2000}).Draw(t, "lines"))
		base := some.Draw(t, "start") + long + some.Draw(t, "end")
		i := rapid.IntRange(0, len(base)).Draw(t, "from")
		j := rapid.IntRange(i, len(base)).Draw(t, "to")
		ins := rapid.SampledFrom([]string{"", "x", "\n", "é", "\xa9", "\xc3", "\x00", "\xf0\x9f", "line é\n"}).Draw(t, "in its place")
		saved := base[:i] + ins + base[j:] // also in the middle of characters
		e := CommonEnds(base, saved)
		if base[:e.Start] != saved[:e.Start] || base[len(base)-e.End:] != saved[len(saved)-e.End:] || e.Start+e.End > min(len(base), len(saved)) {
			t.Fatalf("%+v", e)
		}
		if e.Equal(base, saved) != (base == saved) {
			t.Fatalf("equal: %+v", e)
		}
		body, ok := NewBody(base).Resave(saved)
		if ok != IsTextString(saved) {
			t.Fatalf("%q after %q is a text: %v", tail(saved), tail(base), ok)
		}
		if !ok {
			return
		}
		if got := body.String(); got != saved || body.Len() != len(saved) || body.runes != countRunes(saved) {
			t.Fatalf("%q, not %q", tail(got), tail(saved))
		}
		for _, other := range []*Body{body, NewBody(saved)} {
			if got := EndsOf(NewBody(base), other); got != e {
				t.Fatalf("%+v, not %+v", got, e)
			}
		}
		if got, want := NewBody(base).Diff(body), Diff(base, saved); !reflect.DeepEqual(got, want) {
			t.Fatalf("%v, not %v", got, want)
		}
		if n := rapid.IntRange(0, len(saved)).Draw(t, "offset"); runesTo(body.blocks, n) != countRunes(saved[:n]) {
			t.Fatalf("code points before %d: %d", n, runesTo(body.blocks, n))
		}
	})
}

// A text in pieces is the same text, whatever was done to it, and those that it was made from stay what they were.
func TestBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.StringOfN(rapid.SampledFrom([]rune("a\né😀")), 0, 8, -1).Draw(t, "at first")
		want = strings.Repeat(want, rapid.SampledFrom([]int{1, 50, 400}).Draw(t, "times"))
		body := NewBody(want)
		type version struct {
			body *Body
			text string
		}
		versions := []version{{body, want}}
		for range rapid.IntRange(1, 6).Draw(t, "edits") {
			i := start(want, rapid.IntRange(0, len(want)).Draw(t, "from"))
			j := start(want, min(len(want), i+rapid.SampledFrom([]int{0, 1, 5, 5000}).Draw(t, "length")))
			ins := strings.Repeat("né\n", rapid.SampledFrom([]int{0, 1, 3, 400}).Draw(t, "inserted"))
			body, want = body.Splice(i, j, ins), want[:i]+ins+want[j:]
			versions = append(versions, version{body, want})
		}
		for k, v := range versions {
			if got := v.body.String(); got != v.text || v.body.Len() != len(v.text) {
				t.Fatalf("version %d is %q, not %q", k, tail(got), tail(v.text))
			}
			if v.body.Equal(body) != (v.text == want) {
				t.Fatal("equal to what it is not, or the other way round")
			}
			if k == 0 || v.text == "" || versions[k-1].text == "" {
				continue
			}
			if got, want := versions[k-1].body.Diff(v.body), Diff(versions[k-1].text, v.text); !reflect.DeepEqual(got, want) {
				t.Fatalf("%v, not %v", got, want)
			}
		}
		i := rapid.IntRange(0, len(want)).Draw(t, "slice from")
		j := rapid.IntRange(i, len(want)).Draw(t, "slice to")
		if got := body.Slice(i, j); got != want[i:j] {
			t.Fatalf("%d to %d is %q, not %q", i, j, tail(got), tail(want[i:j]))
		}
		buf := make([]byte, j-i)
		if n := body.ReadAt(buf, i); n != j-i || string(buf) != want[i:j] {
			t.Fatalf("%d bytes at %d: %q", n, i, tail(string(buf)))
		}
		if n := body.EqualAt(buf, i); n != len(buf) {
			t.Fatalf("%d of %d bytes are the same from %d on", n, len(buf), i)
		}
		if n := body.EqualBefore(buf, j); n != len(buf) {
			t.Fatalf("%d of %d bytes are the same before %d", n, len(buf), j)
		}
		if len(buf) > 0 {
			k := rapid.IntRange(0, len(buf)-1).Draw(t, "another byte")
			buf[k] ^= 1
			if n := body.EqualAt(buf, i); n != k {
				t.Fatalf("%d bytes are the same from %d on, not %d", n, i, k)
			}
			if n := body.EqualBefore(buf, j); n != len(buf)-1-k {
				t.Fatalf("%d bytes are the same before %d, not %d", n, j, len(buf)-1-k)
			}
		}
	})
}

// start is the start of the character that an offset is in.
func start(s string, at int) int {
	for at < len(s) && !utf8.RuneStart(s[at]) {
		at--
	}
	return at
}

func tail(s string) string { return s[max(0, len(s)-40):] }
