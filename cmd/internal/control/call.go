package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// A reply is a stream of JSON lines: any number of say and piece, then one result or error.
type line struct {
	Say    string          `json:"say,omitempty"`
	Piece  string          `json:"piece,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// maxRequest bounds what a request may send: paths and flags, and a text to ask about
// (MaxText), which JSON makes up to six times as long.
const maxRequest = 1<<20 + 6*MaxText

// Client calls the daemon of one home.
type Client struct {
	home string
	http *http.Client
}

// NewClient makes a client of the home's daemon; it connects with the first call.
func NewClient(home string) *Client {
	return &Client{home: home, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, home) },
		// One command is one call.
		DisableKeepAlives: true,
	}}}
}

// Call asks the daemon for method with in (JSON), passes its talk to say as it comes, and
// decodes the result into out unless that is nil. Cancelling ctx cancels the work.
func (c *Client) Call(ctx context.Context, method string, in, out any, say func(string)) error {
	return c.Stream(ctx, method, in, out, say, nil)
}

// Stream is Call for a method whose data comes in pieces before the result. An error from
// piece cancels the work and is returned.
func (c *Client) Stream(ctx context.Context, method string, in, out any, say func(string), piece func(string) error) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sheaf/v1/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.lost(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Errorf(Failure, "the daemon of %s does not know %q (%s)", c.home, method, resp.Status).
			WithHint("it is another version than this command: sheaf up replaces it, then the command again")
	}
	d := json.NewDecoder(resp.Body)
	for {
		var l line
		if err := d.Decode(&l); err != nil {
			return c.lost(ctx, err)
		}
		switch {
		case l.Error != nil:
			return l.Error
		case l.Result != nil:
			if out == nil {
				return nil
			}
			return json.Unmarshal(l.Result, out)
		case l.Piece != "" && piece != nil:
			if err := piece(l.Piece); err != nil {
				return err
			}
		case l.Say != "" && say != nil:
			say(l.Say)
		}
	}
}

// ErrLost is in the chain of errors of calls whose daemon went away before it replied:
// what was asked for may have been done or not.
var ErrLost = errors.New("the daemon went away")

// lost says that the daemon went away in the middle of a call.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := Errorf(Failure, "the daemon of %s ended before it answered", c.home).WithHint("its last words are in %s/log", c.home)
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		e = Errorf(Failure, "the daemon of %s does not answer: %s", c.home, oneLine(err.Error()))
	}
	return fmt.Errorf("%w: %w", ErrLost, e)
}

// Handler does one method: in is the request's JSON; t talks to the caller meanwhile, from
// any goroutine until Handler returns. ctx ends when the caller goes away.
type Handler func(ctx context.Context, in json.RawMessage, t Talk) (any, error)

// Talk is what goes to the caller before the result. Calls after the caller went away do
// nothing.
type Talk struct {
	Say   func(string) // for a person to read
	Piece func(string) // data, as it is made
}

// Handle makes a Handler from a function of typed request and reply.
func Handle[In, Out any](fn func(ctx context.Context, in In, say func(string)) (Out, error)) Handler {
	return HandleStream(func(ctx context.Context, in In, t Talk) (Out, error) { return fn(ctx, in, t.Say) })
}

// HandleStream is Handle for a function whose data comes in pieces.
func HandleStream[In, Out any](fn func(ctx context.Context, in In, t Talk) (Out, error)) Handler {
	return func(ctx context.Context, raw json.RawMessage, t Talk) (any, error) {
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, Errorf(Usage, "malformed request: %v", err)
		}
		return fn(ctx, in, t)
	}
}

// NewServer serves the methods. Every error a Handler returns passes through explain,
// which gives it a kind and a hint.
func NewServer(methods map[string]Handler, explain func(error) *Error) *http.Server {
	mux := http.NewServeMux()
	for name, h := range methods {
		mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
			serve(w, r, h, explain)
		})
	}
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
}

func serve(w http.ResponseWriter, r *http.Request, h Handler, explain func(error) *Error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "request too large or cut off", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	var mu sync.Mutex
	send := func(l line) {
		mu.Lock()
		defer mu.Unlock()
		// A caller that went away is noticed through its context.
		if json.NewEncoder(w).Encode(l) == nil {
			_ = http.NewResponseController(w).Flush()
		}
	}
	out, err := h(r.Context(), raw, Talk{
		Say:   func(s string) { send(line{Say: s}) },
		Piece: func(s string) { send(line{Piece: s}) },
	})
	if err != nil {
		e := *explain(err)
		e.Message, e.Hint = oneLine(e.Message), oneLine(e.Hint)
		send(line{Error: &e})
		return
	}
	result, err := json.Marshal(out)
	if err != nil {
		send(line{Error: As(fmt.Errorf("encode reply: %w", err))})
		return
	}
	send(line{Result: result})
}
