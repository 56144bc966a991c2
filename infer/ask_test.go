package infer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

func TestAnswer(t *testing.T) {
	d := one(t)
	d.says("The an", "swer", ".\n")
	d.save("q.ask", nil, "What is it?\n")
	d.untilState("q.ask", Done)
	const first = "What is it?\n\n## Model (scripted on anna)\n\nThe answer.\n\n## You\n"
	if got := d.text("q.ask"); got != first {
		t.Fatalf("%q", got)
	}
	// Below the invitation stands the next question; appending is enough.
	d.edit("q.ask", func(s string) string { return s + "And why?\n" })
	d.until("answered again", func() bool { return len(d.engine.Requests()) == 2 && d.state("q.ask") == Done })
	if got := d.text("q.ask"); got != first+"And why?\n\n## Model (scripted on anna)\n\nThe answer.\n\n## You\n" {
		t.Errorf("%q", got)
	}
	r := d.engine.Requests()[1]
	var said []string
	for _, turn := range r.Turns {
		said = append(said, turn.Role.String()+": "+turn.Text)
	}
	if s := strings.Join(said, "|"); s != "user: What is it?|assistant: The answer.|user: And why?" {
		t.Errorf("the model was told %q", s)
	}
	if r.System != defaultSystem || r.MaxTokens != 1024 || r.Temperature != defaultTemperature {
		t.Errorf("request %+v", r)
	}
	log, err := d.f.Log(d.node("q.ask"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range log {
		if r.Author != "" && r.Author != "scripted on anna" {
			t.Errorf("author %q", r.Author)
		}
	}
	if log[0].Author == "" || log[len(log)-1].Author != "" {
		t.Errorf("authors %+v", log)
	}
	d.quietly(2)
}

func TestSettings(t *testing.T) {
	d := one(t)
	d.says("ok")
	d.save("q.ask", nil, "\uFEFF---\r\nsystem: Be brief.\r\ntemperature: 0\r\nmax_tokens: 50\r\n---\r\nWhat?\r\n")
	d.untilState("q.ask", Done)
	r := d.engine.Requests()[0]
	if r.System != "Be brief." || r.Temperature != 0 || r.MaxTokens != 50 || r.Turns[0].Text != "What?" {
		t.Errorf("%+v", r)
	}
	if s := d.text("q.ask"); !strings.HasSuffix(s, "What?\r\n\r\n## Model (scripted on anna)\r\n\r\nok\r\n\r\n## You\r\n") {
		t.Errorf("%q", s)
	}
	d.save("r.ask", nil, "---\ntemperature: hot\n---\nWhat?\n")
	d.untilState("r.ask", Failed)
	if s := d.text("r.ask"); !strings.Contains(s, ": failed)") || !strings.Contains(s, "> sheaf: failed: refused: front matter:") {
		t.Errorf("%q", s)
	}
}

// What is not a question that a program of this device just saved, whole, asks
// nothing.
func TestAsksNot(t *testing.T) {
	a, b := pair(t)
	a.says("no")
	b.says("no")
	write := func(origin any, path, text string) {
		t.Helper()
		err := a.f.UpdateAs(origin, func(tx *crdt.Tx) error {
			_, _, err := tx.Create(crdt.Root, path, 0o644, crdt.NewContent{Text: text})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write("import", "imported.ask", "Q\n")
	for _, name := range []string{".q.ask.swp", ".q.ask", "q.ask~", "#q.ask#", "4913", "moved.txt"} {
		write(nil, name, "Q\n")
	}
	moved := a.node("moved.txt")
	if err := a.f.Update(func(tx *crdt.Tx) error { return tx.Move(moved, crdt.Root, "moved.ask") }); err != nil {
		t.Fatal(err)
	}
	v := a.save("half.ask", nil, "What is")
	a.save("half.ask", v, "What is this")
	swap(a, b)
	a.quietly(0)
	b.quietly(0)
	// A save elsewhere in a file whose question came from another device.
	a.s.timing.quiet = time.Hour
	a.save("theirs.ask", nil, "Q\n")
	swap(a, b)
	b.edit("theirs.ask", func(s string) string { return "---\nmodel: m\n---\n" + s })
	b.quietly(0)
	// A file that is renamed before it is due is no conversation any more.
	v = b.save("soon.ask", nil, "Q\n")
	node := b.node("soon.ask")
	if err := b.f.Update(func(tx *crdt.Tx) error { return tx.Move(node, crdt.Root, "soon.txt") }); err != nil {
		t.Fatal(err)
	}
	// One that is removed is none either.
	b.save("gone.ask", nil, "Q\n")
	node = b.node("gone.ask")
	if err := b.f.Update(func(tx *crdt.Tx) error { return tx.Remove(node) }); err != nil {
		t.Fatal(err)
	}
	b.quietly(0)
	_ = v
}

// A question that was saved just before the daemon ended is asked by the next one.
func TestAsksAfterRestart(t *testing.T) {
	d := one(t)
	d.says("ok")
	d.s.timing.quiet = time.Hour
	d.save("q.ask", nil, "Q\n")
	d.reopen()
	d.untilState("q.ask", Done)
	d.reopen()
	d.quietly(1)
}

// Who changes a question in a buffer that does not have the answer yet asks it anew.
func TestChangedUnseen(t *testing.T) {
	d := one(t)
	d.says("ok")
	v := d.save("q.ask", nil, "Q\n")
	d.untilState("q.ask", Done)
	v = d.save("q.ask", v, "Q2\n")
	d.until("asked anew", func() bool { return len(d.engine.Requests()) == 2 && d.state("q.ask") == Done })
	if s := d.text("q.ask"); s != "Q2\n\n## Model (scripted on anna)\n\nok\n\n## You\n" {
		t.Errorf("%q", s)
	}
	// Not where somebody goes on below.
	d.edit("q.ask", func(s string) string { return s + "half a" })
	d.save("q.ask", v, "Q3\n")
	d.quietly(2)
}

// Typing goes on: the question is asked once, as it is in the end.
func TestAutosave(t *testing.T) {
	d := one(t)
	d.says("ok")
	var v crdt.Version
	text := ""
	for _, line := range []string{"What\n", "is\n", "this", "?\n"} {
		text += line
		v = d.save("q.ask", v, text)
		time.Sleep(hurried.quiet / 3)
	}
	d.untilState("q.ask", Done)
	d.quietly(1)
	if s := d.engine.Requests()[0].Turns[0].Text; s != "What\nis\nthis?" {
		t.Errorf("asked %q", s)
	}
}

// TestBusyBelowAFence: the heading of an answer may come behind a fence that the question left
// open. Who writes in the file before the first word does not end the answer by it.
func TestBusyBelowAFence(t *testing.T) {
	d := one(t)
	h := d.holds("B")
	d.save("q.ask", nil, "```\nQ\n")
	d.untilText("q.ask", "## Model")
	d.edit("q.ask", func(s string) string { return s + "The next question" })
	d.quietly(1)
	h.rest()
	d.untilState("q.ask", Done)
	if s := d.text("q.ask"); s != "```\nQ\n```\n\n## Model (scripted on anna)\n\nB\n\n## You\nThe next question" {
		t.Errorf("%q", s)
	}
}

func TestManyAtOnce(t *testing.T) {
	d := one(t)
	d.says("ok")
	err := d.f.Update(func(tx *crdt.Tx) error { // at once, on any machine
		for i := range 100 {
			if _, _, err := tx.Create(crdt.Root, fmt.Sprintf("%03d.ask", i), 0o644, crdt.NewContent{Text: "Q\n"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d.until("waiting", func() bool {
		for i := range 100 {
			if d.state(fmt.Sprintf("%03d.ask", i)) != Waiting {
				return false
			}
		}
		return true
	})
	d.quietly(0)
	if s := d.text("000.ask"); s != "Q\n" {
		t.Errorf("%q", s)
	}
	if err := d.s.Ask(t.Context(), d.f, "007.ask"); err != nil {
		t.Fatal(err)
	}
	d.untilState("007.ask", Done)
	// Three are asked.
	for i := range 3 {
		d.save(fmt.Sprintf("n%d.ask", i), nil, "Q\n")
	}
	for i := range 3 {
		d.untilState(fmt.Sprintf("n%d.ask", i), Done)
	}
}

func TestEditedQuestion(t *testing.T) {
	d := one(t)
	d.says("A1")
	d.save("q.ask", nil, "Q1\n")
	d.untilState("q.ask", Done)
	d.says("A2")
	d.edit("q.ask", func(s string) string { return s + "Q2\n" })
	d.untilText("q.ask", "A2\n\n## You")
	before := d.read("q.ask")
	d.says("A3")
	d.edit("q.ask", func(s string) string { return strings.Replace(s, "Q1", "Q3", 1) })
	d.until("answered anew", func() bool { return len(d.engine.Requests()) == 3 && d.state("q.ask") == Done })
	if s := d.text("q.ask"); s != "Q3\n\n## Model (scripted on anna)\n\nA3\n\n## You\n" {
		t.Errorf("%q", s)
	}
	// What stood below is in the history.
	if c, err := d.f.ContentAt(d.node("q.ask"), before.Version); err != nil || !strings.Contains(c.Text, "Q2") {
		t.Errorf("%q, %v", c.Text, err)
	}
	// Where a person has begun to write below, nothing of that goes.
	d.edit("q.ask", func(s string) string { return s + "half a" })
	d.edit("q.ask", func(s string) string { return strings.Replace(s, "Q3", "Q4", 1) })
	d.quietly(3)
}

// A question that is changed as it is answered ends the answer, and is asked.
func TestChangedWhileAnswered(t *testing.T) {
	d := one(t)
	h := d.holds("one ", "two ", "three ", "four")
	v := d.save("q.ask", nil, "Q1\n")
	h.one()
	d.untilText("q.ask", "one")
	// The editor did not see the answer: it saves from what it had read.
	d.save("q.ask", v, "Q1, or Q2?\n")
	d.untilText("q.ask", ": stopped)")
	if s := d.text("q.ask"); !strings.Contains(s, "one") || !strings.Contains(s, "> sheaf: stopped: the question was changed") {
		t.Errorf("%q", s)
	}
	d.says("A2")
	h.rest()
	d.until("answered", func() bool { return d.state("q.ask") == Done })
	if s := d.text("q.ask"); s != "Q1, or Q2?\n\n## Model (scripted on anna)\n\nA2\n\n## You\n" {
		t.Errorf("%q", s)
	}
}

func TestDeletedWhileAnswered(t *testing.T) {
	a, b := pair(t)
	h := a.holds("one ", "two ", "three ", "four ", "five")
	a.save("q.ask", nil, "Q\n")
	h.one()
	a.untilText("q.ask", "one")
	swap(a, b)
	read := b.read("q.ask")
	h.one()
	h.one()
	a.untilText("q.ask", "three")
	// Bert deletes what he saw of it, on his device.
	b.save("q.ask", read.Version, "Q\nand a thought\n")
	swap(a, b)
	a.untilState("q.ask", Cancelled)
	h.rest()
	swap(a, b)
	for _, d := range []*device{a, b} {
		if s := d.text("q.ask"); s != "Q\nand a thought\n" {
			t.Errorf("%s: %q", d.name, s)
		}
	}
	// Part of it may go.
	a.says()
	h = a.holds("one ", "two ", "three")
	a.edit("q.ask", func(s string) string { return s + "more\n" })
	h.one()
	a.untilText("q.ask", "one")
	h.one()
	a.untilText("q.ask", "two")
	a.edit("q.ask", func(s string) string { return strings.Replace(s, "one", "", 1) })
	h.rest()
	a.untilState("q.ask", Done)
	if s := a.text("q.ask"); !strings.Contains(s, "two three") {
		t.Errorf("%q", s)
	}
}

func TestRemovedWhileAnswered(t *testing.T) {
	d := one(t)
	h := d.holds("one ", "two")
	d.save("q.ask", nil, "Q\n")
	h.one()
	d.untilText("q.ask", "one")
	node := d.node("q.ask")
	if err := d.f.Update(func(tx *crdt.Tx) error { return tx.Remove(node) }); err != nil {
		t.Fatal(err)
	}
	h.rest()
	d.until("at rest", func() bool { return len(d.s.folders) == 1 && d.s.folders[d.f.ID()].idle() })
	if _, err := d.f.Resolve("q.ask"); !errors.Is(err, crdt.ErrNotExist) {
		t.Errorf("it came back: %v", err)
	}
}

// idle tells whether nothing is being answered.
func (w *watcher) idle() bool {
	c := make(chan bool)
	w.do(func() {
		n := 0
		for _, f := range w.files {
			if f.job != nil || f.asked != nil {
				n++
			}
		}
		c <- n == 0
	})
	return <-c
}

func TestInterrupted(t *testing.T) {
	for name, interrupt := range map[string]func(*device, *held){
		"down": func(d *device, h *held) { d.reopen() },
		"engine died": func(d *device, h *held) {
			// The script ends with an error after its pieces.
			h.rest()
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := one(t)
			h := d.holds("one ", "two\n```go\n", "x")
			answer := d.engine.Answer
			d.engine.Answer = func(r engine.Request) enginetest.Script {
				s := answer(r)
				s.Err = &engine.Error{Engine: "scripted", Kind: engine.ErrEngineDied}
				return s
			}
			d.save("q.ask", nil, "Q\n")
			h.one()
			h.one()
			d.untilText("q.ask", "two")
			interrupt(d, h)
			d.untilState("q.ask", Interrupted)
			text := d.text("q.ask")
			if !strings.HasPrefix(text, "Q\n\n## Model (scripted on anna: interrupted)\n\none two\n```go") ||
				!strings.Contains(text, "\n```\n\n> sheaf: interrupted in code: ") || !strings.HasSuffix(text, "; `sheaf ask q.ask` goes on\n\n## You\n") {
				t.Fatalf("%q", text)
			}
			n := len(d.engine.Requests())
			d.quietly(n)
			d.says(" three.")
			if err := d.s.Ask(t.Context(), d.f, "q.ask"); err != nil {
				t.Fatal(err)
			}
			d.untilState("q.ask", Done)
			text = d.text("q.ask")
			if !strings.HasPrefix(text, "Q\n\n## Model (scripted on anna)\n\none two\n```go") || !strings.HasSuffix(text, " three.\n```\n\n## You\n") {
				t.Errorf("%q", text)
			}
			turns := d.engine.Requests()[n].Turns
			if last := turns[len(turns)-1]; last.Role != engine.Model || !strings.HasPrefix(last.Text, "one two\n```go") || strings.HasSuffix(last.Text, "\n```") || strings.Contains(last.Text, "sheaf:") {
				t.Errorf("goes on with %+v", turns)
			}
		})
	}
}

// What a crash leaves behind is marked when the service starts again.
func TestCrash(t *testing.T) {
	d := one(t)
	h := d.holds("one ", "two\n```\nx", "three")
	d.save("q.ask", nil, "Q\n")
	h.one()
	h.one()
	d.untilText("q.ask", "x")
	// The process dies: nobody marks anything. A second service finds what was left.
	d.s.folders[d.f.ID()].kill()
	d.startWith(d.engine)
	d.untilState("q.ask", Interrupted)
	if s := d.text("q.ask"); s != "Q\n\n## Model (scripted on anna: interrupted)\n\none two\n```\nx\n```\n\n> sheaf: interrupted in code: sheaf went down; `sheaf ask q.ask` goes on\n\n## You\n" {
		t.Errorf("%q", s)
	}
	h.rest()
}

// kill ends a watcher as a crash does: nothing more is written.
func (w *watcher) kill() {
	c := make(chan struct{})
	w.do(func() {
		for _, f := range w.files {
			if f.job != nil {
				f.job.author.node[0] ^= 0xff // its events have no place any more
				f.job.node[0] ^= 0xff
			}
		}
		close(c)
	})
	<-c
}

func TestNoEngine(t *testing.T) {
	d := newDevice(t, "anna")
	var err error
	if d.f, err = d.home.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	d.startWith(noModels{})
	d.save("q.ask", nil, "Q1\n")
	d.untilState("q.ask", Waiting)
	const line = "Q1\n\n## Model (anna: waiting)\n\n> sheaf: no model on this device; run `sheaf model fetch`, then `sheaf ask q.ask`\n\n## You\n"
	if s := d.text("q.ask"); s != line {
		t.Fatalf("%q", s)
	}
	// Once: not for the next question, and not when it is asked again.
	d.edit("q.ask", func(s string) string { return s + "Q2\n" })
	time.Sleep(3 * hurried.quiet)
	if s := d.text("q.ask"); s != line+"Q2\n" {
		t.Fatalf("%q", s)
	}
	if err := d.s.Ask(t.Context(), d.f, "q.ask"); err != nil {
		t.Fatal(err)
	}
	if r, err := d.s.Wait(t.Context(), d.f, "q.ask"); err != nil || r.State != Waiting {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := d.text("q.ask"); s != line+"Q2\n" {
		t.Fatalf("%q", s)
	}
	// With a model, the line makes way for the answer.
	d.edit("q.ask", func(string) string { return line })
	d.stop()
	d.says("A")
	d.start()
	if err := d.s.Ask(t.Context(), d.f, "q.ask"); err != nil {
		t.Fatal(err)
	}
	d.untilState("q.ask", Done)
	if s := d.text("q.ask"); s != "Q1\n\n## Model (scripted on anna)\n\nA\n\n## You\n" {
		t.Errorf("%q", s)
	}
}

type noModels struct{}

func (noModels) Open(context.Context, string) (engine.Session, error) {
	return nil, &engine.Error{Kind: engine.ErrNoEngine, Hint: "run `sheaf model fetch`"}
}

func TestAskErrors(t *testing.T) {
	d := one(t)
	d.save("empty.ask", nil, "\n## You\n\n")
	d.save("done.ask", nil, "Q\n## Model\nA\n")
	d.save("busy.ask", nil, "Q\n## Model (m on bert: answering)\nA\n")
	for path, want := range map[string]error{
		"empty.ask": ErrNothing, "done.ask": ErrNothing, "busy.ask": ErrBusy, "none.ask": crdt.ErrNotExist, "": crdt.ErrIsDir,
	} {
		if err := d.s.Ask(t.Context(), d.f, path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	// After a while, the other device's answer goes on here.
	d.says(" B")
	time.Sleep(hurried.dead)
	if err := d.s.Ask(t.Context(), d.f, "busy.ask"); err != nil {
		t.Fatal(err)
	}
	d.untilState("busy.ask", Done)
	if s := d.text("busy.ask"); s != "Q\n## Model (scripted on anna)\nA B\n" {
		t.Errorf("%q", s)
	}
	// A question need not end in a newline to be asked by name; the file's name is free.
	d.save("x.md", nil, "```\nQ")
	if err := d.s.Ask(t.Context(), d.f, "x.md"); err != nil {
		t.Fatal(err)
	}
	d.untilState("x.md", Done)
	if s := d.text("x.md"); s != "```\nQ\n```\n\n## Model (scripted on anna)\n\nB\n\n## You\n" {
		t.Errorf("%q", s)
	}
}

func TestWait(t *testing.T) {
	a, b := pair(t)
	h := a.holds("one", " two")
	a.save("q.ask", nil, "Q\n")
	type ended struct {
		r   Result
		err error
	}
	wait := func(d *device) chan ended {
		c := make(chan ended, 1)
		go func() {
			r, err := d.s.Wait(context.Background(), d.f, "q.ask")
			c <- ended{r, err}
		}()
		return c
	}
	here := wait(a) // before it is asked
	h.one()
	a.untilText("q.ask", "one")
	swap(a, b)
	there := wait(b)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := a.s.Wait(ctx, a.f, "q.ask"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("interrupted: %v", err)
	}
	h.one()
	e := <-here
	swap(a, b)
	for _, e := range []ended{e, <-there} {
		if e.err != nil || e.r.State != Done || e.r.Answer != "one two" || e.r.Model != "scripted on anna" {
			t.Errorf("%+v", e)
		}
	}
	// Nothing is asked: it does not wait for ever.
	a.f.UpdateAs("import", func(tx *crdt.Tx) error {
		_, _, err := tx.Create(crdt.Root, "idle.ask", 0o644, crdt.NewContent{Text: "Q\n"})
		return err
	})
	if r, err := a.s.Wait(t.Context(), a.f, "idle.ask"); err != nil || r.State != Idle {
		t.Errorf("%+v, %v", r, err)
	}
	late := make(chan error, 1)
	a.holds("x")
	a.edit("q.ask", func(s string) string { return s + "Q2\n" })
	go func() { _, err := a.s.Wait(context.Background(), a.f, "q.ask"); late <- err }()
	a.untilText("q.ask", "Q2\n\n## Model")
	go a.s.Close()
	if err := <-late; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestQuestion(t *testing.T) {
	d := one(t)
	d.save("a.md", nil, "alpha\n")
	var got strings.Builder
	d.says("an", "swer")
	r, err := d.s.Question(t.Context(), d.f, Query{Text: "what is in @a.md?", Paths: []string{"b.md"}, Stdin: "from a pipe"}, func(p string) error {
		got.WriteString(p)
		return nil
	})
	if err != nil || got.String() != "answer" || r.State != Done || r.Answer != "answer" || len(r.Read) != 2 || len(r.Left) != 1 {
		t.Fatalf("%q %+v %v", got.String(), r, err)
	}
	text := d.engine.Requests()[0].Turns[0].Text
	if !strings.Contains(text, "alpha") || !strings.Contains(text, "from a pipe") || !strings.HasSuffix(text, "what is in @a.md?") {
		t.Errorf("%q", text)
	}
	if _, err := d.s.Question(t.Context(), nil, Query{}, nil); !errors.Is(err, ErrNothing) {
		t.Errorf("no question: %v", err)
	}
	left := errors.New("left")
	if r, err := d.s.Question(t.Context(), nil, Query{Text: "x"}, func(string) error { return left }); !errors.Is(err, left) || r.Answer != "an" {
		t.Errorf("%+v, %v", r, err)
	}
}

// Every state of a heading is one of the conversation's.
func TestHeadingsParse(t *testing.T) {
	d := one(t)
	gate := make(chan struct{})
	d.engine.Answer = func(engine.Request) enginetest.Script {
		return enginetest.Script{Pieces: []string{"x"}, Hold: func(int) { <-gate }}
	}
	d.save("q.ask", nil, "Q\n")
	d.untilState("q.ask", Answering)
	f := conversation.Parse(d.text("q.ask"))
	if len(f.Turns) != 3 || !f.Turns[1].Label.State.Active() || f.Turns[1].Label.Name != "scripted on anna" {
		t.Errorf("%+v", f.Turns)
	}
	close(gate)
	d.untilState("q.ask", Done)
}
