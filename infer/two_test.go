package infer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

// models are the answers in a conversation, by who gave them.
func models(text string) map[string]string {
	f := conversation.Parse(text)
	out := map[string]string{}
	for i, t := range f.Turns {
		if t.Role == conversation.Model {
			out[t.Label.Name] = f.Text(i)
		}
	}
	return out
}

// same waits until two devices that are connected hold one text that cond likes.
func same(t *testing.T, a, b *device, path, what string, cond func(string) bool) string {
	t.Helper()
	a.until(what, func() bool {
		s := a.text(path)
		return level(a, b) && s == b.text(path) && cond(s) && a.s.folders[a.f.ID()].idle() && b.s.folders[b.f.ID()].idle()
	})
	time.Sleep(5 * hurried.settle)
	if s := a.text(path); s != b.text(path) || !cond(s) {
		t.Fatalf("not %s any more:\n%s\n%s", what, a.dump(), b.dump())
	}
	return a.text(path)
}

// level tells whether two devices have the same entries, made or received.
func level(a, b *device) bool {
	x, errX := a.f.Frontier()
	y, errY := b.f.Frontier()
	return errX == nil && errY == nil && maps.Equal(x, y)
}

func TestOneAnswer(t *testing.T) {
	for name, apart := range map[string]func(a, b *device){
		"the same save": func(a, b *device) {
			a.save("q.ask", nil, "Q\n")
			b.save("q.ask", nil, "Q\n")
		},
		"a line each": func(a, b *device) {
			a.save("q.ask", nil, "Q")
			swap(a, b)
			a.edit("q.ask", func(s string) string { return s + "\n" })
			b.edit("q.ask", func(s string) string { return s + "\n" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			a.says("from anna")
			b.says("from bert")
			apart(a, b)
			a.untilState("q.ask", Done)
			b.untilState("q.ask", Done)
			defer connect(a, b)()
			s := same(t, a, b, "q.ask", "one answer", func(s string) bool { return len(models(s)) == 1 && strings.Count(s, conversation.Invitation) == 1 })
			for who, said := range models(s) {
				if who != "scripted on "+strings.TrimPrefix(said, "from ") {
					t.Errorf("%q", s)
				}
			}
			if !strings.HasPrefix(s, "Q\n") || strings.Count(s, "Q") != 1 {
				t.Errorf("%q", s)
			}
		})
	}
}

// What people wrote in the answer that goes stays, and so does what they asked below.
func TestOneAnswerKeepsPeoplesText(t *testing.T) {
	a, b := pair(t)
	a.says("from anna")
	b.says("from bert")
	for _, d := range []*device{a, b} {
		d.save("q.ask", nil, "Q\n")
		d.untilState("q.ask", Done)
		d.edit("q.ask", func(s string) string {
			s = strings.Replace(s, "from", "from (typed by "+d.name+")", 1)
			return s + "typed below by " + d.name
		})
	}
	defer connect(a, b)()
	s := same(t, a, b, "q.ask", "one answer", func(s string) bool { return len(models(s)) == 1 })
	for _, want := range []string{"(typed by anna)", "(typed by bert)", "typed below by anna", "typed below by bert"} {
		if strings.Count(s, want) != 1 {
			t.Errorf("%q is not in %q", want, s)
		}
	}
}

// An answer that will never be whole makes way for one that is, whichever was first.
func TestOneAnswerPrefersTheWhole(t *testing.T) {
	for _, whole := range []string{"anna", "bert"} {
		t.Run(whole, func(t *testing.T) {
			a, b := pair(t)
			for _, d := range []*device{a, b} {
				d.engine.Answer = func(engine.Request) enginetest.Script {
					s := enginetest.Script{Pieces: []string{"from " + d.name}}
					if d.name != whole {
						s.Err = &engine.Error{Kind: engine.ErrEngineDied}
					}
					return s
				}
				d.save("q.ask", nil, "Q\n")
			}
			for _, d := range []*device{a, b} {
				d.until("at rest", func() bool { s := d.state("q.ask"); return s == Done || s == Interrupted })
			}
			defer connect(a, b)()
			s := same(t, a, b, "q.ask", "one answer", func(s string) bool { return len(models(s)) == 1 })
			if !strings.Contains(s, "from "+whole) {
				t.Errorf("%q", s)
			}
		})
	}
}

// The second answer ends while it is being written, once the first is whole.
func TestOneAnswerWhileWritten(t *testing.T) {
	a, b := pair(t)
	for _, d := range []*device{a, b} {
		d.save("q.ask", nil, "Q")
	}
	swap(a, b)
	ha, hb := a.holds("one", " two", " three"), b.holds("one", " two", " three")
	for _, d := range []*device{a, b} {
		d.edit("q.ask", func(s string) string { return s + "\n" })
	}
	ha.one()
	hb.one()
	a.untilText("q.ask", "one")
	b.untilText("q.ask", "one")
	disconnect := connect(a, b)
	defer disconnect()
	first, second := a, hb
	a.until("both", func() bool { return len(models(a.text("q.ask"))) == 2 && len(models(b.text("q.ask"))) == 2 })
	// Whichever began first ends.
	if !a.first("q.ask") {
		first, second = b, ha
	}
	map[*device]*held{a: ha, b: hb}[first].rest()
	same(t, a, b, "q.ask", "one answer", func(s string) bool {
		return models(s)["scripted on "+first.name] == "one two three" && len(models(s)) == 1
	})
	second.rest()
}

// first tells whether the device's answer was begun before the other's.
func (d *device) first(path string) bool {
	c, spans, err := d.f.Blame(d.node(path))
	if err != nil {
		d.t.Fatal(err)
	}
	conv := conversation.Parse(c.Text)
	answers := attribute(c.Text, conv, latest(conv), spans)
	return (answers[0].compare(answers[1]) < 0) == (answers[0].by == d.home.Device())
}

// Two questions asked while apart keep an answer each.
func TestTwoQuestionsApart(t *testing.T) {
	a, b := pair(t)
	a.save("q.ask", nil, "Q\n\n## Model\n\nA\n\n## You\n")
	swap(a, b)
	for _, d := range []*device{a, b} {
		d.says("for " + d.name)
		d.edit("q.ask", func(s string) string { return s + "asked by " + d.name + "\n" })
		d.untilState("q.ask", Done)
	}
	defer connect(a, b)()
	s := same(t, a, b, "q.ask", "both", func(s string) bool { return len(models(s)) == 3 })
	for _, who := range []string{"anna", "bert"} {
		i, j := strings.Index(s, "asked by "+who), strings.Index(s, "for "+who)
		if i < 0 || j < i || strings.Contains(s[i+9:j], "asked by") {
			t.Errorf("%q", s)
		}
	}
}

// People type above, in and below an answer as it streams, on both devices and
// from what they had read a while ago. Nothing that anybody wrote is lost.
func TestTypingWhileAnswered(t *testing.T) {
	runs := 8
	if n, err := strconv.Atoi(os.Getenv("SHEAF_LONG")); err == nil {
		runs = n
	}
	for seed := range runs {
		t.Run(strconv.Itoa(seed), func(t *testing.T) { typing(t, uint64(seed)) })
	}
}

func typing(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	a, b := pair(t)
	const words = 60
	var pieces []string
	for i := range words {
		w := fmt.Sprintf("é%d ", i)
		switch rnd.IntN(8) {
		case 0:
			w += "\n\n"
		case 1:
			// A piece that ends in the middle of a character.
			pieces = append(pieces, w[:1])
			w = w[1:]
		}
		pieces = append(pieces, w)
	}
	h := a.holds(pieces...)
	a.save("q.ask", nil, "Q1\n\n## Model\n\nabove here it is\n\n## You\n\nQ2\n")
	a.untilText("q.ask", ": ")
	swap(a, b)
	typed := 0
	read := map[*device][]crdt.Content{}
	for i := range pieces {
		if i > 0 && rnd.IntN(3) == 0 {
			swap(a, b)
		}
		h.one()
		for _, d := range []*device{a, b} {
			read[d] = append(read[d], d.read("q.ask"))
			if rnd.IntN(4) != 0 {
				continue
			}
			c := read[d][max(0, len(read[d])-1-rnd.IntN(4))]
			s, ok := insert(rnd, c.Text, fmt.Sprintf(" <%d> ", typed))
			if !ok {
				continue
			}
			typed++
			read[d] = append(read[d], crdt.Content{Version: d.save("q.ask", c.Version, s), Text: s})
		}
		if rnd.IntN(4) == 0 {
			time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond)
		}
	}
	h.rest()
	a.untilState("q.ask", Done)
	swap(a, b)
	s := a.text("q.ask")
	if s != b.text("q.ask") {
		t.Fatalf("%q\n%q", s, b.text("q.ask"))
	}
	for i := range typed {
		if mark := fmt.Sprintf("<%d>", i); strings.Count(s, mark) != 1 {
			t.Errorf("%s stands %d times in %q", mark, strings.Count(s, mark), s)
		}
	}
	at := 0
	for i := range words {
		w := fmt.Sprintf("é%d", i)
		n := strings.Index(s[at:], w)
		// Two who changed one short line from one base have it twice: a save is lines.
		if n < 0 {
			t.Fatalf("word %d of the answer is not in its place: %q", i, s)
		}
		at += n + len(w)
	}
	if !strings.HasPrefix(s, "Q1\n\n## Model\n\n") || !strings.Contains(s, "## You\n\nQ2\n\n## Model (scripted on anna)\n\n") {
		t.Errorf("%q", s)
	}
}

// insert puts a mark between two words of what may be typed in without asking
// anything: earlier answers, the answer, and what stands below it.
func insert(rnd *rand.Rand, text, mark string) (string, bool) {
	conv := conversation.Parse(text)
	if len(conv.Turns) < 4 {
		return "", false
	}
	var places []int
	for i, t := range conv.Turns {
		if t.Role == conversation.Model || i == 4 {
			for k := t.Body; k < t.End; k++ {
				if text[k] == ' ' {
					places = append(places, k)
				}
			}
		}
	}
	if len(conv.Turns) == 5 {
		places = append(places, len(text), len(text))
	}
	if len(places) == 0 {
		return "", false
	}
	k := places[rnd.IntN(len(places))]
	return text[:k] + mark + text[k:], true
}
