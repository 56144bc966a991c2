package text

import (
	"encoding/hex"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/automerge/automerge-go"
)

// graph is a random history: events of several writers, each made on what that writer had seen.
type graph struct {
	events  []Event
	ids     []ID
	past    []uint64 // by event: it and its ancestors
	parents []uint64
	doc     *Doc // all events, in the order they were made
}

// heads gives the events of a set that no other of it has seen.
func (g *graph) heads(set uint64) uint64 {
	h := set
	for s := set; s != 0; s &= s - 1 {
		i := bits.TrailingZeros64(s)
		h &^= g.past[i] &^ (1 << i)
	}
	return h
}

func (g *graph) version(set uint64) []ID {
	var v []ID
	for s := g.heads(set); s != 0; s &= s - 1 {
		v = append(v, g.ids[bits.TrailingZeros64(s)])
	}
	return SortIDs(v)
}

// randomGraph makes a history of at most 60 events.
func randomGraph(t testing.TB, r *rand.Rand, most int) *graph {
	g := &graph{doc: NewDoc(testNode)}
	n := 3 + r.IntN(most)
	writers := make([]uint64, 1+r.IntN(6)) // what each has seen
	var olds []uint64
	hot, heat := r.Float64(), r.Float64()
	meet := []float64{0.02, 0.08, 0.2}[r.IntN(3)]
	for len(g.events) < n {
		w := r.IntN(len(writers))
		switch x := r.Float64(); {
		case x < meet: // all meet
			for i := range writers {
				writers[i] = 1<<len(g.events) - 1
			}
			continue
		case x < meet+0.25: // two meet
			writers[w] |= writers[r.IntN(len(writers))]
			continue
		}
		seen := writers[w]
		if len(olds) > 0 && r.IntN(8) == 0 { // saves over something it read long ago
			if old := olds[r.IntN(len(olds))]; old&^seen == 0 {
				seen = old
			}
		}
		olds = append(olds, seen)
		e := Event{Parents: g.version(seen)}
		if seen != 0 && r.IntN(15) == 0 { // names what it need not name
			for s := seen; s != 0; s &= s - 1 {
				if r.IntN(4) == 0 {
					e.Parents = append(e.Parents, g.ids[bits.TrailingZeros64(s)])
				}
			}
			e.Parents = SortIDs(e.Parents)
		}
		base, err := g.doc.At(e.Parents)
		if err != nil {
			t.Fatal(err)
		}
		length := utf8.RuneCountInString(base)
		var twins []int // events on the same version
		for i := range g.events {
			if g.parents[i] == g.heads(seen) && len(g.events[i].Hunks) > 0 {
				twins = append(twins, i)
			}
		}
		switch x := r.IntN(60); {
		case x == 0:
			e.Hunks = []Hunk{{sp(length+1, 0, "beyond")}}
		case x == 1:
			e.Hunks = nil
		case x == 2:
			e.Hunks = []Hunk{{sp(0, 0, "one")}, {sp(0, 0, "place")}}
		case x < 8:
			e.Hunks = []Hunk{{sp(length, 0, "append")}}
			if x < 7 {
				e.Nonce = make([]byte, NonceSize)
				e.Nonce[0] = byte(r.IntN(2))
			}
		case x < 30 && len(twins) > 0: // what another did, and more
			other := g.events[twins[r.IntN(len(twins))]].Hunks
			e.Hunks = slices.Clone(other[:1+r.IntN(len(other))])
			if last := e.Hunks[len(e.Hunks)-1]; len(last) > 0 {
				if free := last[len(last)-1].Pos + last[len(last)-1].Del + 1; free <= length && r.IntN(3) > 0 {
					e.Hunks = append(e.Hunks, Hunk{sp(free+r.IntN(length-free+1), 0, randomText(r, 1+r.IntN(3)))})
				}
			}
		case x < 40 && length > 0: // what another may do on another version
			e.Hunks = []Hunk{{sp(r.IntN(min(length, 3)), r.IntN(2), "same")}}
		case x < 46 && length > 0: // what was there, typed again
			pos := r.IntN(length)
			n := 1 + r.IntN(min(length-pos, 4))
			again := string([]rune(base)[pos : pos+n])
			e.Hunks = []Hunk{{sp(pos, n, []string{"same" + again, again + "same", again}[r.IntN(3)])}}
		default:
			e.Hunks = randomHunks(r, length, hot, heat)
		}
		id := add(t, g.doc, e)
		i := slices.Index(g.ids, id)
		if i < 0 {
			i = len(g.events)
			g.events = append(g.events, e)
			g.ids = append(g.ids, id)
			g.past = append(g.past, seen|1<<i)
			g.parents = append(g.parents, g.heads(seen))
		}
		writers[w] |= 1 << i
	}
	return g
}

