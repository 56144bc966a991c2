package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/internal/gate"
)

// errDone ends the reading of a stream whose last event came.
var errDone = errors.New("done")

// Open returns the engine at an address that a person configured: "host:port"
// or a URL. With Auto the server is asked for its protocol, so it must be there
// ([engine.ErrNoEngine] otherwise); with a Kind nothing is sent yet.
func Open(ctx context.Context, address string, o Options) (engine.Engine, error) {
	u, err := parseAddress(address)
	if err != nil {
		return nil, &engine.Error{Kind: engine.ErrNoEngine, Err: err, Hint: "an address is host:port or http://host:port"}
	}
	if o.FirstByte <= 0 {
		o.FirstByte = 10 * time.Minute
	}
	if o.Silence <= 0 {
		o.Silence = time.Minute
	}
	c := client{name: "server at " + u.Host + u.Path, base: u, key: o.Key, http: newClient(u), o: o}
	if o.Kind == Auto {
		if o.Kind, err = c.kind(ctx); err != nil {
			return nil, err
		}
	}
	return c.engine(o.Kind), nil
}

func (c client) engine(k Kind) engine.Engine {
	if k == Ollama {
		c.name = "ollama at " + c.base.Host + c.base.Path
		if c.o.Context <= 0 {
			c.o.Context = 8192
		}
		return &ollama{client: c, gates: map[string]*gate.Gate{}}
	}
	if c.o.Context <= 0 {
		c.o.Context = 4096
	}
	return &openAI{client: c, gates: map[string]*gate.Gate{}}
}

// kind asks a server which protocol it speaks. Ollama speaks both and is
// recognised first.
func (c *client) kind(ctx context.Context) (Kind, error) {
	var v struct {
		Version string `json:"version"`
	}
	err := c.ask(ctx, http.MethodGet, "/api/version", "", nil, &v)
	if err == nil && v.Version != "" {
		var t struct {
			Models *[]struct{} `json:"models"`
		}
		if c.ask(ctx, http.MethodGet, "/api/tags", "", nil, &t) == nil && t.Models != nil {
			return Ollama, nil
		}
	}
	if errors.Is(err, engine.ErrNoEngine) || context.Cause(ctx) != nil {
		return Auto, err
	}
	var l modelList
	if err := c.ask(ctx, http.MethodGet, "/v1/models", "", nil, &l); err != nil {
		return Auto, err
	}
	if l.Object != "list" && len(l.Data) == 0 {
		return Auto, c.fail("", engine.ErrProtocol, errors.New("it speaks neither protocol"))
	}
	return OpenAI, nil
}

// known are the servers that Detect looks for, by their default ports, in the
// order in which one is chosen.
var known = []struct{ name, port string }{
	{"ollama", "11434"},
	{"llama-server", "8080"},
	{"LM Studio", "1234"},
}

// Detect returns the servers that run on this machine now, at their usual ports
// of the loopback addresses. It takes at most limit (0 means 300 ms), whatever
// listens there, and never fails: what does not answer properly is not there.
func Detect(ctx context.Context, limit time.Duration, o Options) []engine.Engine {
	var addrs []found
	for _, k := range known {
		for _, host := range []string{"127.0.0.1", "[::1]"} {
			addrs = append(addrs, found{k.name, host + ":" + k.port})
		}
	}
	return detect(ctx, limit, o, addrs)
}

type found struct{ name, address string }

func detect(ctx context.Context, limit time.Duration, o Options, addrs []found) []engine.Engine {
	if limit <= 0 {
		limit = 300 * time.Millisecond
	}
	probe, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	got := make([]chan engine.Engine, len(addrs))
	for i, a := range addrs {
		got[i] = make(chan engine.Engine, 1)
		go func() {
			defer close(got[i])
			if !trusted(a.address) {
				return
			}
			o := o
			o.Kind, o.Key = Auto, "" // a key is for the address it was configured with
			e, err := Open(probe, a.address, o)
			if err != nil {
				return
			}
			if s, ok := e.(*openAI); ok {
				s.name = a.name + " at " + a.address
			}
			got[i] <- e
		}()
	}
	var out []engine.Engine
	seen := map[string]bool{}
	for i, a := range addrs {
		e, ok := <-got[i]
		if !ok {
			continue
		}
		// One server may listen on both addresses.
		port := a.address[strings.LastIndexByte(a.address, ':'):]
		if seen[port] {
			e.Close()
			continue
		}
		seen[port] = true
		out = append(out, e)
	}
	return out
}
