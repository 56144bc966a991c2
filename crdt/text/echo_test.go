package text

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// sides saves texts one after the other over a version, and gives the one that its saver ends with.
func sides(t *testing.T, d *Doc, version []ID, saves ...string) []ID {
	t.Helper()
	for _, s := range saves {
		version = save(t, d, version, s)
	}
	return version
}

// What two sides of a merge show in one place stands once, however they came to it.
func TestEchoes(t *testing.T) {
	const base = "one\ntwo\nthree\n"
	for name, c := range map[string]struct {
		a, b []string
		want string
	}{
		"on different versions": {
			[]string{"one\ntwo\nthree\nend\n", "one\nnew\ntwo\nthree\nend\n"},
			[]string{"zero\none\ntwo\nthree\n", "zero\none\nnew\ntwo\nthree\n"},
			"zero\none\nnew\ntwo\nthree\nend\n",
		},
		"through another step": {
			[]string{"one\na first try\ntwo\nthree\n", "one\nwhat it should be\ntwo\nthree\n"},
			[]string{"one\nwhat it should be\ntwo\nthree\n"},
			"one\nwhat it should be\ntwo\nthree\n",
		},
		"in one save and in several": {
			[]string{"one\na\nb\ntwo\nthree\n"},
			[]string{"one\nb\ntwo\nthree\n", "one\na\nb\ntwo\nthree\n"},
			"one\na\nb\ntwo\nthree\n",
		},
		"instead of something": {
			[]string{"one\n2\nthree\n", "one\nzwei\nthree\n"},
			[]string{"one\nzwei\nthree\n"},
			"one\nzwei\nthree\n",
		},
		"typed again": {
			[]string{"one\nversion 1-SNAPSHOT\nthree\n", "one\nversion 1\nthree\n", "one\nversion 2-SNAPSHOT\nthree\n"},
			[]string{"one\nversion 1-SNAPSHOT\nthree\n", "one\nversion 2-SNAPSHOT\nthree\n"},
			"one\nversion 2-SNAPSHOT\nthree\n",
		},
		"a line that was kept, typed again": {
			[]string{"one\nx\nthree\n", "one\nx\ntwo\nthree\n"},
			[]string{"one\nx\ntwo\nthree\n"},
			"one\nx\ntwo\nthree\n",
		},
		"not where one goes on": {
			[]string{"one\nsame\ntwo\nthree\n", "one\nsame\nmore\ntwo\nthree\n"},
			[]string{"zero\none\ntwo\nthree\n", "zero\none\nsame\ntwo\nthree\n"},
			"",
		},
		"not where one takes it away": {
			[]string{"one\nsame\ntwo\nthree\n", base},
			[]string{"zero\none\ntwo\nthree\n", "zero\none\nsame\ntwo\nthree\n"},
			"zero\none\nsame\ntwo\nthree\n",
		},
	} {
		var texts []string
		for order := range 2 {
			d := NewDoc(testNode)
			v := save(t, d, nil, base)
			a, b := c.a, c.b
			if order == 1 {
				a, b = b, a
			}
			va, vb := sides(t, d, v, a...), sides(t, d, v, b...)
			merged := d.Text()
			texts = append(texts, merged)
			if c.want == "" {
				if strings.Count(merged, "same\n") != 2 {
					t.Errorf("%s: %q", name, merged)
				}
			} else if merged != c.want {
				t.Errorf("%s: %q", name, merged)
			}
			if got := blamed(d); got != merged {
				t.Errorf("%s: blamed is %q of %q", name, got, merged)
			}
			// A save over both, and one that either side makes without knowing of it.
			both := SortIDs(append(append([]ID{}, va...), vb...))
			save(t, d, both, merged+"end of both\n")
			save(t, d, va, a[len(a)-1]+"end of one\n")
			for _, end := range []string{"end of both\n", "end of one\n"} {
				if !strings.Contains(d.Text(), end) {
					t.Errorf("%s: %q lacks %q", name, d.Text(), end)
				}
			}
		}
		if texts[0] != texts[1] {
			t.Errorf("%s: the order of arrival shows: %q, %q", name, texts[0], texts[1])
		}
	}
}

func blamed(d *Doc) string {
	n := 0
	for _, s := range d.Blame() {
		n += s.Bytes
	}
	return d.Text()[:n]
}

// An append of a line that is like another's is no echo of it.
func TestAppendsHaveNoEcho(t *testing.T) {
	d := NewDoc(testNode)
	v := save(t, d, nil, "log\n")
	a := save(t, d, v, "the log\n")
	line := Hunk{sp(4, 0, "line\n")}
	add(t, d, Event{Parents: v, Hunks: []Hunk{line}, Nonce: make([]byte, NonceSize)})
	line = Hunk{sp(8, 0, "line\n")}
	add(t, d, Event{Parents: a, Hunks: []Hunk{line}, Nonce: append(make([]byte, NonceSize-1), 1)})
	if got := d.Text(); got != "the log\nline\nline\n" {
		t.Errorf("%q", got)
	}
}