// shuffled is a random order in which parents come first.
func (g *graph) shuffled(r *rand.Rand) []int {
	var order []int
	done := uint64(0)
	for len(order) < len(g.events) {
		var ready []int
		for i := range g.events {
			if done>>i&1 == 0 && g.past[i]&^(1<<i)&^done == 0 {
				ready = append(ready, i)
			}
		}
		i := ready[r.IntN(len(ready))]
		done |= 1 << i
		order = append(order, i)
	}
	return order
}

func (g *graph) subset(r *rand.Rand) uint64 {
	var set uint64
	for range 1 + r.IntN(3) {
		set |= g.past[r.IntN(len(g.events))]
	}
	return set
}

// reference builds the Automerge document of a history in the most literal way: every hunk on a fork at its parents.
type reference struct {
	doc     *automerge.Doc
	events  []Event
	changes map[ID][]automerge.ChangeHash // of events
	actors  map[ID]automerge.ChangeHash
	genesis automerge.ChangeHash
}

func newReference(t testing.TB) *reference {
	r := &reference{doc: automerge.New(), changes: map[ID][]automerge.ChangeHash{}, actors: map[ID]automerge.ChangeHash{}}
	id := GenesisID(testNode)
	r.check(t, r.doc.SetActorID(hex.EncodeToString(id[:])))
	r.check(t, r.doc.Path("content").Set(automerge.NewText("")))
	r.genesis = r.commit(t, r.doc)
	return r
}

func (r *reference) check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *reference) commit(t testing.TB, d *automerge.Doc) automerge.ChangeHash {
	epoch := time.Unix(0, 0)
	h, err := d.Commit("", automerge.CommitOptions{Time: &epoch, AllowEmpty: true})
	r.check(t, err)
	return h
}

func (r *reference) at(t testing.TB, version []ID) *automerge.Doc {
	heads := []automerge.ChangeHash{r.genesis}
	if len(version) > 0 {
		heads = nil
		for _, id := range version {
			heads = append(heads, r.changes[id]...)
		}
	}
	d, err := r.doc.Fork(heads...)
	r.check(t, err)
	if e := (Event{Parents: version}); len(version) > 1 {
		if h := r.echoes(t, version); len(h) > 0 {
			return r.forked(t, r.change(t, d, e.EchoChangeID(testNode), h))
		}
	}
	return d
}

// echoes deletes a version's echoes, from the first to the last, as a document that holds nothing else finds them.
func (r *reference) echoes(t testing.TB, version []ID) (out []Splice) {
	d := NewDoc(testNode)
	need := map[ID]bool{}
	for _, id := range version {
		need[id] = true
	}
	var past []Event
	for _, e := range slices.Backward(r.events) {
		if need[e.ID(testNode)] {
			past = append(past, e)
			for _, p := range e.Parents {
				need[p] = true
			}
		}
	}
	for _, e := range slices.Backward(past) {
		add(t, d, e)
	}
	if g := d.engine; len(version) <= maxSides && len(g.heads) > 1 {
		q, gone := g.resident(len(g.nodes)), 0
		echoes, _ := q.echoes(g.nodes, g.heads)
		for _, e := range echoes {
			out = append(out, sp(e.before+e.from-gone, e.n, ""))
			gone += e.n
		}
	}
	return out
}

func (r *reference) forked(t testing.TB, heads ...automerge.ChangeHash) *automerge.Doc {
	d, err := r.doc.Fork(heads...)
	r.check(t, err)
	return d
}

