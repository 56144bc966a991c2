package llama

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

func TestFakeConforms(t *testing.T) {
	e := newFake(t, Options{}, "good")
	enginetest.Conform(t, func(t *testing.T) engine.Session { return openModel(t, e, "") })
}

func (e *Engine) child(model string) *process {
	e.mu.Lock()
	sl := e.slots["/models/"+model]
	e.mu.Unlock()
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.p
}

// A child that ends badly is one error, what came stands, and the next question
// is answered.
func TestChildDies(t *testing.T) {
	e := newFake(t, Options{Silence: 2 * time.Second, Stall: 2 * time.Second}, "good")
	s := openModel(t, e, "good")
	for _, do := range []string{"crash", "hang", "freeze", "garbage"} {
		t.Run(do, func(t *testing.T) {
			before := e.child("good")
			got, st, err := say(t, s, "!"+do+" please", 20)
			if !errors.Is(err, engine.ErrEngineDied) || st.Reason != engine.Failed {
				t.Errorf("%v, %+v", err, st)
			}
			if !strings.HasPrefix(got, "€") || strings.Contains(got, "printed") {
				t.Errorf("what came: %q", got)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "embedded: good: ") {
				t.Errorf("%v", err)
			}
			if got, _, err := say(t, s, "hello", 4); err != nil || got != "€ " {
				t.Errorf("after it: %q, %v", got, err)
			}
			if before == nil || e.child("good") == before {
				t.Error("it is the same child")
			}
		})
	}
}

func TestEvaluationFails(t *testing.T) {
	e := newFake(t, Options{}, "good")
	s := openModel(t, e, "good")
	_, _, err := say(t, s, "!fail please", 20)
	if !errors.Is(err, engine.ErrEngineDied) || !strings.Contains(err.Error(), "decode returned -3") {
		t.Errorf("%v", err)
	}
	if got, _, err := say(t, s, "hello", 4); err != nil || got != "€ " {
		t.Errorf("after it: %q, %v", got, err)
	}
}

