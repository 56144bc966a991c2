package text

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// prose is a text of about n bytes in lines of words, no two lines alike.
func prose(n int) string {
	var sb strings.Builder
	for i := 0; sb.Len() < n; i++ {
		fmt.Fprintf(&sb, "line %d of a text that is some forty bytes long\n", i)
	}
	return sb.String()
}

var sizes = []struct {
	name  string
	bytes int
}{{"10KB", 10 << 10}, {"1MB", 1 << 20}, {"10MB", 10 << 20}}

// A save of the current version: one word of one line. The text is asked for after each, as a mount does.
func BenchmarkLinear(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			d := NewDoc(testNode)
			v := save(b, d, nil, prose(size.bytes))
			r := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				pos := r.IntN(size.bytes)
				v = []ID{add(b, d, Event{Parents: v, Hunks: []Hunk{{sp(pos, 5, "words")}}})}
				_ = d.Text()
			}
		})
	}
}

// The same without asking for the text: what replaying a history costs.
func BenchmarkLinearReplay(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			d := NewDoc(testNode)
			v := save(b, d, nil, prose(size.bytes))
			r := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				pos := r.IntN(size.bytes)
				v = []ID{add(b, d, Event{Parents: v, Hunks: []Hunk{{sp(pos, 5, "words")}}})}
			}
		})
	}
}

// Diff of a save that changed two lines.
func BenchmarkDiff(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			base := prose(size.bytes)
			i, j := strings.Index(base[len(base)/3:], "text")+len(base)/3, strings.Index(base[len(base)/2:], "text")+len(base)/2
			saved := base[:i] + "word" + base[i+4:j] + "note" + base[j+4:]
			b.SetBytes(int64(len(base)))
			for b.Loop() {
				if h := Diff(base, saved); len(h) != 2 {
					b.Fatal(h)
				}
			}
		})
	}
}

// side makes n saves of one writer on a version.
func side(d *Doc, v []ID, n int, seed uint64) []Event {
	r := rand.New(rand.NewPCG(seed, 2))
	length := utf8.RuneCountInString(d.Text())
	var out []Event
	for range n {
		pos := r.IntN(length - 3)
		e := Event{Parents: v, Hunks: []Hunk{{sp(pos, 3, "twenty characters ..")}}}
		length += 17
		out = append(out, e)
		v = []ID{e.ID(testNode)}
	}
	return out
}

// Someone comes back: a number of saves on either side, made apart, met in one go.
func BenchmarkReturn(b *testing.B) {
	for _, size := range sizes[:2] {
		for _, n := range []int{1, 100, 1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", size.name, n), func(b *testing.B) {
				base := Event{Hunks: []Hunk{{sp(0, 0, prose(size.bytes))}}}
				d := NewDoc(testNode)
				v := []ID{add(b, d, base)}
				ours, theirs := side(d, v, n, 1), side(d, v, n, 2)
				for b.Loop() {
					b.StopTimer()
					d := NewDoc(testNode)
					add(b, d, base)
					for _, e := range ours {
						add(b, d, e)
					}
					_ = d.Text()
					b.StartTimer()
					for _, e := range theirs {
						add(b, d, e)
					}
					_ = d.Text()
				}
			})
		}
	}
}

// A person saves while a model streams into another place of the file in batches of 50 ms. Neither reads the other's text
// for the whole time, so the two sides stay apart. One operation is one save of each, with the merged text after it.
func BenchmarkPersonAgainstModel(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			base := prose(10 << 10)
			for b.Loop() {
				d := NewDoc(testNode)
				v := save(b, d, nil, base)
				person, model := v, v
				at, to := 1000, utf8.RuneCountInString(base)
				for range n {
					person = []ID{add(b, d, Event{Parents: person, Hunks: []Hunk{{sp(at, 0, "é")}}})}
					at++
					_ = d.Text()
					model = []ID{add(b, d, Event{Parents: model, Hunks: []Hunk{{sp(to, 0, "some tokens ")}}})}
					to += 12
					_ = d.Text()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/turn")
		})
	}
}

// More writers than versions held at once, each saving in turn, none reading the others.
func BenchmarkEightWriters(b *testing.B) {
	const n = 2000
	for b.Loop() {
		d := NewDoc(testNode)
		v := save(b, d, nil, prose(10<<10))
		r := rand.New(rand.NewPCG(1, 1))
		writers := [8][]ID{v, v, v, v, v, v, v, v}
		for i := range n {
			w := &writers[i%8]
			*w = []ID{add(b, d, Event{Parents: *w, Hunks: []Hunk{{sp(r.IntN(10000), 1, "word")}}})}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/save")
}

// The text of the person's last version in the middle of that: what a save from a stale buffer asks for.
func BenchmarkAt(b *testing.B) {
	d := NewDoc(testNode)
	v := save(b, d, nil, prose(10<<10))
	person := side(d, v, 1000, 1)
	for i, e := range side(d, v, 1000, 2) {
		add(b, d, e)
		add(b, d, person[i])
	}
	old := [][]ID{person[500].Parents, person[800].Parents, person[300].Parents, person[999].Parents, person[100].Parents}
	for i := 0; b.Loop(); i++ {
		if _, err := d.At(old[i%len(old)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlame(b *testing.B) {
	d := NewDoc(testNode)
	v := save(b, d, nil, prose(10<<10))
	for i := range uint64(2) {
		for _, e := range side(d, v, 1000, i) {
			add(b, d, e)
		}
	}
	for b.Loop() {
		d.Blame()
	}
}

// An event as most are: one word. Every one is encoded and hashed when it is made, and decoded when it is read again.
func BenchmarkEvent(b *testing.B) {
	e := Event{Parents: []ID{{1}}, Hunks: []Hunk{{sp(1000, 5, "words")}}}
	enc := e.Encode()
	b.Run("ID", func(b *testing.B) {
		for b.Loop() {
			e.ID(testNode)
		}
	})
	b.Run("Decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeEvent(enc); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Two people and a model write for hours into one file. Each has read the others' saves up to a few events ago, so no
// version is critical for long, or ever: one of them is always in the middle of a save.
func BenchmarkHours(b *testing.B) {
	for _, events := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(events), func(b *testing.B) {
			memory := 0
			for b.Loop() {
				d := NewDoc(testNode)
				v := save(b, d, nil, prose(10<<10))
				r := rand.New(rand.NewPCG(1, 1))
				writers := [3][]ID{v, v, v}
				read := [3]int{} // when a writer last read the text
				for i := range events {
					w := i % 3
					if i-read[w] > 10+w*7 {
						writers[w], read[w] = SortIDs(append(slices.Clone(writers[w]), writers[(w+1)%3]...)), i
					}
					writers[w] = []ID{add(b, d, Event{Parents: writers[w], Hunks: []Hunk{{sp(r.IntN(5000), 4, "word")}}})}
					_ = d.Text()
				}
				memory = d.Memory()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
			b.ReportMetric(float64(memory)/float64(events), "B/event")
		})
	}
}
