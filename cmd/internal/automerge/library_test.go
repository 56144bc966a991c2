package automerge

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The test binary is the library's process too, one that does as the document says.
func TestMain(m *testing.M) {
	switch os.Getenv("AUTOMERGE_CHILD") {
	case "":
		os.Exit(m.Run())
	case "unable":
		_ = Serve(os.Stdin, os.Stdout, nil)
	case "mute":
		time.Sleep(time.Hour)
	case "garbage":
		os.Stdout.WriteString("GET / HTTP/1.1\r\n\r\n")
	default:
		if err := Confine(0); err != nil { // the race detector wants all there is
			os.Exit(1)
		}
		_ = Serve(os.Stdin, os.Stdout, obey)
	}
	os.Exit(0)
}

func obey(q Query) Answer {
	switch word, rest, _ := strings.Cut(string(q.Document), " "); word {
	case "panic":
		panic("as it was told")
	case "die":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "write":
		if err := os.WriteFile(rest, []byte("x"), 0o600); err != nil {
			return Answer{Refused: "cannot write"}
		}
	case "read":
		if _, err := os.ReadFile(rest); err != nil {
			return Answer{Refused: "cannot read"}
		}
	case "dial":
		if _, err := net.Dial("udp", rest); err != nil {
			return Answer{Refused: "cannot dial"}
		}
	case "lie":
		return Answer{Steps: []Step{{After: []int{7}}}}
	case "long":
		return Answer{Text: strings.Repeat("x", maxFrame)}
	case "refuse":
		return Answer{Refused: rest}
	}
	return Answer{Key: "content", Keys: []string{"content"}, Text: string(q.Document)}
}

func library(mode string, limit time.Duration) *Library {
	return &Library{Time: limit, Command: func() (*exec.Cmd, error) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{"AUTOMERGE_CHILD=" + mode, "GOTRACEBACK=none"}
		return cmd, nil
	}}
}

// Whatever a document does to the library's process, the caller gets an error of a kind, and the
// next document is read.
func TestSurvives(t *testing.T) {
	l := library("obey", 10*time.Minute) // however slow the machine is
	defer l.Close()
	for _, c := range []struct {
		document string
		want     error
	}{
		{"panic", ErrDied}, {"die", ErrDied}, {"lie", ErrDied}, {"long", ErrDied}, {"refuse bad magic", ErrRefused},
		{"write " + t.TempDir() + "/x", ErrRefused},
		{"read /proc/self/status", ErrRefused}, {"dial 127.0.0.1:9", ErrRefused},
	} {
		if _, err := l.Read(t.Context(), Query{Document: []byte(c.document)}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.document, err, c.want)
		}
		if a, err := l.Read(t.Context(), Query{Document: []byte("fine")}); err != nil || a.Text != "fine" {
			t.Fatalf("after %s: %+v, %v", c.document, a, err)
		}
	}
	if _, err := l.Read(t.Context(), Query{Document: make([]byte, MaxDocument+1)}); !errors.Is(err, ErrLarge) {
		t.Error(err)
	}
}

func TestTime(t *testing.T) {
	l := library("obey", 10*time.Minute)
	defer l.Close()
	if _, err := l.Read(t.Context(), Query{Document: []byte("fine")}); err != nil {
		t.Fatal(err) // it runs: what follows is about the document
	}
	l.Time = 50 * time.Millisecond
	if _, err := l.Read(t.Context(), Query{Document: []byte("hang")}); !errors.Is(err, ErrSlow) {
		t.Error(err)
	}
	l.Time = 10 * time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := l.Read(ctx, Query{Document: []byte("hang")}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if a, err := l.Read(t.Context(), Query{Document: []byte("fine")}); err != nil || a.Text != "fine" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestNoLibrary(t *testing.T) {
	for _, mode := range []string{"unable", "garbage", "mute"} {
		limit := 10 * time.Minute
		if mode == "mute" {
			limit = 50 * time.Millisecond
		}
		if _, err := library(mode, limit).Read(t.Context(), Query{}); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	if _, err := new(Library).Read(t.Context(), Query{}); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), Program) {
		t.Errorf("not installed: %v", err)
	}
}

// FuzzAnswer decodes what a library that a document has taken over may say.
func FuzzAnswer(f *testing.F) {
	for _, a := range []Answer{{}, {Refused: "no"}, {Keys: []string{"a"}, Key: "a", Text: "t", Steps: []Step{{}, {After: []int{0}, Text: "t"}}}} {
		var b strings.Builder
		if err := send(&b, a); err != nil {
			f.Fatal(err)
		}
		f.Add(b.String())
	}
	f.Add("\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, s string) {
		var a, again Answer
		if receive(strings.NewReader(s), &a) != nil || a.check() != nil {
			return
		}
		var b strings.Builder
		if err := send(&b, a); err != nil {
			t.Fatal(err)
		}
		if err := receive(strings.NewReader(b.String()), &again); err != nil || !reflect.DeepEqual(normal(a), normal(again)) {
			t.Fatalf("%+v comes back as %+v, %v", a, again, err)
		}
	})
}

// normal makes empty lists of none.
func normal(a Answer) Answer {
	if len(a.Keys) == 0 {
		a.Keys = nil
	}
	if len(a.Steps) == 0 {
		a.Steps = nil
	}
	for i := range a.Steps {
		if len(a.Steps[i].After) == 0 {
			a.Steps[i].After = nil
		}
	}
	return a
}
