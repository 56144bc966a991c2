package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/internal/gate"
)

// openAI is a server that speaks OpenAI's protocol.
type openAI struct {
	client
	mu    sync.Mutex
	gates map[string]*gate.Gate
}

func (e *openAI) Name() string { return e.name }

func (e *openAI) Close() error {
	e.http.CloseIdleConnections()
	return nil
}

type modelList struct {
	Object string `json:"object"`
	Data   []struct {
		ID       string `json:"id"`
		OwnedBy  string `json:"owned_by"`
		MaxModel int    `json:"max_model_len"` // vLLM
		Meta     struct {
			Size int64 `json:"size"`
		} `json:"meta"` // llama-server
	} `json:"data"`
}

func (e *openAI) list(ctx context.Context) (modelList, error) {
	var l modelList
	err := e.ask(ctx, http.MethodGet, "/v1/models", "", nil, &l)
	return l, err
}

func (e *openAI) Models(ctx context.Context) ([]engine.Info, error) {
	l, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	var out []engine.Info
	for _, m := range l.Data {
		// LM Studio lists embedders beside models.
		if m.ID != "" && !strings.Contains(m.ID, "embed") {
			out = append(out, engine.Info{Name: m.ID, Description: m.OwnedBy, Size: m.Meta.Size, Estimated: true})
		}
	}
	return out, nil
}

