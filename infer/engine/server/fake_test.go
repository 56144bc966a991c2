package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// fake is a server whose model repeats the last message word by word. chat, if
// set, writes answers instead.
type fake struct {
	kind Kind
	chat func(w http.ResponseWriter, r *http.Request)
	last map[string]any // the last chat request
	more map[string]any // answers to other paths
}

func (f *fake) start(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return srv.URL
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	if v, ok := f.more[r.URL.Path]; ok {
		reply(v)
		return
	}
	switch path := string(f.kind) + r.URL.Path; path {
	case "openai/v1/models":
		reply(map[string]any{"object": "list", "data": []any{
			map[string]any{"id": "text-embedding-x"}, map[string]any{"id": "parrot", "owned_by": "tests"}}})
	case "ollama/api/version":
		reply(map[string]any{"version": "0.17.0"})
	case "ollama/api/tags":
		reply(map[string]any{"models": []any{
			map[string]any{"name": "nomic-embed", "size": 7},
			map[string]any{"name": "parrot:latest", "size": 123, "details": map[string]any{"family": "bird", "parameter_size": "1B"}}}})
	case "ollama/api/show":
		reply(map[string]any{"model_info": map[string]any{"bird.context_length": 2048}})
	case "openai/v1/chat/completions", "ollama/api/chat":
		if f.chat != nil {
			// Only then does the request's context end with its connection.
			_, _ = io.Copy(io.Discard, r.Body)
			f.chat(w, r)
			return
		}
		f.parrot(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) parrot(w http.ResponseWriter, r *http.Request) {
	f.last = nil
	if err := json.NewDecoder(r.Body).Decode(&f.last); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	msgs := f.last["messages"].([]any)
	words := strings.SplitAfter(strings.Repeat(msgs[len(msgs)-1].(map[string]any)["content"].(string)+" ", 100), " ")
	limit, reason := 0.0, "stop"
	if f.kind == Ollama {
		limit, _ = f.last["options"].(map[string]any)["num_predict"].(float64)
	} else {
		limit, _ = f.last["max_tokens"].(float64)
	}
	if n := int(limit); n > 0 && n < len(words) {
		words, reason = words[:n], "length"
	}
	for _, word := range words {
		f.piece(w, word)
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
	if f.kind == Ollama {
		line(w, `{"message":{"content":""},"done":true,"done_reason":%q,"prompt_eval_count":9,"eval_count":%d,"eval_duration":1000000}`, reason, len(words))
		return
	}
	line(w, `data: {"choices":[{"delta":{},"finish_reason":%q}]}`, reason)
	line(w, `data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":3}}}`, len(words))
	line(w, "data: [DONE]")
}

func (f *fake) piece(w http.ResponseWriter, text string) {
	b, _ := json.Marshal(text)
	if f.kind == Ollama {
		line(w, `{"message":{"role":"assistant","content":%s},"done":false}`, b)
	} else {
		line(w, `data: {"choices":[{"delta":{"content":%s},"finish_reason":null}]}`, b)
	}
}

func (f *fake) end(w http.ResponseWriter) {
	if f.kind == Ollama {
		line(w, `{"message":{"content":""},"done":true,"done_reason":"stop"}`)
	} else {
		line(w, `data: [DONE]`)
	}
}

// line sends a line at once; SSE wants an empty one after it, NDJSON bears one.
func line(w http.ResponseWriter, format string, args ...any) {
	fmt.Fprintf(w, format+"\n\n", args...)
	w.(http.Flusher).Flush()
}

func open(t *testing.T, address string, o Options) engine.Engine {
	t.Helper()
	e, err := Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func session(t *testing.T, address string, o Options) engine.Session {
	t.Helper()
	s, err := open(t, address, o).Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run asks the usual question.
func run(ctx context.Context, s engine.Session, r engine.Request) (string, engine.Stats, error) {
	if r.Turns == nil {
		r.Turns = []engine.Turn{{Text: "a question"}}
	}
	var b strings.Builder
	st, err := s.Generate(ctx, r, func(p string) error { b.WriteString(p); return nil })
	return b.String(), st, err
}
