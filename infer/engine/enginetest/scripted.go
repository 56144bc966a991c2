// Package enginetest helps to test what stands on engines, and engines.
//
// [Engine] answers from a script, with every failure that a real one may have;
// [Conform] holds an engine to what package engine promises.
package enginetest

import (
	"context"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// Script is one answer of an [Engine].
type Script struct {
	Pieces []string
	Wait   time.Duration   // before the first piece
	Gap    time.Duration   // between pieces
	Hold   func(piece int) // called before each piece; may block until a test lets go
	Err    error           // how it ends; nil is well
	Hang   bool            // never ends, but for its context
	Reason engine.Reason   // of a good end; empty is engine.Stopped
}

// Engine is an engine whose answers are written beforehand. The zero value has
// one model, "scripted", and echoes the last turn. Set the fields before use.
type Engine struct {
	Label   string        // Name, "scripted" if empty
	List    []engine.Info // what it has; the first has a context of 4096 if unset
	OpenErr error
	Answer  func(r engine.Request) Script

	mu   sync.Mutex
	asks []engine.Request
	gate chan struct{}
}

// Requests returns what was asked so far.
func (e *Engine) Requests() []engine.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]engine.Request(nil), e.asks...)
}

// Name implements [engine.Engine].
func (e *Engine) Name() string {
	if e.Label == "" {
		return "scripted"
	}
	return e.Label
}

// Models implements [engine.Engine].
func (e *Engine) Models(context.Context) ([]engine.Info, error) {
	if e.OpenErr != nil {
		return nil, e.OpenErr
	}
	if e.List == nil {
		return []engine.Info{{Name: "scripted", ContextSize: 4096}}, nil
	}
	return e.List, nil
}

// Open implements [engine.Engine].
func (e *Engine) Open(ctx context.Context, model string) (engine.Session, error) {
	list, err := e.Models(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if model == "" || m.Name == model {
			if m.ContextSize == 0 {
				m.ContextSize = 4096
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.gate == nil {
				e.gate = make(chan struct{}, 1)
			}
			return &session{e: e, info: m}, nil
		}
	}
	return nil, &engine.Error{Engine: e.Name(), Model: model, Kind: engine.ErrNoModel}
}

// Close implements [engine.Engine].
func (e *Engine) Close() error { return nil }

type session struct {
	e    *Engine
	info engine.Info
}

func (s *session) Info() engine.Info { return s.info }
func (s *session) Close() error      { return nil }

// Count takes four bytes for a token.
func (s *session) Count(_ context.Context, text string) (int, error) { return (len(text) + 3) / 4, nil }

func (s *session) Measure(_ context.Context, r engine.Request) (int, error) {
	n := (len(r.System) + 3) / 4
	for _, t := range r.Turns {
		n += (len(t.Text)+3)/4 + 4
	}
	return n, nil
}

func (s *session) Generate(ctx context.Context, r engine.Request, emit func(string) error) (st engine.Stats, err error) {
	defer func() {
		if err != nil {
			st.Reason = engine.ReasonFor(err)
		}
	}()
	s.e.mu.Lock()
	s.e.asks = append(s.e.asks, r)
	s.e.mu.Unlock()
	select {
	case s.e.gate <- struct{}{}:
		defer func() { <-s.e.gate }()
	case <-ctx.Done():
		return st, context.Cause(ctx)
	}
	st.PromptTokens, _ = s.Measure(ctx, r)
	if st.PromptTokens >= s.info.ContextSize {
		return st, &engine.Error{Engine: s.e.Name(), Model: s.info.Name, Kind: engine.ErrContextFull}
	}
	script := Script{Pieces: []string{r.Turns[len(r.Turns)-1].Text}}
	if s.e.Answer != nil {
		script = s.e.Answer(r)
	}
	start := time.Now()
	wait := script.Wait
	for i, p := range script.Pieces {
		if r.MaxTokens > 0 && i == r.MaxTokens {
			st.Reason = engine.Length
			return st, nil
		}
		if script.Hold != nil {
			script.Hold(i)
		}
		if err := pause(ctx, wait); err != nil {
			return st, err
		}
		wait = script.Gap
		if i == 0 {
			st.FirstPiece = time.Since(start)
		}
		if err := emit(p); err != nil {
			return st, err
		}
		st.AnswerTokens++
	}
	if script.Hang {
		<-ctx.Done()
		return st, context.Cause(ctx)
	}
	if st.Reason = script.Reason; st.Reason == "" {
		st.Reason = engine.Stopped
	}
	return st, script.Err
}

func pause(ctx context.Context, d time.Duration) error {
	if err := context.Cause(ctx); err != nil || d <= 0 {
		return err
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