// change makes splices, one after the other, in a document as a change of its own, once.
func (r *reference) change(t testing.TB, d *automerge.Doc, actor ID, splices []Splice) automerge.ChangeHash {
	if c, ok := r.actors[actor]; ok {
		return c
	}
	r.check(t, d.SetActorID(hex.EncodeToString(actor[:])))
	for _, s := range splices {
		r.check(t, d.Path("content").Text().Splice(s.Pos, s.Del, s.Ins))
	}
	c := r.commit(t, d)
	_, err := r.doc.Merge(d)
	r.check(t, err)
	r.actors[actor] = c
	return c
}

func (r *reference) text(t testing.TB, d *automerge.Doc) string {
	s, err := d.Path("content").Text().Get()
	r.check(t, err)
	return s
}

func (r *reference) add(t testing.TB, e Event) {
	base := r.at(t, e.Parents)
	ok := e.fits(utf8.RuneCountInString(r.text(t, base)))
	change := func(actor ID, h Hunk) automerge.ChangeHash {
		h = slices.Clone(h)
		slices.Reverse(h)
		return r.change(t, r.at(t, e.Parents), actor, h)
	}
	var cs []automerge.ChangeHash
	if ok {
		for i, h := range e.Hunks {
			cs = append(cs, change(e.ChangeID(testNode, i), h))
		}
	}
	if echo, ok := r.actors[e.EchoChangeID(testNode)]; ok && len(cs) == 0 {
		cs = append(cs, echo)
	} else if len(cs) == 0 {
		cs = append(cs, change(e.EmptyChangeID(testNode), nil))
	}
	r.changes[e.ID(testNode)] = cs
	r.events = append(r.events, e)
}

// finished is the document with nothing twice that its heads both say.
func (r *reference) finished(t testing.TB, g *graph) *automerge.Doc {
	r.at(t, g.version(1<<len(g.events)-1))
	return r.doc
}

// graphs is the number of random histories that a test looks at; SHEAF_GRAPHS asks for another.
func graphs(t testing.TB, n int) int {
	if s := os.Getenv("SHEAF_GRAPHS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		return n
	}
	return rounds(n)
}

// tight makes leaves and the spacing of snapshots small, so that short histories reach what long ones do.
func tight(t testing.TB) {
	leaf, spacing := leafSize, snapshotSpacing
	leafSize, snapshotSpacing = 4, 1
	t.Cleanup(func() { leafSize, snapshotSpacing = leaf, spacing })
}

// TestAutomerge holds the text of random histories against the Automerge document that defines it.
func TestAutomerge(t *testing.T) {
	tight(t)
	for seed := range graphs(t, 2000) {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		most := 16
		if seed%50 == 0 {
			most = 57
		}
		g := randomGraph(t, r, most)
		ref := newReference(t)
		for _, i := range g.shuffled(r) {
			ref.add(t, g.events[i])
		}
		want := ref.text(t, ref.at(t, g.version(1<<len(g.events)-1)))
		if got := g.doc.Text(); got != want {
			t.Fatalf("seed %d: got %q, want %q\n%s", seed, got, want, g)
		}
		d := NewDoc(testNode)
		for _, i := range g.shuffled(r) {
			add(t, d, g.events[i])
			if seed%2 == 0 {
				_ = d.Text() // asking for it changes nothing
			}
		}
		if got := d.Text(); got != want {
			t.Fatalf("seed %d, another order: got %q, want %q\n%s", seed, got, want, g)
		}
		v := g.version(g.subset(r))
		old, err := d.At(v)
		if want := ref.text(t, ref.at(t, v)); err != nil || old != want {
			t.Fatalf("seed %d, version %s: got %q, want %q, %v\n%s", seed, v, old, want, err, g)
		}
	}
}

func (g *graph) String() string {
	var sb strings.Builder
	for i, e := range g.events {
		sb.WriteString(strconv.Itoa(i) + " on")
		for s := g.parents[i]; s != 0; s &= s - 1 {
			sb.WriteString(" " + strconv.Itoa(bits.TrailingZeros64(s)))
		}
		for _, h := range e.Hunks {
			sb.WriteString(" [")
			for _, s := range h {
				sb.WriteString(" " + strconv.Itoa(s.Pos) + "-" + strconv.Itoa(s.Del) + strconv.Quote(s.Ins))
			}
			sb.WriteString(" ]")
		}
		sb.WriteString("\n")
	}
	return sb.String()
}
