// Package choose opens models on the engine that a person of this device means:
// the configured address if there is one, else the embedded model if they chose
// it, else a server that was found on this machine and has a model, else the
// embedded engine.
//
// What is asked for is looked at anew with every opening, so a server that was
// started or a model that was fetched since is found. A configured address is
// never passed over: if it does not answer, nothing else is asked in its place.
// The package opens no connection itself.
package choose

import (
	"context"
	"errors"
	"sync"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// Server is a server that a person configured. The zero value is none.
type Server struct {
	Address string `json:"address"`       // host:port or a URL
	Key     string `json:"key,omitempty"` // sent as a bearer token
}

// Options say where engines come from. None of the functions may be nil.
type Options struct {
	// Configured returns the server that a person configured.
	Configured func() (Server, error)
	// Connect returns the engine at a configured server.
	Connect func(context.Context, Server) (engine.Engine, error)
	// Detect returns the servers on this machine, the preferred first.
	Detect func(ctx context.Context) []engine.Engine
	// Embedded is the engine of this program; Close closes it.
	Embedded engine.Engine
	// Preferred tells whether a person chose the embedded engine's model.
	Preferred func() bool
}

// Hint is what to do where nothing could answer.
const Hint = "`sheaf model fetch` gets one"

// Engine chooses an engine for each opening. It is safe for concurrent use.
type Engine struct {
	o Options

	mu     sync.Mutex
	known  map[Server]engine.Engine // those found by their name: the queue of a model is its engine's
	closed bool
}

// New returns the chooser; nothing is asked yet.
func New(o Options) *Engine { return &Engine{o: o, known: map[Server]engine.Engine{}} }

// Open makes a model ready; the empty name is the chosen engine's first choice.
// The error is [engine.ErrNoEngine] if there is none with a model, and
// [engine.ErrNoModel] if none has a model of that name.
func (c *Engine) Open(ctx context.Context, model string) (engine.Session, error) {
	server, err := c.o.Configured()
	if err != nil {
		return nil, &engine.Error{Kind: engine.ErrNoEngine, Err: err}
	}
	if server != (Server{}) {
		e, err := c.configured(ctx, server)
		if err != nil {
			return nil, err
		}
		return e.Open(ctx, model)
	}
	engines, err := c.local(ctx)
	if err != nil {
		return nil, err
	}
	some := false
	for _, e := range engines {
		models, err := e.Models(ctx)
		if err != nil || len(models) == 0 {
			continue // a server that ended a moment ago, or one without a model
		}
		some = true
		s, err := e.Open(ctx, model)
		if model != "" && errors.Is(err, engine.ErrNoModel) {
			continue
		}
		return s, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if some {
		return nil, &engine.Error{Model: model, Kind: engine.ErrNoModel, Hint: "`sheaf model list` shows what there is"}
	}
	return nil, &engine.Error{Kind: engine.ErrNoEngine, Err: errors.New("no model on this device"), Hint: Hint}
}

// local lists the engines of this machine in the order of preference.
func (c *Engine) local(ctx context.Context) ([]engine.Engine, error) {
	preferred := c.o.Preferred()
	var out []engine.Engine
	if preferred {
		out = append(out, c.o.Embedded)
	}
	for _, e := range c.o.Detect(ctx) {
		e, err := c.keep(Server{Address: e.Name()}, e)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if !preferred {
		out = append(out, c.o.Embedded)
	}
	return out, nil
}

func (c *Engine) configured(ctx context.Context, s Server) (engine.Engine, error) {
	c.mu.Lock()
	e := c.known[s]
	c.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := c.o.Connect(ctx, s)
	if err != nil {
		return nil, err
	}
	return c.keep(s, e)
}

// keep returns the engine that is known of a server, which is e if there was none.
func (c *Engine) keep(s Server, e engine.Engine) (engine.Engine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.known[s]
	switch {
	case c.closed:
		return nil, errors.Join(&engine.Error{Kind: engine.ErrNoEngine, Err: errors.New("the engines are closed")}, e.Close())
	case old == nil:
		c.known[s] = e
		return e, nil
	case old != e:
		return old, e.Close()
	}
	return old, nil
}

// Close ends every engine.
func (c *Engine) Close() error {
	c.mu.Lock()
	c.closed = true
	known := c.known
	c.known = map[Server]engine.Engine{}
	c.mu.Unlock()
	err := c.o.Embedded.Close()
	for _, e := range known {
		err = errors.Join(err, e.Close())
	}
	return err
}
