package control

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveHome answers on a home's socket until the test ends.
func serveHome(t *testing.T, home string, methods map[string]Handler) {
	t.Helper()
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(methods, As)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { s.Close(); <-done })
}

func TestCall(t *testing.T) {
	type in struct{ Name string }
	type out struct{ Greeting string }
	home := t.TempDir()
	gone := make(chan struct{})
	serveHome(t, home, map[string]Handler{
		"greet": Handle(func(_ context.Context, i in, say func(string)) (out, error) {
			say("thinking")
			say("of " + i.Name)
			return out{"hello " + i.Name}, nil
		}),
		"refuse": Handle(func(context.Context, struct{}, func(string)) (out, error) {
			return out{}, Errorf(Exists, "two\nlines").WithHint("a hint")
		}),
		"hang": Handle(func(ctx context.Context, _ struct{}, say func(string)) (out, error) {
			say("hanging")
			<-ctx.Done()
			close(gone)
			return out{}, ctx.Err()
		}),
	})
	c := NewClient(home)
	ctx := context.Background()

	var got out
	var talk []string
	if err := c.Call(ctx, "greet", in{"ada"}, &got, func(s string) { talk = append(talk, s) }); err != nil {
		t.Fatal(err)
	}
	if got.Greeting != "hello ada" || strings.Join(talk, " ") != "thinking of ada" {
		t.Errorf("got %q after %q", got.Greeting, talk)
	}

	err := c.Call(ctx, "refuse", struct{}{}, nil, nil)
	if e := As(err); e.Kind != Exists || e.Message != "two lines" || e.Hint != "a hint" {
		t.Errorf("refuse: %+v", e)
	}
	if e := As(c.Call(ctx, "nonsense", struct{}{}, nil, nil)); e.Kind != Failure || !strings.Contains(e.Message, "nonsense") {
		t.Errorf("unknown method: %+v", e)
	}
	if e := As(c.Call(ctx, "greet", []int{1}, nil, nil)); e.Kind != Usage {
		t.Errorf("malformed request: %+v", e)
	}

	// A caller that goes away cancels the work.
	hang, cancel := context.WithCancel(ctx)
	err = c.Call(hang, "hang", struct{}{}, nil, func(string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the daemon's side was not cancelled")
	}
}

func TestLongSocketPath(t *testing.T) {
	home := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	serveHome(t, home, map[string]Handler{
		"ping": Handle(func(context.Context, struct{}, func(string)) (string, error) { return "pong", nil }),
	})
	var got string
	if err := NewClient(home).Call(context.Background(), "ping", struct{}{}, &got, nil); err != nil || got != "pong" {
		t.Fatalf("got %q, %v", got, err)
	}
	fi, err := os.Stat(SocketPath(home))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", fi.Mode(), err)
	}
}

func TestDeadSocketIsReplaced(t *testing.T) {
	home := t.TempDir()
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if Answers(context.Background(), home) {
		t.Error("a closed socket answers")
	}
	l, err = Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !Answers(context.Background(), home) {
		t.Error("a new socket does not answer")
	}
}

func TestServerEnds(t *testing.T) {
	home := t.TempDir()
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	var s *http.Server
	s = NewServer(map[string]Handler{
		"die": Handle(func(context.Context, struct{}, func(string)) (string, error) {
			s.Close()
			return "", nil
		}),
	}, As)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	e := As(NewClient(home).Call(context.Background(), "die", struct{}{}, nil, nil))
	if e == nil || e.Kind != Failure || !strings.Contains(e.Message, home) {
		t.Errorf("got %+v", e)
	}
	<-done
}
