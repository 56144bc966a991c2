// Package gate lets the answers of one model be made one after the other.
package gate

import (
	"context"
	"sync/atomic"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// Gate is passed by one caller at a time, in the order of their coming. It is
// made by New.
type Gate struct {
	slot chan struct{} // the runtime wakes senders in order
	here atomic.Int32  // inside or waiting
}

// New returns an open gate.
func New() *Gate { return &Gate{slot: make(chan struct{}, 1)} }

// Enter waits for its turn, or for ctx. progress, which may be nil, hears how
// many stand before if there are any.
func (g *Gate) Enter(ctx context.Context, progress func(engine.Progress)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	before := int(g.here.Add(1)) - 1
	if before > 0 && progress != nil {
		progress(engine.Progress{Stage: engine.Queued, Done: before})
	}
	select {
	case g.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		g.here.Add(-1)
		return context.Cause(ctx)
	}
}

// Leave lets the next one in. Any goroutine may call it, once for each Enter
// that returned nil.
func (g *Gate) Leave() {
	g.here.Add(-1)
	<-g.slot
}
