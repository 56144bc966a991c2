package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/internal/output"
)

var errCut = errors.New("the answer ends in the middle")

// answer collects one answer: pieces go out whole, times and reason are noted.
type answer struct {
	start, first, last time.Time
	out                *output.Writer
	emitErr            error // what the caller's function said
	finish             string
	stats              engine.Stats
}

func newAnswer(stop []string, emit func(string) error) *answer {
	a := &answer{start: time.Now()}
	a.out = output.New(stop, func(piece string) error {
		if a.first.IsZero() {
			a.first = time.Now()
			a.stats.FirstPiece = a.first.Sub(a.start)
		}
		a.last = time.Now()
		a.emitErr = emit(piece)
		return a.emitErr
	})
	return a
}

// end says how the answer ended; err is what ended the stream. complete is
// whether the server said that it was done.
func (a *answer) end(ctx context.Context, c *client, model string, err error, complete bool) (engine.Stats, error) {
	stopped := errors.Is(err, output.ErrStop)
	if stopped || errors.Is(err, errDone) {
		err = nil
	}
	if complete && errors.Is(err, engine.ErrEngineDied) {
		err = nil // after the last word
	}
	if err == nil && !stopped && !complete {
		err = c.fail(model, engine.ErrEngineDied, errCut)
	}
	if a.emitErr == nil && ctx.Err() == nil {
		// Also beside an error: what came stands.
		if ferr := a.out.Flush(); err == nil {
			err = ferr
		}
	}
	if a.emitErr != nil {
		err = a.emitErr
	}
	if a.stats.Decode == 0 && !a.first.IsZero() {
		a.stats.Decode = a.last.Sub(a.first)
	}
	switch {
	case err != nil:
		a.stats.Reason = engine.ReasonFor(err)
	case !stopped && a.finish == "length":
		a.stats.Reason = engine.Length
	default:
		a.stats.Reason = engine.Stopped
	}
	return a.stats, err
}

// estimate guesses the tokens of text from above: about three bytes a token
// holds for prose and code in the vocabularies in use.
func estimate(text string) int { return (len(text) + 2) / 3 }

// estimateRequest adds what templates put around turns.
func estimateRequest(r engine.Request) int {
	n := estimate(r.System) + 16
	for _, t := range r.Turns {
		n += estimate(t.Text) + 8
	}
	return n
}

// fits refuses a prompt that is too long by our own estimate. Servers whose
// tokenizer is out of reach tend to cut prompts silently, which is worse.
func (c *client) fits(info engine.Info, r engine.Request) error {
	if n := estimateRequest(r); info.Estimated && n >= info.ContextSize {
		return c.fail(info.Name, engine.ErrContextFull,
			fmt.Errorf("about %d tokens of prompt, a context of %d", n, info.ContextSize))
	}
	return nil
}