func TestKilledWhileIdle(t *testing.T) {
	e := newFake(t, Options{}, "good")
	s := openModel(t, e, "good")
	p := e.child("good")
	_ = p.cmd.Process.Kill()
	<-p.dead
	if got, _, err := say(t, s, "hello", 4); err != nil || got != "€ " {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLoadingFails(t *testing.T) {
	e := newFake(t, Options{Silence: 2 * time.Second, Stall: 2 * time.Second}, "missing", "nolib", "crash", "stuck")
	for model, want := range map[string]error{"missing": engine.ErrRefused, "nolib": engine.ErrNoEngine,
		"crash": engine.ErrEngineDied, "stuck": engine.ErrEngineDied, "unheard of": engine.ErrNoModel} {
		_, err := e.Open(t.Context(), model)
		if !errors.Is(err, want) || err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, want %v", model, err, want)
		}
		if model == "crash" && !strings.Contains(err.Error(), "GGML_ASSERT") {
			t.Errorf("what it said is missing: %v", err)
		}
	}
}

func TestNoLibraryAndNoModels(t *testing.T) {
	gone := errors.New("nothing fetched")
	e := New(Options{Library: func() (string, error) { return "", gone }, Models: func() ([]Model, error) { return []Model{{Name: "a"}}, nil }})
	defer e.Close()
	if _, err := e.Open(t.Context(), ""); !errors.Is(err, engine.ErrNoEngine) || !errors.Is(err, gone) {
		t.Error(err)
	}
	e = newFake(t, Options{})
	if _, err := e.Open(t.Context(), ""); !errors.Is(err, engine.ErrNoModel) {
		t.Error(err)
	}
}

// In the prompt, in the answer, in the queue, and while the child is deaf.
func TestCancel(t *testing.T) {
	e := newFake(t, Options{}, "good")
	s := openModel(t, e, "good")
	for _, do := range []string{"slowprompt", "slow", "hang"} {
		ctx, cancel := context.WithCancel(t.Context())
		var at time.Time
		time.AfterFunc(100*time.Millisecond, func() { at = time.Now(); cancel() })
		st, err := s.Generate(ctx, engine.Request{Turns: []engine.Turn{{Text: "!" + do + " it"}}}, func(string) error { return nil })
		took := time.Since(at)
		if !errors.Is(err, context.Canceled) || st.Reason != engine.Cancelled {
			t.Errorf("%s: %v, %+v", do, err, st)
		}
		if took > 500*time.Millisecond {
			t.Errorf("%s: took %v", do, took)
		}
		t.Logf("%s: %v", do, took)
		if do == "hang" {
			// The deaf child holds the queue, and a caller may leave that too.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			var queued bool
			_, err := s.Generate(ctx, engine.Request{Turns: []engine.Turn{{Text: "x"}},
				Progress: func(p engine.Progress) { queued = queued || p.Stage == engine.Queued && p.Done == 1 }}, nil)
			if !errors.Is(err, context.DeadlineExceeded) || !queued {
				t.Errorf("queue: %v, queued %v", err, queued)
			}
			cancel()
			continue
		}
		if got, _, err := say(t, s, "hello", 4); err != nil || got != "€ " {
			t.Errorf("after %s: %q, %v", do, got, err)
		}
	}
}

// A child that reads nothing holds nobody up.
func TestCancelWhileFrozen(t *testing.T) {
	e := newFake(t, Options{}, "good")
	s := openModel(t, e, "good")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _ = s.Generate(ctx, engine.Request{Turns: []engine.Turn{{Text: "!freeze it"}}}, func(string) error { return nil })
	start := time.Now()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Count(ctx, strings.Repeat("long ", 1<<18)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(start); took > 600*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func TestPromptIsReused(t *testing.T) {
	e := newFake(t, Options{}, "good")
	s := openModel(t, e, "good")
	turns := []engine.Turn{{Text: strings.Repeat("context ", 60)}}
	ask := func(cold bool, turns []engine.Turn) (string, engine.Stats) {
		t.Helper()
		var b strings.Builder
		st, err := s.Generate(t.Context(), engine.Request{Turns: turns, MaxTokens: 9, Cold: cold}, func(p string) error { b.WriteString(p); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return b.String(), st
	}
	answer, st := ask(false, turns)
	if st.Reused != 0 {
		t.Errorf("first: %+v", st)
	}
	if _, st = ask(false, turns); st.Reused != st.PromptTokens-1 {
		t.Errorf("the same: %+v", st)
	}
	if _, st = ask(true, turns); st.Reused != 0 {
		t.Errorf("cold: %+v", st)
	}
	first := st.PromptTokens
	next := append(turns, engine.Turn{Role: engine.Model, Text: answer}, engine.Turn{Text: "and then?"})
	if _, st = ask(false, next); st.Reused < first {
		t.Errorf("next turn: %+v, after a prompt of %d", st, first)
	}
	// Another conversation, once this one had time to be parked; then back.
	time.Sleep(2 * parkAfter)
	ask(false, []engine.Turn{{Text: "something else"}})
	if _, st = ask(false, next); st.Reused < first {
		t.Errorf("after another: %+v", st)
	}
}

func TestStopText(t *testing.T) {
	e := newFake(t, Options{}, "good")
	s := openModel(t, e, "good")
	var b strings.Builder
	st, err := s.Generate(t.Context(), engine.Request{Turns: []engine.Turn{{Text: "x"}}, Stop: []string{"a €"}}, func(p string) error { b.WriteString(p); return nil })
	if err != nil || b.String() != "€ " || st.Reason != engine.Stopped {
		t.Errorf("%q, %+v, %v", b.String(), st, err)
	}
	if got, st, err := say(t, s, "!end it", 0); err != nil || got != "€ " || st.Reason != engine.Stopped {
		t.Errorf("%q, %+v, %v", got, st, err)
	}
}

func TestIdleModelLeavesMemory(t *testing.T) {
	e := newFake(t, Options{Idle: 50 * time.Millisecond}, "good", "other")
	s := openModel(t, e, "good")
	p := e.child("good")
	select {
	case <-p.dead:
	case <-time.After(10 * time.Second):
		t.Fatal("it stayed")
	}
	if got, _, err := say(t, s, "hello", 4); err != nil || got != "€ " {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOneModelInMemory(t *testing.T) {
	e := newFake(t, Options{}, "good", "other")
	openModel(t, e, "good")
	p := e.child("good")
	openModel(t, e, "other")
	select {
	case <-p.dead:
	default:
		t.Error("two models are in memory")
	}
	last := e.child("other")
	e.Close()
	select {
	case <-last.dead:
	default:
		t.Error("a child outlives its engine")
	}
	if _, err := e.Open(t.Context(), "good"); !errors.Is(err, engine.ErrNoEngine) {
		t.Error(err)
	}
}

func TestChildEndsWithItsParent(t *testing.T) {
	cmd := childCommand("fake")()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &pipe{out: in}
	if err := p.send(frame{Do: doLoad, Load: &load{Model: "good"}}); err != nil {
		t.Fatal(err)
	}
	if err := p.send(frame{Do: doGenerate, ID: 1, Ask: &ask{Turns: []turn{{Text: "!hang now"}}}}); err != nil {
		t.Fatal(err)
	}
	in.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Signal(os.Kill)
		t.Error("it lives on")
	}
}
