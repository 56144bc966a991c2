package fs

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sheaf-fs/sheaf/crdt"
)

// What a track says is in common is in common, however a file is written, and it finds all of
// one change.
func TestTrack(t *testing.T) {
	var sb strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&sb, "line %d of a text\n", i)
	}
	rows := strings.Repeat("all lines are alike\n", 8000)
	rapid.Check(t, func(t *rapid.T) {
		was := rapid.SampledFrom([]string{sb.String(), rows}).Draw(t, "text")
		like := crdt.NewBody(was)
		saved := was
		edits := rapid.IntRange(0, 3).Draw(t, "edits")
		inPlace := rapid.Bool().Draw(t, "in place")
		k := tracked(like, inPlace)
		for range edits {
			i := rapid.IntRange(0, len(saved)).Draw(t, "from")
			ins := strings.Repeat("new ", rapid.SampledFrom([]int{0, 1, 100, 30000}).Draw(t, "inserted"))
			j := min(len(saved), i+rapid.SampledFrom([]int{0, 3, 500, 90000}).Draw(t, "removed"))
			if inPlace {
				j = min(len(saved), i+len(ins))
				k.wrote([]byte(ins), int64(i))
			}
			saved = saved[:i] + ins + saved[j:]
		}
		for at := 0; at < len(saved) && !inPlace; {
			n := min(len(saved)-at, rapid.SampledFrom([]int{7, 4096, 128 << 10}).Draw(t, "chunk"))
			if n == 7 {
				n = min(len(saved)-at, 40000) // not so many of them
			}
			if !k.wrote([]byte(saved[at:at+n]), int64(at)) {
				t.Fatal("lost the track")
			}
			at += n
		}
		e, ok := k.ends(int64(len(saved)))
		if !ok {
			return
		}
		if e.Start+e.End > min(len(was), len(saved)) || was[:e.Start] != saved[:e.Start] || was[len(was)-e.End:] != saved[len(saved)-e.End:] {
			t.Fatalf("%d and %d bytes in common", e.Start, e.End)
		}
	})
	was := sb.String()
	for _, at := range []int{0, 50_000, len(was) - 200} {
		saved := was[:at] + "another word" + was[at+5:]
		k := tracked(crdt.NewBody(was), false)
		for i := 0; i < len(saved); i += 4096 {
			k.wrote([]byte(saved[i:min(len(saved), i+4096)]), int64(i))
		}
		e, ok := k.ends(int64(len(saved)))
		if !ok || e.Start < at || len(was)-e.End > at+4096+5 {
			t.Errorf("one change at %d: %+v of %d, %v", at, e, len(was), ok)
		}
	}
}
