package infer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
	"github.com/sheaf-fs/sheaf/infer/sources"
)

// sized opens a scripted model with a context of n tokens, of four bytes each.
func sized(t *testing.T, n int) engine.Session {
	t.Helper()
	e := &enginetest.Engine{List: []engine.Info{{Name: "m", ContextSize: n}}}
	s, err := e.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func source(name string, lines int) sources.Source {
	s := sources.NewSource(name, strings.Repeat("a line of sixteen\n", lines))
	s.Named = !strings.HasPrefix(name, "dir/")
	return s
}

// said are n turns, the last a question; each takes about 30 tokens.
func said(n int) (out []conversation.Said) {
	for i := range n {
		out = append(out, conversation.Said{Role: conversation.Role((n - 1 - i) % 2), Text: fmt.Sprintf("turn %d %s", i, strings.Repeat("word ", 20))})
	}
	return out
}

func TestFit(t *testing.T) {
	for name, c := range map[string]struct {
		size    int
		p       prompt
		read    string
		left    string
		dropped int
	}{
		"all":             {4096, prompt{said: said(5), sources: []sources.Source{source("b", 2), source("a", 2)}}, "b a", "", 0},
		"oldest first":    {400, prompt{said: said(21)}, "", "", 14},
		"turns for files": {1000, prompt{said: said(41), sources: []sources.Source{source("a", 90)}}, "a", "", 34},
		"cut":             {1000, prompt{said: said(1), sources: []sources.Source{source("a", 4000), source("b", 2)}}, "b a:1-137", "", 0},
		"not cut":         {1000, prompt{said: said(1), sources: []sources.Source{source("dir/a", 400), source("b", 2)}}, "b", "dir/a (no room: it takes 1820 tokens, 640 are left)", 0},
		"said before":     {4096, prompt{said: said(1), left: []sources.Left{{Path: "x", Why: "not text"}}}, "", "x (not text)", 0},
	} {
		f, err := c.p.fit(t.Context(), sized(t, c.size))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var read []string
		for _, s := range f.read {
			read = append(read, s.Name())
		}
		f2 := f
		f2.dropped = 0
		left := strings.Join(leftNames(f2), ", ")
		if got := strings.Join(read, " "); got != c.read || left != c.left || f.dropped != c.dropped {
			t.Errorf("%s: read %q, left out %q, %d turns dropped", name, got, left, f.dropped)
		}
		s := sized(t, c.size)
		n, _ := s.Measure(t.Context(), f.request)
		if n+f.request.MaxTokens > c.size {
			t.Errorf("%s: %d tokens and %d for the answer", name, n, f.request.MaxTokens)
		}
		if f.request.Turns[0].Role != engine.User {
			t.Errorf("%s: begins with %v", name, f.request.Turns[0])
		}
	}
	_, err := prompt{said: []conversation.Said{{Text: strings.Repeat("word ", 1000)}}}.fit(t.Context(), sized(t, 400))
	if e := (*engine.Error)(nil); !errors.Is(err, engine.ErrContextFull) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("a question that does not fit: %v", err)
	}
	_, err = prompt{said: said(1), settings: conversation.Settings{MaxTokens: 1 << 30}}.fit(t.Context(), sized(t, 400))
	if err != nil {
		t.Errorf("a large max_tokens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (prompt{said: said(1)}).fit(ctx, failing{sized(t, 400)}); err == nil {
		t.Error("an engine that cannot count")
	}
}

type failing struct{ engine.Session }

func (failing) Measure(ctx context.Context, _ engine.Request) (int, error) { return 0, ctx.Err() }

// What was read before comes first and stays the same, so that an engine need
// not read it again for the next question.
func TestPrefixIsStable(t *testing.T) {
	d := one(t)
	d.save("b.md", nil, "beta\n")
	d.save("a.md", nil, "alpha\n")
	d.says("A")
	d.save("q.ask", nil, "@b.md\n")
	d.untilState("q.ask", Done)
	d.edit("q.ask", func(s string) string { return s + "and?\n" })
	d.until("answered", func() bool { return len(d.engine.Requests()) == 2 && d.state("q.ask") == Done })
	r := d.engine.Requests()
	if r[0].System != r[1].System || r[0].Turns[0] != r[1].Turns[0] || !strings.Contains(r[0].Turns[0].Text, "beta") {
		t.Errorf("%q\n%q", r[0].Turns, r[1].Turns)
	}
	if s := d.text("q.ask"); strings.Count(s, "> sheaf: read b.md (") != 2 {
		t.Errorf("%q", s)
	}
}
