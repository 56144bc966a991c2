package text

import (
	"strings"
	"testing"

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
		if got := e.StillText(saved); got != IsTextString(saved) {
			t.Fatalf("%q after %q is a text: %v", tail(saved), tail(base), got)
		}
		if !IsTextString(saved) {
			return
		}
		d := NewDoc(testNode)
		id, err := d.Add(Event{Hunks: []Hunk{{{Ins: base}}}})
		if base == "" || err != nil {
			return
		}
		_ = d.Text()
		if saved == base {
			return
		}
		ev := Event{Parents: []ID{id}, Hunks: d.Diff(saved, e)}
		want := Event{Parents: []ID{id}, Hunks: Diff(base, saved)}
		if id, err = d.Add(ev); err != nil || id != want.ID(testNode) {
			t.Fatalf("%v, %v and not %v", err, ev.Hunks, want.Hunks)
		}
		d.AdoptChange(id, saved, e)
		if d.Text() != saved || d.Len() != len(saved) {
			t.Fatalf("%q, not %q", tail(d.Text()), tail(saved))
		}
		if n := rapid.IntRange(0, len(saved)).Draw(t, "offset"); d.engine.text.runesTo(n) != countRunes(saved[:n]) {
			t.Fatalf("code points before %d: %d", n, d.engine.text.runesTo(n))
		}
	})
}

func tail(s string) string { return s[max(0, len(s)-40):] }
