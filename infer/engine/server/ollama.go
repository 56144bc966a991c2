package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/internal/gate"
)

// ollama speaks Ollama's own protocol: its OpenAI-compatible one takes no
// context size and cuts what is longer without a word.
type ollama struct {
	client
	mu    sync.Mutex
	gates map[string]*gate.Gate
}

func (e *ollama) Name() string { return e.name }

func (e *ollama) Close() error {
	e.http.CloseIdleConnections()
	return nil
}

type tags struct {
	Models []struct {
		Name    string `json:"name"`
		Size    int64  `json:"size"`
		Details struct {
			Family string `json:"family"`
			Params string `json:"parameter_size"`
			Quant  string `json:"quantization_level"`
		} `json:"details"`
	} `json:"models"`
}

func (e *ollama) Models(ctx context.Context) ([]engine.Info, error) {
	var t tags
	if err := e.ask(ctx, http.MethodGet, "/api/tags", "", nil, &t); err != nil {
		return nil, err
	}
	var out []engine.Info
	for _, m := range t.Models {
		// Embedders answer no questions.
		if m.Name == "" || strings.Contains(m.Details.Family, "bert") || strings.Contains(m.Name, "embed") {
			continue
		}
		d := strings.Join(strings.Fields(m.Details.Family+" "+m.Details.Params+" "+m.Details.Quant), " ")
		out = append(out, engine.Info{Name: m.Name, Description: d, Size: m.Size, Estimated: true})
	}
	return out, nil
}

func (e *ollama) Open(ctx context.Context, model string) (engine.Session, error) {
	models, err := e.Models(ctx)
	if err != nil {
		return nil, err
	}
	s := &ollamaSession{e: e}
	for _, m := range models {
		// Ollama adds ":latest" to a name without a tag.
		if model == "" || m.Name == model || m.Name == model+":latest" {
			s.info = m
			break
		}
	}
	if s.info.Name == "" {
		return nil, e.fail(model, engine.ErrNoModel, nil)
	}
	var show struct {
		Info map[string]any `json:"model_info"`
	}
	if err := e.ask(ctx, http.MethodPost, "/api/show", s.info.Name, map[string]string{"model": s.info.Name}, &show); err != nil {
		return nil, err
	}
	s.info.ContextSize = e.o.Context
	for k, v := range show.Info {
		if n, ok := v.(float64); ok && strings.HasSuffix(k, ".context_length") && n >= 1 {
			s.info.ContextSize = min(s.info.ContextSize, int(n))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.gates[s.info.Name]; !ok {
		e.gates[s.info.Name] = gate.New()
	}
	s.gate = e.gates[s.info.Name]
	return s, nil
}

type ollamaSession struct {
	e    *ollama
	info engine.Info
	gate *gate.Gate
}

func (s *ollamaSession) Info() engine.Info { return s.info }
func (s *ollamaSession) Close() error      { return nil }

func (s *ollamaSession) Count(_ context.Context, text string) (int, error) {
	return estimate(text), nil
}

func (s *ollamaSession) Measure(_ context.Context, r engine.Request) (int, error) {
	return estimateRequest(r), nil
}

type ollamaRequest struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
	Stream   bool      `json:"stream"`
	// Newer servers refuse what does not fit instead of cutting it.
	Truncate bool          `json:"truncate"`
	Shift    bool          `json:"shift"`
	Options  ollamaOptions `json:"options"`
}

type ollamaOptions struct {
	Context     int     `json:"num_ctx"`
	Predict     int     `json:"num_predict,omitempty"`
	Temperature float64 `json:"temperature"`
	Seed        uint32  `json:"seed,omitempty"`
}

type ollamaEvent struct {
	Message struct {
		Content rawString `json:"content"`
	} `json:"message"`
	Done       bool            `json:"done"`
	Reason     string          `json:"done_reason"`
	Prompt     int             `json:"prompt_eval_count"`
	PromptTime int64           `json:"prompt_eval_duration"` // nanoseconds
	Answer     int             `json:"eval_count"`
	AnswerTime int64           `json:"eval_duration"` // nanoseconds
	Error      json.RawMessage `json:"error"`
}

func (s *ollamaSession) Generate(ctx context.Context, r engine.Request, emit func(string) error) (engine.Stats, error) {
	if err := s.e.fits(s.info, r); err != nil {
		return engine.Stats{Reason: engine.Failed}, err
	}
	if err := s.gate.Enter(ctx, r.Progress); err != nil {
		return engine.Stats{Reason: engine.Cancelled}, err
	}
	defer s.gate.Leave()

	body := ollamaRequest{Model: s.info.Name, Messages: messages(r), Stream: true,
		Options: ollamaOptions{Context: s.info.ContextSize, Predict: r.MaxTokens, Temperature: r.Temperature, Seed: r.Seed}}
	a := newAnswer(r.Stop, emit)
	complete := false
	err := s.e.stream(ctx, "/api/chat", s.info.Name, body, func(line []byte) error {
		var ev ollamaEvent
		if err := json.Unmarshal(line, &ev); err != nil {
			return s.e.fail(s.info.Name, engine.ErrProtocol, err)
		}
		if len(ev.Error) > 0 && string(ev.Error) != "null" {
			return s.e.said(s.info.Name, 0, readError(line))
		}
		if err := a.out.Write([]byte(ev.Message.Content)); err != nil {
			return err
		}
		if !ev.Done {
			return nil
		}
		complete, a.finish = true, ev.Reason
		a.stats.PromptTokens, a.stats.AnswerTokens = ev.Prompt, ev.Answer
		a.stats.Prompt, a.stats.Decode = time.Duration(ev.PromptTime), time.Duration(ev.AnswerTime)
		return errDone
	})
	return a.end(ctx, &s.e.client, s.info.Name, err, complete)
}
