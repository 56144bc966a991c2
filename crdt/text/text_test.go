package text

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestMerge(t *testing.T) {
	d := NewDoc(testNode)
	v0 := save(t, d, nil, "one\ntwo\nthree\nfour\n")
	a := save(t, d, v0, "ONE\ntwo\nthree\nfour\n")
	save(t, d, a, "ONE\ntwo\nthree\nfour\nfive\n")
	save(t, d, v0, "one\ntwo\nthree and more\nfour\n")
	if got, want := d.Text(), "ONE\ntwo\nthree and more\nfour\nfive\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(d.Heads()) != 2 {
		t.Errorf("heads %v", d.Heads())
	}
	merged := save(t, d, d.Heads(), "ONE\ntwo\nthree and more\nfour\nfive\nsix\n")
	if got := d.Heads(); len(got) != 1 || got[0] != merged[0] {
		t.Errorf("heads %v, want %v", got, merged)
	}
}

func TestEqualSaves(t *testing.T) {
	d := NewDoc(testNode)
	v0 := save(t, d, nil, "a := 1\nb:=2\nc:=3\nd := 4\n")
	// Both formatted the file, one also changed the last line.
	save(t, d, v0, "a := 1\nb := 2\nc := 3\nd := 4\n")
	save(t, d, v0, "a := 1\nb := 2\nc := 3\nd := 4\ne := 5\n")
	if got, want := d.Text(), "a := 1\nb := 2\nc := 3\nd := 4\ne := 5\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEqualAppends(t *testing.T) {
	d := NewDoc(testNode)
	v0 := save(t, d, nil, "log\n")
	for i := range byte(2) {
		nonce := make([]byte, NonceSize)
		nonce[0] = i
		add(t, d, Event{Parents: v0, Hunks: []Hunk{{sp(4, 0, "line\n")}}, Nonce: nonce})
	}
	if got, want := d.Text(), "log\nline\nline\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInsertionIntoDeletedText(t *testing.T) {
	d := NewDoc(testNode)
	v0 := save(t, d, nil, "keep\ndrop this paragraph\nkeep too\n")
	save(t, d, v0, "keep\nkeep too\n")
	save(t, d, v0, "keep\ndrop this paragraph\nadded\nkeep too\n")
	if got, want := d.Text(), "keep\nadded\nkeep too\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	d := NewDoc(testNode)
	if _, err := d.Add(Event{Parents: []ID{{1}}}); !errors.Is(err, ErrMissingParent) {
		t.Errorf("missing parent: %v", err)
	}
	if _, err := d.Add(Event{Parents: []ID{{2}, {1}}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("parents out of order: %v", err)
	}
	if _, err := d.At([]ID{{1}}); !errors.Is(err, ErrUnknownVersion) {
		t.Errorf("unknown version: %v", err)
	}
	if s, err := d.At(nil); s != "" || err != nil {
		t.Errorf("no version: %q, %v", s, err)
	}
	if len(d.Events()) != 0 || len(d.Heads()) != 0 || d.Text() != "" || d.Has(ID{1}) || d.Ancestor([]ID{{1}}, nil) {
		t.Error("something is left of what was refused")
	}
}

// An event that does not fit changes nothing, but is there, and others can be made on it.
func TestInvalidEvents(t *testing.T) {
	for name, hunks := range map[string][]Hunk{
		"beyond the end":         {{sp(4, 0, "x")}},
		"deletes beyond the end": {{sp(2, 2, "")}},
		"negative position":      {{sp(-1, 0, "x")}},
		"negative deletion":      {{sp(1, -1, "x")}},
		"huge deletion":          {{sp(1, int(^uint(0)>>1), "")}},
		"nothing":                {{sp(1, 0, "")}},
		"no splices":             {{}},
		"descending":             {{sp(2, 0, "x"), sp(0, 0, "y")}},
		"touching":               {{sp(0, 1, "x"), sp(1, 0, "y")}},
		"hunks touch":            {{sp(0, 1, "x")}, {sp(1, 0, "y")}},
		"NUL":                    {{sp(0, 0, "a\x00")}},
		"not UTF-8":              {{sp(0, 0, "\xff")}},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDoc(testNode)
			v0 := save(t, d, nil, "abc")
			bad := add(t, d, Event{Parents: v0, Hunks: hunks})
			if d.Text() != "abc" || d.Valid(bad) || !d.Has(bad) {
				t.Fatalf("text %q, valid %v", d.Text(), d.Valid(bad))
			}
			on := save(t, d, []ID{bad}, "abc d")
			// The same on a version that is not the current one.
			add(t, d, Event{Parents: v0, Hunks: []Hunk{{sp(0, 0, "0")}}})
			late := add(t, d, Event{Parents: v0, Hunks: append(hunks, Hunk{sp(900, 0, "z")})})
			if d.Text() != "0abc d" || d.Valid(late) {
				t.Fatalf("text %q, valid %v", d.Text(), d.Valid(late))
			}
			if s, err := d.At(on); s != "abc d" || err != nil {
				t.Fatalf("%q, %v", s, err)
			}
		})
	}
}

