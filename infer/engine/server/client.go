package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// client speaks HTTP to one server and turns its failures into kinds.
type client struct {
	name string
	base *url.URL
	key  string
	http *http.Client
	o    Options
}

func (c *client) fail(model string, kind, err error) error {
	e := &engine.Error{Engine: c.name, Model: model, Kind: kind, Err: err}
	switch kind {
	case engine.ErrNoEngine:
		e.Hint = "start the server, or take its address out of the configuration"
	case engine.ErrNoModel:
		e.Hint = "sheaf model list shows what there is"
	}
	return e
}

// transport gives the error of a request that got no answer its kind.
func (c *client) transport(ctx context.Context, model string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errSilent) {
		return cause
	}
	if cause := context.Cause(ctx); cause != nil {
		return c.fail(model, engine.ErrEngineDied, cause)
	}
	// The address is in the engine's name already.
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return c.fail(model, engine.ErrNoEngine, err)
	}
	return c.fail(model, engine.ErrEngineDied, err)
}

func (c *client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(body); err != nil {
			return nil, err
		}
		r = &buf
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), r)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	// Servers close idle connections at any moment. This, which is not sent, lets
	// net/http send a request again that met one before it had an answer.
	req.Header["Idempotency-Key"] = nil
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	return req, nil
}

// ask sends one question and decodes one JSON answer within askLimit.
func (c *client) ask(ctx context.Context, method, path, model string, body, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askLimit, errSilent)
	defer cancel()
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return c.fail(model, engine.ErrProtocol, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.transport(ctx, model, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.status(model, resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return c.transport(ctx, model, err)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return c.fail(model, engine.ErrProtocol, err)
	}
	return nil
}

// status reads an answer that is an error.
func (c *client) status(model string, resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	said := readError(b)
	if said.text == "" {
		said.text = resp.Status
	}
	return c.said(model, resp.StatusCode, said)
}

// said gives an error that a server put into words its kind. code is 0 for one
// in the middle of an answer.
func (c *client) said(model string, code int, s said) error {
	text, err := strings.ToLower(s.text+" "+s.kind), errors.New(s.text)
	switch {
	case strings.Contains(text, "exceed_context") || strings.Contains(text, "context_length_exceeded") ||
		strings.Contains(text, "context") && (strings.Contains(text, "exceed") || strings.Contains(text, "too long") ||
			strings.Contains(text, "maximum") || strings.Contains(text, "overflow") || strings.Contains(text, "greater than")):
		return c.fail(model, engine.ErrContextFull, err)
	case strings.Contains(text, "model") && (strings.Contains(text, "not found") || strings.Contains(text, "does not exist") ||
		strings.Contains(text, "not_found") || strings.Contains(text, "no models loaded")):
		return c.fail(model, engine.ErrNoModel, err)
	case code == 0 || code >= 500:
		return c.fail(model, engine.ErrEngineDied, err)
	default:
		return c.fail(model, engine.ErrRefused, err)
	}
}

// said is an error in a server's words.
type said struct{ text, kind string }

// readError finds the words in {"error": "…"}, {"error": {"message": …}},
// {"message": …} or plain text, one line of it.
func readError(b []byte) said {
	var o struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  string          `json:"detail"`
	}
	var s said
	if json.Unmarshal(b, &o) != nil {
		s.text = string(b)
	} else if json.Unmarshal(o.Error, &s.text) != nil {
		var in struct {
			Message string `json:"message"`
			Type    string `json:"type"`
			Code    any    `json:"code"`
		}
		_ = json.Unmarshal(o.Error, &in)
		s = said{text: in.Message, kind: strings.TrimSpace(fmt.Sprint(in.Type, " ", in.Code))}
		for _, t := range []string{o.Message, o.Detail} {
			if s.text == "" {
				s.text = t
			}
		}
	}
	s.text, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(s.text, "\ufffd")), "\n")
	if len(s.text) > 400 {
		s.text = strings.ToValidUTF8(s.text[:400], "") + "…"
	}
	return s
}

var errSilent = errors.New("the server sends nothing any more")

// stream posts body and calls line for each line of the answer that is not
// empty, until it returns an error. A clean end of the stream is nil: whether
// the answer was whole is for the caller to know.
func (c *client) stream(ctx context.Context, path, model string, body any, line func([]byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.o.FirstByte, func() { cancel(errSilent) })
	defer watch.Stop()

	resp, err := c.post(ctx, path, model, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		b, err := readLine(in)
		if len(b) > 0 {
			watch.Stop() // the caller may take its time
			if err := line(b); err != nil {
				return err
			}
			watch.Reset(c.o.Silence)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errLine):
			return c.fail(model, engine.ErrProtocol, err)
		default:
			return c.transport(ctx, model, err)
		}
	}
}

// post sends body until the server takes it: one that is loading its model says
// 503 and is asked again, until the watch of stream ends it.
func (c *client) post(ctx context.Context, path, model string, body any) (*http.Response, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		req, err := c.request(ctx, http.MethodPost, path, body)
		if err != nil {
			return nil, c.fail(model, engine.ErrProtocol, err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, c.transport(ctx, model, err)
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		err = c.status(model, resp)
		loading := resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(strings.ToLower(err.Error()), "loading")
		resp.Body.Close()
		if !loading {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, c.transport(ctx, model, ctx.Err())
		}
	}
}

var errLine = fmt.Errorf("a line of more than %d bytes", maxLine)

// readLine returns a line without its end and the space around it.
func readLine(in *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		b, err := in.ReadSlice('\n')
		if len(long)+len(b) > maxLine {
			return nil, errLine
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, b...)
			continue
		}
		if long != nil {
			b = append(long, b...)
		}
		return bytes.TrimSpace(b), err
	}
}
