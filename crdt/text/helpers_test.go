package text

import (
	"math/rand/v2"
	"strings"
	"testing"
)

var testNode = Node{1, 2, 3}

// sp is a splice, in one line.
func sp(pos, del int, ins string) Splice { return Splice{Pos: pos, Del: del, Ins: ins} }

// patch makes hunks in a text, in the most literal way.
func patch(base string, hunks []Hunk) string {
	r := []rune(base)
	for i := len(hunks) - 1; i >= 0; i-- {
		for k := len(hunks[i]) - 1; k >= 0; k-- {
			s := hunks[i][k]
			r = append(r[:s.Pos:s.Pos], append([]rune(s.Ins), r[s.Pos+s.Del:]...)...)
		}
	}
	return string(r)
}

// add adds an event and fails the test where that fails.
func add(t testing.TB, d *Doc, e Event) ID {
	t.Helper()
	id, err := d.Add(e)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// save adds the event of a save over a version and gives the version the saver knows then.
func save(t testing.TB, d *Doc, version []ID, saved string) []ID {
	t.Helper()
	base, err := d.At(version)
	if err != nil {
		t.Fatal(err)
	}
	id := add(t, d, Event{Parents: version, Hunks: Diff(base, saved)})
	if got, err := d.At([]ID{id}); err != nil || got != saved {
		t.Fatalf("saved %q, the version has %q, %v", saved, got, err)
	}
	return []ID{id}
}

// rounds is the number of random rounds of a test: fewer where the race detector slows each down. Nothing here runs at the
// same time as anything else, so it has little to find.
func rounds(n int) int {
	if underRace {
		return n / 10
	}
	return n
}

var alphabet = strings.Split("abcdefghijklmnopqrstuvwxyzéßñ漢字あ😀🚀\n\n", "")

func randomText(r *rand.Rand, n int) string {
	var sb strings.Builder
	for range n {
		sb.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return sb.String()
}

// randomHunks makes hunks that fit a text of n code points, most of them near hot (0 to 1) with probability heat.
func randomHunks(r *rand.Rand, n int, hot, heat float64) []Hunk {
	var hunks []Hunk
	free := 0
	for range 1 + r.IntN(3)*r.IntN(2) {
		if free > n {
			break
		}
		h := Hunk{}
		for range 1 + r.IntN(3)*r.IntN(2) {
			if free > n {
				break
			}
			pos := free + r.IntN(n-free+1)
			switch x := int(hot * float64(n+1)); {
			case r.Float64() < heat*0.7 && x >= free && x <= n:
				pos = x
			case r.IntN(5) == 0:
				pos = n
			case r.IntN(6) == 0:
				pos = free
			}
			del := 0
			if r.IntN(2) == 0 {
				del = r.IntN(min(5, n-pos) + 1)
			}
			if r.IntN(12) == 0 {
				del = r.IntN(n - pos + 1)
			}
			if r.IntN(40) == 0 && free == 0 {
				pos, del = 0, n
			}
			ins := randomText(r, r.IntN(5))
			if del == 0 && ins == "" {
				ins = "Z"
			}
			h = append(h, sp(pos, del, ins))
			free = pos + del + 1
		}
		hunks = append(hunks, h)
	}
	return hunks
}
