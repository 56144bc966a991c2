package enginetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// cancelLimit is what package engine promises. With the race detector, or on a
// machine that others use, the test allows more.
const (
	cancelLimit  = 50 * time.Millisecond
	cancelExcuse = 450 * time.Millisecond
)

// Conform holds a session to the promises of package engine. Its model must
// make at least eight tokens about a text of some length at temperature 0.
func Conform(t *testing.T, open func(t *testing.T) engine.Session) {
	ask := func(text string) engine.Request {
		return engine.Request{System: "You are helpful.", Turns: []engine.Turn{{Role: engine.User, Text: text}}, MaxTokens: 8, Seed: 1, Cold: true}
	}
	const question = "Tell me a long story about a lighthouse, a storm and the keeper's daughter."

	t.Run("answers", func(t *testing.T) {
		s := open(t)
		defer s.Close()
		if s.Info().Name == "" || s.Info().ContextSize <= 0 {
			t.Fatalf("info: %+v", s.Info())
		}
		var first string
		for range 2 {
			var b strings.Builder
			st, err := s.Generate(t.Context(), ask(question), func(p string) error {
				if p == "" || !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
					t.Errorf("piece %q", p)
				}
				b.WriteString(p)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if st.Reason != engine.Length || st.AnswerTokens != 8 || st.PromptTokens == 0 || st.FirstPiece <= 0 {
				t.Errorf("stats: %+v", st)
			}
			if first == "" {
				first = b.String()
			}
			if b.String() == "" || b.String() != first {
				t.Errorf("answers %q, then %q", first, b.String())
			}
		}
	})

	t.Run("counts", func(t *testing.T) {
		s := open(t)
		defer s.Close()
		empty, err := s.Count(t.Context(), "")
		if err != nil || empty != 0 {
			t.Errorf("empty text: %d tokens, %v", empty, err)
		}
		n, err := s.Count(t.Context(), question)
		if err != nil || n < 5 || n > len(question) {
			t.Errorf("question: %d tokens, %v", n, err)
		}
		all, err := s.Measure(t.Context(), ask(question))
		if err != nil || all <= n {
			t.Errorf("prompt: %d tokens of which the question has %d, %v", all, n, err)
		}
	})

	t.Run("error of emit", func(t *testing.T) {
		s := open(t)
		defer s.Close()
		want := errors.New("no more")
		n := 0
		st, err := s.Generate(t.Context(), ask(question), func(string) error { n++; return want })
		if !errors.Is(err, want) || n != 1 || st.Reason != engine.Cancelled {
			t.Errorf("%v after %d pieces, %+v", err, n, st)
		}
	})

	t.Run("context full", func(t *testing.T) {
		s := open(t)
		defer s.Close()
		_, err := s.Generate(t.Context(), ask(strings.Repeat("one more word ", 4*s.Info().ContextSize)),
			func(p string) error { t.Errorf("emitted %q", p); return nil })
		if !errors.Is(err, engine.ErrContextFull) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("cancel", func(t *testing.T) {
		s := open(t)
		defer s.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the person left")
		r := ask(question)
		r.MaxTokens = 0
		var at time.Time
		st, err := s.Generate(ctx, r, func(string) error {
			if at.IsZero() {
				at = time.Now()
				cancel(why)
			}
			return nil
		})
		took := time.Since(at)
		if !errors.Is(err, why) || st.Reason != engine.Cancelled {
			t.Errorf("%v, %+v", err, st)
		}
		switch {
		case took > cancelLimit+cancelExcuse:
			t.Errorf("cancel took %v", took)
		case took > cancelLimit:
			t.Logf("cancel took %v, more than the %v of a quiet machine", took, cancelLimit)
		}
		if _, err := s.Generate(ctx, r, func(string) error { return nil }); !errors.Is(err, why) {
			t.Errorf("cancelled before the call: %v", err)
		}
	})

	t.Run("queue", func(t *testing.T) {
		s := open(t)
		defer s.Close()
		var wg sync.WaitGroup
		var mu sync.Mutex
		current, switches := -1, 0
		for i := range 3 {
			wg.Go(func() {
				_, err := s.Generate(t.Context(), ask(question), func(string) error {
					mu.Lock()
					defer mu.Unlock()
					if current != i {
						current = i
						switches++
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if switches != 3 {
			t.Errorf("three answers of one model took %d turns", switches)
		}
	})
}
