package choose

import (
	"context"
	"errors"
	"testing"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

func has(label string, models ...string) *enginetest.Engine {
	e := &enginetest.Engine{Label: label, List: []engine.Info{}}
	for _, m := range models {
		e.List = append(e.List, engine.Info{Name: m, Description: label})
	}
	return e
}

func TestOpen(t *testing.T) {
	gone := has("gone")
	gone.OpenErr = &engine.Error{Kind: engine.ErrNoEngine}
	for name, c := range map[string]struct {
		address   string
		connect   error
		servers   []engine.Engine
		embedded  *enginetest.Engine
		preferred bool
		model     string

		want string // the engine
		err  error
	}{
		"nothing":                                {embedded: has("embedded"), err: engine.ErrNoEngine},
		"nothing of that name":                   {embedded: has("embedded"), model: "x", err: engine.ErrNoEngine},
		"only the embedded one":                  {embedded: has("embedded", "m"), want: "embedded"},
		"a server goes first":                    {servers: []engine.Engine{has("server", "m")}, embedded: has("embedded", "m"), want: "server"},
		"unless the embedded one was chosen":     {servers: []engine.Engine{has("server", "m")}, embedded: has("embedded", "m"), preferred: true, want: "embedded"},
		"a server without a model":               {servers: []engine.Engine{has("server")}, embedded: has("embedded", "m"), want: "embedded"},
		"a server that has ended":                {servers: []engine.Engine{gone, has("other", "m")}, embedded: has("embedded"), want: "other"},
		"who has the model":                      {servers: []engine.Engine{has("server", "m")}, embedded: has("embedded", "x"), model: "x", want: "embedded"},
		"nobody has the model":                   {servers: []engine.Engine{has("server", "m")}, embedded: has("embedded", "x"), model: "y", err: engine.ErrNoModel},
		"configured":                             {address: "a:1", servers: []engine.Engine{has("server", "m")}, embedded: has("embedded", "m"), preferred: true, want: "configured"},
		"configured and away":                    {address: "a:1", connect: engine.ErrNoEngine, embedded: has("embedded", "m"), err: engine.ErrNoEngine},
		"configured, and only elsewhere a model": {address: "a:1", embedded: has("embedded", "x"), model: "x", err: engine.ErrNoModel},
	} {
		t.Run(name, func(t *testing.T) {
			e := New(Options{
				Configured: func() (Server, error) { return Server{Address: c.address}, nil },
				Connect: func(context.Context, Server) (engine.Engine, error) {
					if c.connect != nil {
						return nil, c.connect
					}
					return has("configured", "m"), nil
				},
				Detect:    func(context.Context) []engine.Engine { return c.servers },
				Embedded:  c.embedded,
				Preferred: func() bool { return c.preferred },
			})
			defer e.Close()
			s, err := e.Open(t.Context(), c.model)
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("%v, want %v", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := s.Info().Description; got != c.want {
				t.Errorf("it is %q, want %q", got, c.want)
			}
		})
	}
}

// counted counts its Close.
type counted struct {
	*enginetest.Engine
	closed int
}

func (c *counted) Close() error { c.closed++; return nil }

// A server is one engine, however often it is found: its models have one queue each.
func TestKeep(t *testing.T) {
	var found []*counted
	embedded := &counted{Engine: has("embedded")}
	e := New(Options{
		Configured: func() (Server, error) { return Server{}, nil },
		Detect: func(context.Context) []engine.Engine {
			found = append(found, &counted{Engine: has("server", "m")})
			return []engine.Engine{found[len(found)-1]}
		},
		Embedded:  embedded,
		Preferred: func() bool { return false },
	})
	for range 3 {
		s, err := e.Open(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if found[0].closed != 0 || found[1].closed != 1 || found[2].closed != 1 {
		t.Errorf("closed: %d, %d, %d", found[0].closed, found[1].closed, found[2].closed)
	}
	if err := e.Close(); err != nil || found[0].closed != 1 || embedded.closed != 1 {
		t.Errorf("after Close: %v, %d, %d", err, found[0].closed, embedded.closed)
	}
	if _, err := e.Open(t.Context(), ""); !errors.Is(err, engine.ErrNoEngine) {
		t.Errorf("opened after Close: %v", err)
	}
}