// What Memory says is near what a document takes.
func TestMemory(t *testing.T) {
	for _, side := range []int{500, 2000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		d := NewDoc(testNode)
		v0 := save(t, d, nil, strings.Repeat("some line of text\n", 1000))
		for w := range 2 {
			v := v0
			for i := range side {
				v = []ID{add(t, d, Event{Parents: v, Hunks: []Hunk{{sp(i*3+w, 1, "word")}}})}
			}
		}
		_ = d.Text()
		runtime.GC()
		runtime.ReadMemStats(&after)
		said, took := d.Memory(), int(after.HeapAlloc)-int(before.HeapAlloc)
		if said < took/3 || said > took*3 {
			t.Errorf("%d saves a side: says %d, takes %d", side, said, took)
		}
		t.Logf("%d saves a side: says %d, takes %d", side, said, took)
	}
	// Where two sides meet that took out and typed the same all over a long text, there are a text
	// without the echoes, and one to compare with, that share little with the one that merging goes on in.
	const size = 4 << 20
	for _, met := range []bool{false, true} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		d := NewDoc(testNode)
		v := save(t, d, nil, strings.Repeat("some line of text\n", size/18))
		var many, same []Hunk
		for at := 0; at < size-4096; at += 3000 {
			many = append(many, Hunk{sp(at, 4, "SOME")})
			if at > 6000 {
				same = append(same, Hunk{sp(at+1500, 0, "again")})
			}
		}
		v = []ID{add(t, d, Event{Parents: v, Hunks: many})}
		if met {
			for side, again := range []Splice{sp(6000, 4, "SOMEmore"), sp(6004, 0, "more")} {
				apart := []ID{add(t, d, Event{Parents: v, Hunks: []Hunk{{sp(size-1000, 0, string(rune('a'+side)))}}})}
				add(t, d, Event{Parents: apart, Hunks: append([]Hunk{{again}}, same...)})
			}
			_ = d.Body()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		said, took := d.Memory(), int(after.HeapAlloc)-int(before.HeapAlloc)
		if said < took*3/4 || said > took*2 {
			t.Errorf("long, met %v: says %d, takes %d", met, said, took)
		}
		t.Logf("long, met %v: says %d, takes %d, shown %v, base %v", met, said, took, d.engine.shown != d.engine.text, d.engine.seq != nil && d.engine.seq.baseText != nil)
		runtime.KeepAlive(d)
	}
}

// A rope is the string that the same splices make.
func TestRope(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		s := randomText(r, r.IntN(12000))
		text := newRope(s)
		want := []rune(s)
		for range 40 {
			pos := r.IntN(len(want) + 1)
			del := r.IntN(min(len(want)-pos, []int{0, 3, 6000}[r.IntN(3)]) + 1)
			ins := randomText(r, r.IntN([]int{1, 4, 5000}[r.IntN(3)]))
			text.splice(pos, del, ins, utf8.RuneCountInString(ins))
			want = append(want[:pos:pos], append([]rune(ins), want[pos+del:]...)...)
			if text.runes != len(want) {
				t.Fatalf("%d code points, want %d", text.runes, len(want))
			}
			if r.IntN(20) == 0 {
				other := text.clone()
				if got := other.String(); got != string(want) || len(got) != text.bytes {
					t.Fatal("clone differs")
				}
				other.splice(0, other.runes, "gone", 4)
			}
			if r.IntN(20) == 0 && text.String() != string(want) {
				t.Fatal("text differs")
			}
		}
		if text.String() != string(want) || text.bytes != len(string(want)) {
			t.Fatal("text differs")
		}
	})
}

// What anyone inserted is there until someone who saw it deletes it: with insertions only, every word is in the merge.
func TestNothingTypedIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewDoc(testNode)
		seen := make([][]ID, 3)
		var all []string
		for i := range rapid.IntRange(1, 30).Draw(t, "saves") {
			w := rapid.IntRange(0, 2).Draw(t, "writer")
			if rapid.Bool().Draw(t, "reads") {
				seen[w] = d.Heads()
			}
			base, err := d.At(seen[w])
			if err != nil {
				t.Fatal(err)
			}
			ls := strings.SplitAfter(base, "\n")
			at := rapid.IntRange(0, len(ls)-1).Draw(t, "line")
			word := "w" + strings.Repeat("x", i) + "\n"
			all = append(all, word)
			id, err := d.Add(Event{Parents: seen[w], Hunks: Diff(base, strings.Join(ls[:at], "")+word+strings.Join(ls[at:], ""))})
			if err != nil {
				t.Fatal(err)
			}
			seen[w] = []ID{id}
		}
		for _, word := range all {
			if strings.Count("\n"+d.Text(), "\n"+word) != 1 {
				t.Fatalf("%q is not once in %q", word, d.Text())
			}
		}
	})
}

// The largest event that the format has, on the heads and apart from them, takes no square of its size.
func TestLargestEvent(t *testing.T) {
	d := NewDoc(testNode)
	v0 := save(t, d, nil, strings.Repeat("xy", MaxSplices))
	many := Event{Parents: v0}
	for i := range MaxSplices {
		many.Hunks = append(many.Hunks, Hunk{sp(2*i, 1, "z")})
	}
	other := many
	other.Hunks = many.Hunks[:len(many.Hunks)-1]
	add(t, d, many)
	add(t, d, other)
	add(t, d, Event{Parents: v0, Hunks: []Hunk{{sp(1, 1, "Y")}}})
	if want := "zY" + strings.Repeat("zy", MaxSplices-1); d.Text() != want {
		t.Errorf("%d bytes, want %d", d.Len(), len(want))
	}
}

func TestCountRunes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		if got, want := countRunes(s), utf8.RuneCountInString(s); got != want {
			t.Errorf("%q: %d, not %d", s, got, want)
		}
	})
}
