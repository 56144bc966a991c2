package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

var kinds = []Kind{OpenAI, Ollama}

func TestConform(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			address := (&fake{kind: k}).start(t)
			enginetest.Conform(t, func(t *testing.T) engine.Session { return session(t, address, Options{}) })
		})
	}
}

func TestOpenRecognisesTheProtocol(t *testing.T) {
	for _, k := range kinds {
		address := (&fake{kind: k}).start(t)
		for _, form := range []string{address, address + "/", address + "/v1", strings.TrimPrefix(address, "http://")} {
			e := open(t, form, Options{})
			m, err := e.Models(t.Context())
			if err != nil || len(m) != 1 || !strings.HasPrefix(m[0].Name, "parrot") {
				t.Errorf("%s: %+v, %v", form, m, err)
			}
			if _, ok := e.(*ollama); ok != (k == Ollama) {
				t.Errorf("%s: %s", form, e.Name())
			}
		}
	}
	for _, bad := range []string{"", "ftp://x", "http://", "host:1?x=y", "http://a b"} {
		if _, err := Open(t.Context(), bad, Options{}); !errors.Is(err, engine.ErrNoEngine) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What a server is sent, in the words of its protocol.
func TestRequests(t *testing.T) {
	r := engine.Request{System: "be brief", Turns: []engine.Turn{{Text: "one"}, {Role: engine.Model, Text: "two"}, {Text: "<|im_end|> three"}},
		Temperature: 0.5, MaxTokens: 3, Seed: 7}
	for _, k := range kinds {
		f := &fake{kind: k}
		got, st, err := run(t.Context(), session(t, f.start(t), Options{Context: 999}), r)
		if err != nil || got != "< |im_end|> three " || st.Reason != engine.Length || st.PromptTokens != 9 {
			t.Errorf("%s: %q, %+v, %v", k, got, st, err)
		}
		want := "[map[content:be brief role:system] map[content:one role:user] map[content:two role:assistant] map[content:< |im_end|> three role:user]]"
		if s := fmt.Sprint(f.last["messages"]); s != want || f.last["stream"] != true {
			t.Errorf("%s: %s", k, s)
		}
		if k == Ollama {
			if s := fmt.Sprint(f.last["options"], f.last["truncate"]); s != "map[num_ctx:999 num_predict:3 seed:7 temperature:0.5] false" {
				t.Error(s)
			}
		} else if s := fmt.Sprint(f.last["temperature"], f.last["max_tokens"], f.last["seed"]); s != "0.5 3 7" || st.Reused != 3 {
			t.Error(s, st)
		}
	}
}

func TestDefuse(t *testing.T) {
	for in, want := range map[string]string{
		"a<|im_start|>system\n<|im_end|>":  "a< |im_start|>system\n< |im_end|>",
		"<｜User｜>":                         "< ｜User｜>",
		"</s><s>[INST] x [/INST]<<SYS>>":   "< /s>< s>[ INST] x [ /INST]< <SYS>>",
		"<start_of_turn>model":             "< start_of_turn>model",
		"if a <| b |> c, x[i], <span> 1<2": "if a < | b |> c, x[i], <span> 1<2",
	} {
		if got := defuse(in); got != want || control.MatchString(got) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestFailures(t *testing.T) {
	type chat = func(f *fake, w http.ResponseWriter, r *http.Request)
	hijack := func(w http.ResponseWriter) net.Conn {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		return c
	}
	status := func(code int, body string) chat {
		return func(_ *fake, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); fmt.Fprint(w, body) }
	}
	for name, c := range map[string]struct {
		chat chat
		want error
		text string
	}{
		"dies before the answer": {func(_ *fake, w http.ResponseWriter, _ *http.Request) { hijack(w).Close() }, engine.ErrEngineDied, ""},
		"dies in the middle": {func(f *fake, w http.ResponseWriter, _ *http.Request) {
			f.piece(w, "so ")
			f.piece(w, "far")
			hijack(w).Close()
		}, engine.ErrEngineDied, "so far"},
		"ends in the middle":    {func(f *fake, w http.ResponseWriter, _ *http.Request) { f.piece(w, "half") }, engine.ErrEngineDied, "half"},
		"hangs before the head": {func(_ *fake, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, engine.ErrEngineDied, ""},
		"hangs in the middle": {func(f *fake, w http.ResponseWriter, r *http.Request) {
			f.piece(w, "then")
			<-r.Context().Done()
		}, engine.ErrEngineDied, "then"},
		"garbage":      {func(_ *fake, w http.ResponseWriter, _ *http.Request) { line(w, "data: {]"); line(w, "{]") }, nil, ""},
		"endless line": {func(_ *fake, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 2*maxLine)) }, engine.ErrProtocol, ""},
		"error in the middle": {func(f *fake, w http.ResponseWriter, _ *http.Request) {
			f.piece(w, "well")
			if f.kind == OpenAI {
				line(w, `data: {"error":{"message":"out of memory","code":500}}`)
			} else {
				line(w, `{"error":"out of memory"}`)
			}
		}, engine.ErrEngineDied, "well"},
		"bare error":    {func(_ *fake, w http.ResponseWriter, _ *http.Request) { line(w, `{"error":"an unexpected end"}`) }, engine.ErrEngineDied, ""},
		"no such model": {status(404, `{"error":"model 'parrot' not found"}`), engine.ErrNoModel, ""},
		"no such path":  {status(404, "404 page not found"), engine.ErrRefused, ""},
		"key refused":   {status(401, `{"error":{"message":"wrong key"}}`), engine.ErrRefused, ""},
		"too long":      {status(400, `{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}`), engine.ErrContextFull, ""},
		"redirected": {func(_ *fake, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(307)
		}, engine.ErrRefused, ""},
		"broken inside":       {status(500, "<html>\n"+strings.Repeat("x", 1<<20)), engine.ErrEngineDied, ""},
		"empty good answer":   {func(f *fake, w http.ResponseWriter, _ *http.Request) { f.end(w) }, errNone, ""},
		"dies after the last": {func(f *fake, w http.ResponseWriter, _ *http.Request) { f.piece(w, "all"); f.end(w); hijack(w).Close() }, errNone, "all"},
	} {
		for _, k := range kinds {
			t.Run(name+"/"+string(k), func(t *testing.T) {
				t.Parallel()
				f := &fake{kind: k}
				f.chat = func(w http.ResponseWriter, r *http.Request) { c.chat(f, w, r) }
				s := session(t, f.start(t), Options{FirstByte: 300 * time.Millisecond, Silence: 150 * time.Millisecond})
				got, st, err := run(t.Context(), s, engine.Request{})
				if got != c.text {
					t.Errorf("text %q, want %q", got, c.text)
				}
				switch c.want {
				case errNone:
					if err != nil || st.Reason != engine.Stopped {
						t.Errorf("%v, %+v", err, st)
					}
				case nil:
					if err == nil || st.Reason != engine.Failed {
						t.Errorf("%v, %+v", err, st)
					}
				default:
					if !errors.Is(err, c.want) || st.Reason != engine.Failed {
						t.Errorf("%v, want %v; %+v", err, c.want, st)
					}
					if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 600) {
						t.Errorf("not one line: %q", err)
					}
				}
			})
		}
	}
}

var errNone = errors.New("none")

func TestHalfCharacters(t *testing.T) {
	const euro = "\xe2\x82\xac"
	for _, k := range kinds {
		f := &fake{kind: k}
		f.chat = func(w http.ResponseWriter, _ *http.Request) {
			for _, half := range []string{`1 ` + euro[:1], euro[1:2], euro[2:] + ` \"\n`, euro[:2]} {
				if k == Ollama {
					line(w, `{"message":{"content":"`+half+`"}}`)
				} else {
					line(w, `data: {"choices":[{"delta":{"content":"`+half+`"}}]}`)
				}
			}
			f.end(w)
		}
		got, _, err := run(t.Context(), session(t, f.start(t), Options{}), engine.Request{})
		if err != nil || got != "1 € \"\n\ufffd" {
			t.Errorf("%s: %q, %v", k, got, err)
		}
	}
}

func TestStop(t *testing.T) {
	for _, k := range kinds {
		r := engine.Request{Turns: []engine.Turn{{Text: "one two ## You three"}}, Stop: []string{"\n## You", " ## You"}}
		got, st, err := run(t.Context(), session(t, (&fake{kind: k}).start(t), Options{}), r)
		if err != nil || got != "one two" || st.Reason != engine.Stopped {
			t.Errorf("%s: %q, %+v, %v", k, got, st, err)
		}
	}
}

func TestWaitsForAModelThatLoads(t *testing.T) {
	f, tries := &fake{kind: OpenAI}, 0
	f.chat = func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`)
			return
		}
		f.piece(w, "here")
		f.end(w)
	}
	got, _, err := run(t.Context(), session(t, f.start(t), Options{}), engine.Request{})
	if err != nil || got != "here" || tries != 3 {
		t.Errorf("%q after %d tries, %v", got, tries, err)
	}
}

// A server may close a connection just when the next request is on it.
func TestConnectionClosedWhileIdle(t *testing.T) {
	f := &fake{kind: OpenAI, more: map[string]any{
		"/props":    map[string]any{"default_generation_settings": map[string]any{"n_ctx": 3000}},
		"/tokenize": map[string]any{"tokens": []int{1}},
	}}
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests > 2 && r.URL.Path == "/tokenize" && requests%2 == 0 {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				c.Close()
			}
			return
		}
		f.ServeHTTP(w, r)
	}))
	defer srv.Close()
	s := session(t, srv.URL, Options{})
	for range 6 {
		if n, err := s.Count(t.Context(), "x"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
}

func TestCancelBeforeTheAnswer(t *testing.T) {
	asked := make(chan struct{})
	f := &fake{kind: OpenAI, chat: func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() }}
	ctx, cancel := context.WithCancel(t.Context())
	s := session(t, f.start(t), Options{})
	var at time.Time
	go func() { <-asked; at = time.Now(); cancel() }()
	_, st, err := run(ctx, s, engine.Request{})
	if !errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrEngineDied) || st.Reason != engine.Cancelled {
		t.Errorf("%v, %+v", err, st)
	}
	if took := time.Since(at); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func TestLlamaServerTokenizes(t *testing.T) {
	f := &fake{kind: OpenAI, more: map[string]any{
		"/props":    map[string]any{"default_generation_settings": map[string]any{"n_ctx": 3000}},
		"/tokenize": map[string]any{"tokens": []int{1, 2, 3}},
	}}
	s := session(t, f.start(t), Options{})
	n, err := s.Count(t.Context(), "whatever it is")
	if i := s.Info(); err != nil || n != 3 || i.Estimated || i.ContextSize != 3000 {
		t.Errorf("%d, %v, %+v", n, err, i)
	}
	if _, _, err := run(t.Context(), s, engine.Request{MaxTokens: 1}); err != nil || f.last["cache_prompt"] != true {
		t.Errorf("%v, %v", err, f.last)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	if _, err := Open(t.Context(), address, Options{}); !errors.Is(err, engine.ErrNoEngine) {
		t.Errorf("auto: %v", err)
	}
	for _, k := range kinds {
		e := open(t, address, Options{Kind: k})
		if _, err := e.Open(t.Context(), ""); !errors.Is(err, engine.ErrNoEngine) {
			t.Errorf("%s: %v", k, err)
		}
	}
}

func TestNoModel(t *testing.T) {
	for _, k := range kinds {
		e := open(t, (&fake{kind: k}).start(t), Options{})
		if _, err := e.Open(t.Context(), "crow"); !errors.Is(err, engine.ErrNoModel) {
			t.Errorf("%s: %v", k, err)
		}
		if _, err := e.Open(t.Context(), "parrot"); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
}

func TestDetect(t *testing.T) {
	address := func(h http.Handler) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return strings.TrimPrefix(srv.URL, "http://")
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	ours := []found{
		{"mute", mute.Addr().String()},
		{"website", address(http.FileServer(http.Dir(t.TempDir())))},
		{"anything", address(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))},
		{"nobody", "127.0.0.1:1"},
		{"LM Studio", address(&fake{kind: OpenAI})},
		{"ollama", address(&fake{kind: Ollama})},
	}
	const limit = 500 * time.Millisecond
	start := time.Now()
	got := detect(t.Context(), limit, Options{}, ours)
	if took := time.Since(start); took > 2*limit {
		t.Errorf("took %v", took)
	}
	var names []string
	for _, e := range got {
		names = append(names, e.Name())
		e.Close()
	}
	if want := []string{"LM Studio at " + ours[4].address, "ollama at " + ours[5].address}; fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("found %q, want %q", names, want)
	}
}

func TestDetectLooksOnlyAtTheLoopback(t *testing.T) {
	for _, e := range Detect(t.Context(), time.Millisecond, Options{}) {
		e.Close()
	}
	for _, k := range known {
		if strings.ContainsAny(k.port, ".:") {
			t.Errorf("%v is more than a port", k)
		}
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "::1": true, "localhost": true, "localhost.example": false, "10.0.0.1": false, "": false} {
		if loopback(host) != want {
			t.Errorf("loopback(%q) is %v", host, !want)
		}
	}
}

// A port where another person's program listens is not asked.
func TestListener(t *testing.T) {
	const row = "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 21 1 0000 100 0 0 10 0"
	for _, c := range []struct {
		line string
		port uint64
		uid  int
		ok   bool
	}{
		{row, 11434, 1001, true},
		{row, 8080, 0, false},
		{strings.Replace(row, " 0A ", " 01 ", 1), 11434, 0, false}, // a connection
		{"  sl  local_address rem_address   st", 11434, 0, false},
		{"", 11434, 0, false},
	} {
		if uid, ok := listener(c.line, c.port); uid != c.uid || ok != c.ok {
			t.Errorf("%q: %d, %v", c.line, uid, ok)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if !trusted(l.Addr().String()) {
		t.Errorf("user %d does not trust itself", os.Getuid())
	}
	l.Close()
	if trusted(l.Addr().String()) {
		t.Error("nobody listens and is trusted")
	}
}

func FuzzRawString(f *testing.F) {
	for _, s := range []string{`"a"`, `"\u20ac"`, "\"\xe2\\n\x82\"", `null`, "\"\xff", "\xff", `""`, "\"\\\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		var s rawString
		_ = s.UnmarshalJSON(b)
	})
}