// Of three sides that say the same, one stands; where a third deleted what was first, the other stays.
func TestEchoesOfThree(t *testing.T) {
	d := NewDoc(testNode)
	v := save(t, d, nil, "one\ntwo\nthree\nfour\nfive\nsix\n")
	a := sides(t, d, v, "1\ntwo\nthree\nfour\nfive\nsix\n", "1\ntwo\nsame\nthree\nfour\nfive\nsix\n")
	sides(t, d, v, "one\ntwo\nthree\n4\nfive\nsix\n", "one\ntwo\nsame\nthree\n4\nfive\nsix\n")
	sides(t, d, v, "one\ntwo\nthree\nfour\nfive\n6\n", "one\ntwo\nsame\nthree\nfour\nfive\n6\n")
	const want = "1\ntwo\nsame\nthree\n4\nfive\n6\n"
	if got := d.Text(); got != want {
		t.Errorf("three sides: %q", got)
	}
	save(t, d, a, "1\ntwo\nthree\nfour\nfive\nsix\n")
	if got := d.Text(); got != want {
		t.Errorf("one of three took it away: %q", got)
	}
}

// Three sides say the same and share parts of it in pairs, whose places alternate. Compared at once, or in pairs by who
// does not know of the other pair, not everything is an echo of something else.
func TestEchoesInTurn(t *testing.T) {
	for first := range 32 { // the order at one place is as good as random
		d := NewDoc(testNode)
		base := add(t, d, Event{Hunks: []Hunk{{sp(0, 0, string(rune('A'+first))+"<>")}}})
		insert := func(parents []ID, hunks ...Hunk) ID { return add(t, d, Event{Parents: SortIDs(parents), Hunks: hunks}) }
		s := insert([]ID{base}, Hunk{sp(2, 0, "s")})
		u := insert([]ID{base}, Hunk{sp(2, 0, "t")})
		if both, err := d.At(SortIDs([]ID{s, u})); err != nil || !strings.Contains(both, "<st>") {
			continue
		}
		want := string(rune('A'+first)) + "<sty>"
		a := insert([]ID{s}, Hunk{sp(3, 0, "ty")})
		b := insert([]ID{u}, Hunk{sp(2, 0, "s")}, Hunk{sp(3, 0, "y")})
		c := insert([]ID{s, u}, Hunk{sp(4, 0, "y")})
		if got := d.Text(); got != want {
			t.Errorf("three sides at once: %q", got)
		}
		ab := insert([]ID{a, b}, Hunk{sp(0, 0, "1")})
		ac := insert([]ID{a, c}, Hunk{sp(6, 0, "2")})
		for _, e := range []ID{ab, ac} {
			if got, err := d.At([]ID{e}); err != nil || !strings.Contains(got, want) {
				t.Errorf("two of three: %q, %v", got, err)
			}
		}
		if got := d.Text(); got != "1"+want+"2" {
			t.Errorf("three sides, two at a time: %q", got)
		}
	}
}

// Undoing one of two changes that became one leaves the other, also where somebody has saved on the merge.
func TestWithoutEchoes(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		d := NewDoc(testNode)
		v := save(t, d, nil, "one\ntwo\nthree\n")
		var versions, mine [2][]ID
		versions[order[0]] = save(t, d, v, "0\none\ntwo\nthree\n")
		versions[order[1]] = save(t, d, v, "one\ntwo\nthree\n4\n")
		for i, s := range []string{"0\none\nsame\ntwo\nthree\n", "one\nsame\ntwo\nthree\n4\n"} {
			mine[order[i]] = save(t, d, versions[order[i]], s)
		}
		want := "0\none\nsame\ntwo\nthree\n4\n"
		for range 2 {
			for i := range mine {
				if got := d.Without(mine[i]); got != want {
					t.Errorf("without one of two: %q", got)
				}
			}
			if got := d.Without(append(append([]ID{}, mine[0]...), mine[1]...)); strings.Contains(got, "same") {
				t.Errorf("without both: %q", got)
			}
			want += "five\n"
			save(t, d, d.Heads(), want)
		}
	}
}

// Sides that come to the same text on ways of their own: whatever stands twice where any of them meet, every line stands. So
// it is where others merge the merges of some of them, if each side came there in one save.
func TestEchoesLoseNothing(t *testing.T) {
	tight(t)
	n, once := rounds(3000), 0
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 8))
		text := func() string {
			var sb strings.Builder
			for _, l := range r.Perm(5)[:1+r.IntN(5)] {
				sb.WriteString(string(rune('a'+l)) + "\n")
			}
			return sb.String()
		}
		d := NewDoc(testNode)
		base := save(t, d, nil, text())
		want := text()
		steps := seed % 3
		var versions [][]ID
		for range 2 + r.IntN(3) {
			v := base
			for range r.IntN(steps + 1) {
				v = save(t, d, v, text())
			}
			versions = append(versions, save(t, d, v, want))
		}
		check := func(version []ID) {
			if got, err := d.At(version); err != nil || !hasLines(got, want) {
				t.Fatalf("seed %d: all came to %q, merged they are %q, %v", seed, want, got, err)
			} else if got == want && len(versions) == 2 {
				once++
			}
		}
		check(d.Heads())
		for range 5 {
			version := SortIDs(slices.Concat(versions[r.IntN(len(versions))], versions[r.IntN(len(versions))]))
			check(version)
			if steps == 0 {
				versions = append(versions, []ID{add(t, d, Event{Parents: version})})
				check(d.Heads())
			}
		}
	}
	if once < n*4/3 {
		t.Errorf("of %d looks at two sides, only %d came out as both are", 2*n, once)
	}
}

// hasLines tells whether all lines stand in a text, wherever.
func hasLines(text, want string) bool {
	have := lines(text)
	return !slices.ContainsFunc(lines(want), func(l string) bool { return !slices.Contains(have, l) })
}
