package llama

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/internal/output"
)

const (
	// grace is how long a cancelled call waits for the child's own word, which
	// brings the figures. The promise of package engine is 50 ms.
	grace = 40 * time.Millisecond
	// maxText is more than any context holds; what is longer is not sent to be
	// counted.
	maxText = 16 << 20 // bytes
)

type session struct {
	slot *slot
	info engine.Info
}

// Info implements [engine.Session].
func (s *session) Info() engine.Info { return s.info }

// Close implements [engine.Session]. The model stays in memory for a while.
func (s *session) Close() error { return nil }

// Count implements [engine.Session].
func (s *session) Count(ctx context.Context, text string) (int, error) {
	switch {
	case text == "":
		return 0, nil
	case len(text) > maxText:
		return len(text) / 3, nil
	}
	return s.number(ctx, frame{Do: doCount, Text: strings.ToValidUTF8(text, "\ufffd")})
}

// Measure implements [engine.Session].
func (s *session) Measure(ctx context.Context, r engine.Request) (int, error) {
	if n := length(r); n > maxText {
		return n / 3, nil
	}
	return s.number(ctx, frame{Do: doMeasure, Ask: toAsk(r)})
}

func length(r engine.Request) int {
	n := len(r.System)
	for _, t := range r.Turns {
		n += len(t.Text)
	}
	return n
}

// toAsk puts a request into wire form, where text must be valid UTF-8.
func toAsk(r engine.Request) *ask {
	a := &ask{System: strings.ToValidUTF8(r.System, "\ufffd"), Temperature: r.Temperature, MaxTokens: r.MaxTokens, Seed: r.Seed, Cold: r.Cold}
	for _, t := range r.Turns {
		a.Turns = append(a.Turns, turn{t.Role, strings.ToValidUTF8(t.Text, "\ufffd")})
	}
	return a
}

// number makes a call whose answer is a number. It does not queue.
func (s *session) number(ctx context.Context, f frame) (int, error) {
	p, err := s.slot.process(ctx, nil)
	if err != nil {
		return 0, err
	}
	over := make(chan struct{})
	c := p.call(f, func() { close(over); go s.slot.release() })
	select {
	case <-over:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	for _, f := range c.frames.take() {
		if f.Do == isCounted && f.N >= 0 {
			return int(f.N), nil
		}
	}
	return 0, s.died(p)
}

func (s *session) died(p *process) error {
	<-p.dead
	return s.slot.fail(p.err)
}

// Generate implements [engine.Session].
func (s *session) Generate(ctx context.Context, r engine.Request, emit func(string) error) (engine.Stats, error) {
	a := &answering{s: s, ctx: ctx, r: r, start: time.Now()}
	a.out = output.New(r.Stop, func(piece string) error {
		if a.stats.FirstPiece == 0 {
			a.stats.FirstPiece = time.Since(a.start)
		}
		a.emitErr = emit(piece)
		return a.emitErr
	})
	err := a.run()
	if err != nil {
		a.stats.Reason = engine.ReasonFor(err)
	}
	return a.stats, err
}

// answering is one call of Generate.
type answering struct {
	s       *session
	ctx     context.Context
	r       engine.Request
	start   time.Time
	out     *output.Writer
	emitErr error
	stats   engine.Stats
}

func (a *answering) run() error {
	sl := a.s.slot
	if length(a.r) > maxText {
		return sl.fail(&engine.Error{Kind: engine.ErrContextFull, Err: errors.New("more than 16 MiB of text")})
	}
	if err := sl.gate.Enter(a.ctx, a.r.Progress); err != nil {
		return err
	}
	p, err := sl.process(a.ctx, a.r.Progress)
	if err != nil {
		sl.gate.Leave()
		return err
	}
	over := make(chan struct{})
	c := p.call(frame{Do: doGenerate, Ask: toAsk(a.r)}, func() {
		close(over)
		sl.gate.Leave()
		go sl.release() // the process may be held by who waits for its death
	})
	for {
		select {
		case <-c.frames.wake:
		case <-over:
		case <-a.ctx.Done():
			return a.leave(p, c, over, context.Cause(a.ctx))
		}
		for _, f := range c.frames.take() {
			if done, err := a.handle(f); err != nil {
				if done {
					return err
				}
				return a.leave(p, c, over, err)
			} else if done {
				return nil
			}
			if a.ctx.Err() != nil {
				return a.leave(p, c, over, context.Cause(a.ctx))
			}
		}
		select {
		case <-over:
			// Everything that came is handled, unless it came just now.
			for _, f := range c.frames.take() {
				if done, err := a.handle(f); done || err != nil {
					return err
				}
			}
			_ = a.out.Flush() // what came stands
			if a.emitErr != nil {
				return a.emitErr
			}
			return a.s.died(p)
		default:
		}
	}
}

// handle takes a frame; done is whether it was the last.
func (a *answering) handle(f frame) (done bool, err error) {
	switch f.Do {
	case isReading:
		if a.r.Progress != nil {
			a.r.Progress(engine.Progress{Stage: engine.Reading, Done: int(f.N), Total: int(f.Total)})
		}
	case isPiece:
		return false, a.out.Write(f.Data)
	case isDone:
		a.figures(f)
		ferr := a.out.Flush()
		switch {
		case ferr != nil && !errors.Is(ferr, output.ErrStop):
			return true, ferr
		case f.Kind == kindNone:
			return true, nil
		default:
			return true, a.s.slot.fail(&engine.Error{Kind: f.Kind.err(), Err: errors.New(oneLine(f.Text))})
		}
	}
	return false, nil
}

func (a *answering) figures(f frame) {
	if st := f.Stats; st != nil {
		a.stats.PromptTokens, a.stats.Reused, a.stats.AnswerTokens = st.Prompt, st.Reused, st.Answer
		a.stats.Prompt, a.stats.Decode, a.stats.Threads = st.Reading, st.Decode, st.Threads
		a.stats.Reason = st.Reason
	}
}

// leave cancels the call in the child. The queue moves on when the child says
// that it is done, whoever has left.
func (a *answering) leave(p *process, c *call, over chan struct{}, why error) error {
	p.outbox.put(frame{Do: doCancel, ID: c.id})
	select {
	case <-over:
	case <-time.After(grace):
	}
	for _, f := range c.frames.take() {
		if f.Do == isDone {
			a.figures(f)
		}
	}
	if errors.Is(why, output.ErrStop) {
		a.stats.Reason = engine.Stopped
		return nil
	}
	return why
}
