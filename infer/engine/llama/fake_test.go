package llama

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/llama/internal/native"
)

// fakeOut is where a fake child's frames go.
var fakeOut *os.File

// The tests' child is this test binary: with a fake model, or with the real
// library.
const childEnv = "SHEAF_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "fake":
		out, err := takeOutput(os.Stdout)
		fakeOut = out
		if err == nil {
			err = runChild(os.Stdin, out, loadFake)
		}
		exit(err)
	case "real":
		exit(Run(os.Stdin, os.Stdout))
	case "probed":
		go probe(os.Getenv("SHEAF_TEST_SECRET"), os.NewFile(3, "result"))
		exit(Run(os.Stdin, os.Stdout))
	}
}

// probe tries, in a child that runs the real library, to open a file that it was not
// given, and to make a socket, until it is refused, and then other things. What it could do it
// writes to result. Files and system calls are refused one after the other, so it waits for both.
func probe(secret string, result *os.File) {
	defer result.Close()
	until := func(try func() (io.Closer, error)) {
		for {
			c, err := try()
			if errors.Is(err, os.ErrPermission) {
				return
			}
			if err == nil {
				c.Close()
			}
			time.Sleep(time.Millisecond)
		}
	}
	until(func() (io.Closer, error) { return os.Open(secret) })
	until(func() (io.Closer, error) { return net.Dial("udp", "127.0.0.1:9") })
	if f, err := os.Create(secret + ".new"); err == nil {
		f.Close()
		fmt.Fprintln(result, "made a file")
	}
	if _, err := os.ReadDir(filepath.Dir(secret)); err == nil {
		fmt.Fprintln(result, "listed a directory")
	}
	fmt.Fprintln(result, "refused")
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func childCommand(mode string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{childEnv + "=" + mode, "GGML_NO_BACKTRACE=1", "GOTRACEBACK=none"}
		return cmd
	}
}

// fakeModel has the bytes as tokens, and two control tokens. What it does is
// written in its prompt.
type fakeModel struct {
	past  []int32
	stop  atomic.Bool
	steps atomic.Uint64
	do    string
	eval  int // since the prompt
}

const (
	fakeContext = 2048
	imStart     = 256
	imEnd       = 257
)

func loadFake(c native.Config) (backend, error) {
	switch filepath.Base(c.Model) {
	case "missing":
		return nil, fmt.Errorf("%w: %s: cannot be opened\nby anybody", native.ErrModel, c.Model)
	case "nolib":
		return nil, fmt.Errorf("%w: too old", native.ErrLibrary)
	case "crash":
		fmt.Fprintln(os.Stderr, "GGML_ASSERT(n > 0) failed\nmore words")
		os.Exit(3)
	case "stuck":
		select {}
	}
	c.Progress(0)
	c.Progress(0.5)
	return &fakeModel{}, nil
}

func (m *fakeModel) Description() string      { return "a fake" }
func (m *fakeModel) ContextSize() int         { return fakeContext }
func (m *fakeModel) Steps() uint64            { return m.steps.Load() }
func (m *fakeModel) Stop(on bool)             { m.stop.Store(on) }
func (m *fakeModel) Abortable(bool)           {}
func (m *fakeModel) SetThreads(int)           {}
func (m *fakeModel) Sampling(float64, uint32) {}
func (m *fakeModel) IsEnd(id int32) bool      { return id == imEnd }
func (m *fakeModel) BOS() (int32, bool)       { return 0, false }
func (m *fakeModel) State() []byte            { return tokensToBytes(m.past) }
func (m *fakeModel) Controls() []native.Control {
	return []native.Control{{ID: imStart, Text: "<|im_start|>"}, {ID: imEnd, Text: "<|im_end|>"}}
}

func tokensToBytes(tokens []int32) []byte {
	var b []byte
	for _, t := range tokens {
		b = append(b, byte(t), byte(t>>8))
	}
	return b
}

func (m *fakeModel) SetState(b []byte) bool {
	m.past = m.past[:0]
	for i := 0; i+1 < len(b); i += 2 {
		m.past = append(m.past, int32(b[i])|int32(b[i+1])<<8)
	}
	return true
}

func (m *fakeModel) Tokenize(text string) []int32 {
	var out []int32
	for _, c := range []byte(text) {
		out = append(out, int32(c))
	}
	return out
}

func (m *fakeModel) Piece(id int32) []byte {
	if id >= imStart {
		return nil
	}
	return []byte{byte(id)}
}

func (m *fakeModel) Render(msgs []native.Message) (string, bool) { return chatML(msgs), true }

func (m *fakeModel) Rewind(n int) int {
	m.past = m.past[:min(n, len(m.past))]
	return len(m.past)
}

func (m *fakeModel) Eval(tokens []int32) error {
	if len(tokens) > 1 {
		m.eval = 0
		text := string(plain(append(m.past, tokens...)))
		m.do = ""
		if _, after, ok := strings.Cut(text[strings.LastIndex(text, "user\n")+1:], "!"); ok {
			m.do, _, _ = strings.Cut(after, " ")
		}
	} else {
		m.eval++
	}
	step := func() error {
		m.steps.Add(1)
		if m.stop.Load() {
			return native.ErrAborted
		}
		return nil
	}
	switch {
	case m.do == "slowprompt" && len(tokens) > 1:
		for range 1000 {
			time.Sleep(5 * time.Millisecond)
			if err := step(); err != nil {
				return err
			}
		}
	case m.do == "crash" && m.eval == 3:
		fmt.Println("printed where frames go")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case m.do == "hang" && m.eval == 3: // deaf to Stop, and beats go on
		select {}
	case m.do == "freeze" && m.eval == 3: // no beats either
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {} // other threads may stop a little later
	case m.do == "garbage" && m.eval == 3:
		_, _ = fakeOut.Write(bytes.Repeat([]byte{0xff}, 64))
	case m.do == "fail" && m.eval == 3:
		return fmt.Errorf("decode returned -3")
	case m.do == "slow":
		time.Sleep(2 * time.Millisecond)
	}
	if err := step(); err != nil {
		return err
	}
	m.past = append(m.past, tokens...)
	return nil
}

func plain(tokens []int32) []byte {
	var b []byte
	for _, t := range tokens {
		if t < imStart {
			b = append(b, byte(t))
		}
	}
	return b
}

// Sample makes a text of euro signs, a byte at a time, that depends on how far
// the context is.
func (m *fakeModel) Sample() (int32, error) {
	const text = "€ a €\x00 "
	if m.do == "end" && m.eval >= 4 {
		return imEnd, nil
	}
	return int32(text[m.eval%len(text)]), nil
}

// newFake returns an engine whose models are fakes that load as their names say.
func newFake(t *testing.T, o Options, models ...string) *Engine {
	t.Helper()
	o.Library = func() (string, error) { return "", nil }
	o.Models = func() ([]Model, error) {
		var out []Model
		for _, m := range models {
			out = append(out, Model{Name: m, Path: "/models/" + m})
		}
		return out, nil
	}
	o.Command = childCommand("fake")
	e := New(o)
	t.Cleanup(func() { e.Close() })
	return e
}

func openModel(t *testing.T, e *Engine, model string) engine.Session {
	t.Helper()
	s, err := e.Open(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// say asks one question.
func say(t *testing.T, s engine.Session, text string, max int) (string, engine.Stats, error) {
	t.Helper()
	var b strings.Builder
	st, err := s.Generate(t.Context(), engine.Request{Turns: []engine.Turn{{Text: text}}, MaxTokens: max},
		func(p string) error { b.WriteString(p); return nil })
	return b.String(), st, err
}
