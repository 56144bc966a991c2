package llama_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/llama"
	"github.com/sheaf-fs/sheaf/infer/engine/llama/llamatest"
)

// quick is what something takes that other programs disturb least: the quarter.
func quick(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/4]
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// BenchmarkEngine compares the engine with the same library called directly: same
// model, prompts and threads, in turns.
func BenchmarkEngine(b *testing.B) {
	raw := llamatest.Load(b, 2048, 1, 0)
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			raw.Threads(threads)
			s := open(b, realEngine(b, llama.Options{Context: 2048, Threads: threads, Nice: -1}))
			named := strings.TrimSuffix(fmt.Sprintf("%d threads", threads), map[bool]string{true: "s"}[threads == 1])
			b.Run("answer", func(b *testing.B) { raw.Use(b); benchAnswer(b, s, raw, named) })
			b.Run("follow-up", func(b *testing.B) { raw.Use(b); benchFollowUp(b, s, raw, named) })
			b.Run("cancel", func(b *testing.B) { benchCancel(b, s, named) })
		})
	}
}

// patient is a session's Generate with the patience of llamatest.
func patient(b *testing.B, s engine.Session, r engine.Request, emit func(string) error) (engine.Stats, error) {
	ctx, cancel := context.WithTimeout(context.Background(), llamatest.Patience)
	defer cancel()
	st, err := s.Generate(ctx, r, emit)
	if ctx.Err() != nil {
		llamatest.NotMeasured(b, "an answer")
	}
	return st, err
}

// benchAnswer measures the first token and those that follow.
func benchAnswer(b *testing.B, s engine.Session, raw *llamatest.Direct, threads string) {
	const tokens = 64
	question := "Tell me a long story about a lighthouse."
	prompt := raw.Prompt("", question)
	var rawFirst, first, rawNext, next []time.Duration
	for b.Loop() {
		t := raw.Answer(prompt, 0, tokens)
		rawFirst, rawNext = append(rawFirst, t.First), append(rawNext, t.Rest...)
		var last time.Time
		st, err := patient(b, s, engine.Request{Turns: user(question), MaxTokens: tokens, Cold: true}, func(string) error {
			now := time.Now()
			if !last.IsZero() {
				next = append(next, now.Sub(last))
			}
			last = now
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		if st.PromptTokens != len(prompt) {
			b.Fatalf("%d tokens of prompt, %d directly", st.PromptTokens, len(prompt))
		}
		first = append(first, st.FirstPiece)
	}
	b.ReportMetric(1/quick(next).Seconds(), "tokens/s")
	llamatest.AtLeast(b, 0.97, quick(rawNext).Seconds()/quick(next).Seconds(), "times", "decode, of raw, "+threads)
	llamatest.AtMost(b, 30, ms(quick(first)-quick(rawFirst)), "ms", "engine: first piece, over raw, "+threads)
}

// benchFollowUp measures a turn after a long one, against the evaluation of just the
// tokens that are new.
func benchFollowUp(b *testing.B, s engine.Session, raw *llamatest.Direct, threads string) {
	var over []time.Duration
	computed := 0
	for b.Loop() {
		long := strings.Repeat("The keeper lit the lamp and wrote into his book. ", 20) + "What did he write?"
		var first, again engine.Stats
		var answer strings.Builder
		first, err := patient(b, s, engine.Request{Turns: user(long), MaxTokens: 24, Cold: true}, func(p string) error { answer.WriteString(p); return nil })
		if err != nil {
			b.Fatal(err)
		}
		said := strings.TrimSpace(answer.String())
		turns := []engine.Turn{{Text: long}, {Role: engine.Model, Text: said}, {Text: "And why did he write it?"}}
		again, err = patient(b, s, engine.Request{Turns: turns, MaxTokens: 1}, func(string) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		prompt := raw.Prompt("", long, said, turns[2].Text)
		if again.PromptTokens != len(prompt) {
			b.Fatalf("%d tokens of prompt, %d directly", again.PromptTokens, len(prompt))
		}
		raw.Compute(prompt[:again.Reused], 0)
		over = append(over, again.FirstPiece-raw.Answer(prompt, again.Reused, 1).First)
		computed = again.PromptTokens - again.Reused
		b.ReportMetric(float64(first.PromptTokens), "tokens-before")
	}
	b.ReportMetric(float64(computed), "tokens-computed")
	llamatest.AtMost(b, 50, ms(quick(over)), "ms", "engine: follow-up, over its new tokens, "+threads)
}

// benchCancel measures from the wish to end an answer until it has ended.
func benchCancel(b *testing.B, s engine.Session, threads string) {
	after := func(r engine.Request) time.Duration {
		ctx, cancel := context.WithTimeout(context.Background(), llamatest.Patience)
		defer cancel()
		var at time.Time
		words := 0
		if r.MaxTokens == 1 { // in the prompt
			timer := time.AfterFunc(200*time.Millisecond, func() { at = time.Now(); cancel() })
			defer timer.Stop()
		}
		_, err := s.Generate(ctx, r, func(string) error {
			if words++; words == 10 {
				at = time.Now()
				cancel()
			}
			return nil
		})
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			llamatest.NotMeasured(b, "ten tokens")
		case err == nil || at.IsZero():
			b.Fatal("it ended before it was cancelled")
		}
		return time.Since(at)
	}
	var inPrompt, inAnswer []time.Duration
	for b.Loop() {
		inPrompt = append(inPrompt, after(engine.Request{Turns: user(strings.Repeat("Other text entirely. ", 300)), MaxTokens: 1, Cold: true}))
		inAnswer = append(inAnswer, after(engine.Request{Turns: user("Tell me a long story."), MaxTokens: 200, Cold: true}))
	}
	slices.Sort(inPrompt)
	slices.Sort(inAnswer)
	b.ReportMetric(ms(inPrompt[len(inPrompt)-1]), "in-prompt-max-ms")
	b.ReportMetric(ms(inAnswer[len(inAnswer)-1]), "in-answer-max-ms")
	llamatest.AtMost(b, 50, ms(inPrompt[len(inPrompt)/2]), "ms", "engine: cancel in the prompt, "+threads)
	llamatest.AtMost(b, 50, ms(inAnswer[len(inAnswer)/2]), "ms", "engine: cancel in the answer, "+threads)
}