func (e *openAI) Open(ctx context.Context, model string) (engine.Session, error) {
	l, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	s := &openAISession{e: e, info: engine.Info{Name: model, Estimated: true, ContextSize: e.o.Context}}
	found := false
	for _, m := range l.Data {
		if s.info.Name == "" && !strings.Contains(m.ID, "embed") {
			s.info.Name = m.ID
		}
		if m.ID != "" && m.ID == s.info.Name {
			found = true
			s.info.Description, s.info.Size = m.OwnedBy, m.Meta.Size
			if m.MaxModel > 0 {
				s.info.ContextSize = m.MaxModel
			}
		}
	}
	if !found {
		return nil, e.fail(model, engine.ErrNoModel, nil)
	}
	e.mu.Lock()
	if _, ok := e.gates[s.info.Name]; !ok {
		e.gates[s.info.Name] = gate.New()
	}
	s.gate = e.gates[s.info.Name]
	e.mu.Unlock()
	if err := s.learn(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

type openAISession struct {
	e        *openAI
	info     engine.Info
	gate     *gate.Gate
	llamaCPP bool // llama-server: it tokenizes, and reuses prompts when asked
}

// learn asks what the common protocol does not tell: how long a context is, and
// whether the server tokenizes. Only a server that ended is an error.
func (s *openAISession) learn(ctx context.Context) error {
	var props struct {
		Settings struct {
			Context int `json:"n_ctx"`
		} `json:"default_generation_settings"`
	}
	// A service that was configured is told no more than the protocol needs.
	if !loopback(s.e.base.Hostname()) && s.e.key != "" {
		return nil
	}
	if s.e.ask(ctx, http.MethodGet, "/props", s.info.Name, nil, &props) == nil && props.Settings.Context > 0 {
		s.llamaCPP, s.info.ContextSize = true, props.Settings.Context
		if _, err := s.tokenize(ctx, "x"); err == nil {
			s.info.Estimated = false
		}
		return context.Cause(ctx)
	}
	var studio struct {
		Max    int    `json:"max_context_length"`
		Loaded int    `json:"loaded_context_length"`
		Arch   string `json:"arch"`
		Quant  string `json:"quantization"`
	}
	if s.e.ask(ctx, http.MethodGet, "/api/v0/models/"+url.PathEscape(s.info.Name), s.info.Name, nil, &studio) == nil {
		if studio.Loaded > 0 {
			s.info.ContextSize = studio.Loaded
		} else if studio.Max > 0 {
			s.info.ContextSize = min(studio.Max, s.e.o.Context)
		}
		s.info.Description = strings.TrimSpace(studio.Arch + " " + studio.Quant)
	}
	return context.Cause(ctx)
}

func (s *openAISession) Info() engine.Info { return s.info }
func (s *openAISession) Close() error      { return nil }

func (s *openAISession) tokenize(ctx context.Context, text string) (int, error) {
	var got struct {
		Tokens []json.RawMessage `json:"tokens"`
	}
	err := s.e.ask(ctx, http.MethodPost, "/tokenize", s.info.Name, map[string]any{"content": text, "parse_special": false}, &got)
	return len(got.Tokens), err
}

func (s *openAISession) Count(ctx context.Context, text string) (int, error) {
	if s.info.Estimated || text == "" {
		return estimate(text), nil
	}
	return s.tokenize(ctx, text)
}

func (s *openAISession) Measure(ctx context.Context, r engine.Request) (int, error) {
	if s.info.Estimated {
		return estimateRequest(r), nil
	}
	var all strings.Builder
	all.WriteString(r.System)
	for _, t := range r.Turns {
		all.WriteByte('\n')
		all.WriteString(t.Text)
	}
	n, err := s.tokenize(ctx, all.String())
	return n + 16 + 8*len(r.Turns), err
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// messages is the same in both protocols.
func messages(r engine.Request) []message {
	var out []message
	if strings.TrimSpace(r.System) != "" {
		out = append(out, message{"system", defuse(r.System)})
	}
	for _, t := range r.Turns {
		out = append(out, message{t.Role.String(), defuse(t.Text)})
	}
	return out
}

// control matches what the vocabularies in use have as control tokens. Servers
// tokenize prompts with these live: a text could end its turn and begin another.
var control = regexp.MustCompile(`<[|｜][^|｜<>\n]{1,64}[|｜]>|</?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|turn)>|` +
	`\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>`)

// defuse puts a space into every control token, so that it is text again.
func defuse(text string) string {
	return control.ReplaceAllStringFunc(text, func(token string) string { return token[:1] + " " + token[1:] })
}

type chatRequest struct {
	Model       string    `json:"model"`
	Messages    []message `json:"messages"`
	Stream      bool      `json:"stream"`
	Options     *usage    `json:"stream_options,omitempty"`
	Temperature float64   `json:"temperature"`
	MaxTokens   int       `json:"max_tokens,omitempty"`
	Seed        uint32    `json:"seed,omitempty"`
	Cache       *bool     `json:"cache_prompt,omitempty"`
}

type usage struct {
	Include bool `json:"include_usage"`
}

type chatEvent struct {
	Choices []struct {
		Delta struct {
			Content rawString `json:"content"`
		} `json:"delta"`
		Finish string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt  int `json:"prompt_tokens"`
		Answer  int `json:"completion_tokens"`
		Details struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Error json.RawMessage `json:"error"`
}

func (s *openAISession) Generate(ctx context.Context, r engine.Request, emit func(string) error) (engine.Stats, error) {
	if err := s.e.fits(s.info, r); err != nil {
		return engine.Stats{Reason: engine.Failed}, err
	}
	if err := s.gate.Enter(ctx, r.Progress); err != nil {
		return engine.Stats{Reason: engine.Cancelled}, err
	}
	defer s.gate.Leave()

	body := chatRequest{Model: s.info.Name, Messages: messages(r), Stream: true, Options: &usage{true},
		Temperature: r.Temperature, MaxTokens: r.MaxTokens, Seed: r.Seed}
	if s.llamaCPP {
		reuse := !r.Cold
		body.Cache = &reuse
	}
	a := newAnswer(r.Stop, emit)
	complete := false
	err := s.e.stream(ctx, "/v1/chat/completions", s.info.Name, body, func(line []byte) error {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			// Comments and other fields of the event stream; an error may come bare.
			if line[0] == '{' {
				return s.e.said(s.info.Name, 0, readError(line))
			}
			return nil
		}
		data = bytes.TrimSpace(data)
		if bytes.Equal(data, []byte("[DONE]")) {
			complete = true
			return errDone
		}
		var ev chatEvent
		if err := json.Unmarshal(data, &ev); err != nil {
			return s.e.fail(s.info.Name, engine.ErrProtocol, err)
		}
		if len(ev.Error) > 0 && !bytes.Equal(ev.Error, []byte("null")) {
			return s.e.said(s.info.Name, 0, readError(data))
		}
		if u := ev.Usage; u != nil {
			a.stats.PromptTokens, a.stats.AnswerTokens, a.stats.Reused = u.Prompt, u.Answer, u.Details.Cached
		}
		for _, c := range ev.Choices {
			if err := a.out.Write([]byte(c.Delta.Content)); err != nil {
				return err
			}
			if c.Finish != "" {
				a.finish, complete = c.Finish, true
			}
		}
		return nil
	})
	return a.end(ctx, &s.e.client, s.info.Name, err, complete)
}
