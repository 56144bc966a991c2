package llama

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sheaf-fs/sheaf/infer/confine"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/llama/internal/native"
)

const beatEvery = 250 * time.Millisecond

// backend is a loaded model: native.Model, or one of the tests'.
type backend interface {
	vocabulary
	Description() string
	ContextSize() int
	Steps() uint64
	Stop(on bool)
	Abortable(on bool)
	SetThreads(n int)
	Eval(tokens []int32) error
	Rewind(n int) int
	State() []byte
	SetState(b []byte) bool
	Sampling(temperature float64, seed uint32)
	Sample() (int32, error)
	IsEnd(id int32) bool
	Piece(id int32) []byte
}

// Run is the child process: it reads requests from in and writes answers to out
// until in ends, and does nothing else. Its caller must end the process when it
// returns, because native code may still be running then.
func Run(in io.Reader, out io.Writer) error {
	if f, ok := out.(*os.File); ok {
		// Whatever native code prints must not end up between frames.
		own, err := takeOutput(f)
		if err != nil {
			return err
		}
		out = own
	}
	return runChild(in, out, func(c native.Config) (backend, error) {
		// What runs from here on is not ours, and reads what strangers made.
		if err := confine.To(needed(c.Library, c.Model)...); err != nil {
			return nil, fmt.Errorf("%w: %w", native.ErrLibrary, err)
		}
		return native.Load(c)
	})
}

// needed are the paths that a child reads: the library and those that it takes along, the
// model, and what tells how many threads to compute with.
func needed(library, model string) []string {
	list := append(confine.Libraries(), library, model, "/proc/stat", "/proc/loadavg", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system")
	// A large model may come in several files, of which the first is the one that is named.
	if m := parts.FindStringSubmatch(model); m != nil {
		more, _ := filepath.Glob(escape.Replace(m[1]) + "-[0-9][0-9][0-9][0-9][0-9]-of-" + m[2] + ".gguf")
		list = append(list, more...)
	}
	return list
}

var (
	parts  = regexp.MustCompile(`^(.*)-\d{5}-of-(\d{5})\.gguf$`)
	escape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`) // in a pattern
)

// child is the one model of a process.
type child struct {
	pipe
	loader func(native.Config) (backend, error)
	loads  atomic.Uint64 // steps of loading
	active atomic.Int32  // of loading, counting and answering

	mu        sync.Mutex
	model     backend         // nil until loaded
	current   uint64          // the request being answered
	cancelled map[uint64]bool // requests not to be answered any more
	prompts   *prompter       // guarded by promptMu
	promptMu  sync.Mutex
	work      chan frame // for the thread of the model
	counts    chan frame // for the counting goroutine
}

func runChild(in io.Reader, out io.Writer, loader func(native.Config) (backend, error)) error {
	c := &child{pipe: pipe{in: in, out: out}, loader: loader, cancelled: map[uint64]bool{},
		work: make(chan frame, 256), counts: make(chan frame, 256)}
	first, err := c.receive()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if first.Do != doLoad || first.Load == nil {
		return errors.New("the first frame loads no model")
	}
	lowerPriority(first.Load.Nice)
	c.active.Add(1)
	go c.beat()
	go c.run(first.Load)
	for {
		f, err := c.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch f.Do {
		case doCancel:
			c.cancel(f.ID)
		case doGenerate:
			c.work <- f
		case doCount, doMeasure:
			c.counts <- f
		default:
			return fmt.Errorf("frame %d is not for a child", f.Do)
		}
	}
}

func (c *child) cancel(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == c.current && c.model != nil {
		c.model.Stop(true)
	} else {
		c.cancelled[id] = true
	}
}

// begin makes id the current request; it is false if that was cancelled.
func (c *child) begin(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancelled[id] {
		delete(c.cancelled, id)
		return false
	}
	c.current = id
	c.model.Stop(false)
	return true
}

func (c *child) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = 0
	clear(c.cancelled) // the parent asks for one answer at a time
}

// beat tells the parent that this process lives and how far it came.
func (c *child) beat() {
	for range time.Tick(beatEvery) {
		c.mu.Lock()
		n := c.loads.Load()
		if c.model != nil {
			n += c.model.Steps()
		}
		c.mu.Unlock()
		if c.active.Load() > 0 && c.send(frame{Do: isBeat, N: int64(n)}) != nil {
			return
		}
	}
}

// run is the thread that the model belongs to.
func (c *child) run(l *load) {
	runtime.LockOSThread()
	cores := newCores(l.Threads)
	last := -1
	m, err := c.loader(native.Config{Library: l.Library, Model: l.Model, Context: l.Context, Threads: cores.threads(),
		Progress: func(part float32) bool {
			c.loads.Add(1)
			if n := int(part * 20); n != last {
				last = n
				return c.send(frame{Do: isLoading, N: int64(n), Total: 20}) == nil
			}
			return true
		}})
	if err != nil {
		k := kindFailed
		switch {
		case errors.Is(err, native.ErrLibrary):
			k = kindLibrary
		case errors.Is(err, native.ErrModel):
			k = kindModel
		}
		_ = c.send(frame{Do: isDone, Kind: k, Text: err.Error()})
		return
	}
	a := &answerer{child: c, model: m, cores: cores, memory: l.Memory}
	c.prompts = newPrompter(m)
	c.mu.Lock()
	c.model = m
	c.mu.Unlock()
	c.active.Add(-1)
	go c.count()
	if c.send(frame{Do: isReady, Ready: &ready{Description: m.Description(), Context: m.ContextSize()}}) != nil {
		return
	}
	for {
		idle := time.NewTimer(parkAfter)
		select {
		case f := <-c.work:
			idle.Stop()
			a.answer(f)
		case <-idle.C:
			a.park()
			a.answer(<-c.work)
		}
	}
}

// count answers what needs the vocabulary only, also while an answer is made.
func (c *child) count() {
	for f := range c.counts {
		c.active.Add(1)
		n := 0
		if f.Do == doMeasure && f.Ask != nil {
			n = len(c.tokens(f.Ask))
		} else {
			n = len(c.model.Tokenize(f.Text))
		}
		c.active.Add(-1)
		if c.send(frame{Do: isCounted, ID: f.ID, N: int64(n)}) != nil {
			return
		}
	}
}

func (c *child) tokens(a *ask) []int32 {
	c.promptMu.Lock()
	defer c.promptMu.Unlock()
	return c.prompts.prompt(a)
}

// answerer makes answers on the model's thread.
type answerer struct {
	*child
	model  backend
	cores  *cores
	past   []int32 // what the context holds
	parked []place // of other conversations, the latest last
	memory int64   // bytes that parked may take
}

// shortEval is how long an evaluation may take without being abortable.
const shortEval = 15 * time.Millisecond

func (a *answerer) answer(f frame) {
	if f.Ask == nil || !a.begin(f.ID) {
		_ = a.send(frame{Do: isDone, ID: f.ID, Kind: kindCancelled, Stats: &stats{Reason: engine.Cancelled}})
		return
	}
	a.active.Add(1)
	defer a.active.Add(-1)
	defer a.end()
	st := &stats{Reason: engine.Failed}
	err := a.generate(f.ID, f.Ask, st)
	done := frame{Do: isDone, ID: f.ID, Stats: st}
	switch {
	case err == nil:
	case errors.Is(err, native.ErrAborted):
		st.Reason, done.Kind = engine.Cancelled, kindCancelled
	case errors.Is(err, engine.ErrContextFull):
		done.Kind, done.Text = kindFull, err.Error()
	default:
		done.Kind, done.Text = kindFailed, err.Error()
	}
	if err != nil {
		// An evaluation that did not end well leaves more in the context than
		// we know of.
		a.past = a.past[:a.model.Rewind(len(a.past))]
	}
	_ = a.send(done)
}

func (a *answerer) generate(id uint64, q *ask, st *stats) error {
	start := time.Now()
	prompt := a.tokens(q)
	size := a.model.ContextSize()
	st.Prompt = len(prompt)
	if len(prompt) == 0 {
		return errors.New("the prompt has no tokens")
	}
	if len(prompt) >= size {
		return &fullError{len(prompt), size}
	}
	st.Reused = a.reuse(prompt, q.Cold)
	a.model.Abortable(true)
	for n := st.Reused; n < len(prompt); {
		st.Threads = a.cores.threads()
		a.model.SetThreads(st.Threads)
		next := prompt[n:min(n+native.MaxBatch, len(prompt))]
		if err := a.model.Eval(next); err != nil {
			return err
		}
		a.past = append(a.past, next...)
		n += len(next)
		if n < len(prompt) {
			if err := a.send(frame{Do: isReading, ID: id, N: int64(n), Total: int64(len(prompt))}); err != nil {
				return err
			}
		}
	}
	st.Reading = time.Since(start)

	limit := size - len(prompt)
	if q.MaxTokens > 0 {
		limit = min(limit, q.MaxTokens)
	}
	var text []byte
	var made []int32
	defer func() {
		a.promptMu.Lock()
		defer a.promptMu.Unlock()
		a.prompts.remember(string(text), made)
	}()
	a.model.Sampling(q.Temperature, q.Seed)
	first, took := time.Now(), time.Duration(0)
	for {
		token, err := a.model.Sample()
		if err != nil {
			return err
		}
		if a.model.IsEnd(token) {
			st.Reason = engine.Stopped
			return nil
		}
		piece := a.model.Piece(token)
		if err := a.send(frame{Do: isPiece, ID: id, Data: piece}); err != nil {
			return err
		}
		text, made = append(text, piece...), append(made, token)
		st.Answer, st.Decode = len(made), time.Since(first)
		if len(made) >= limit {
			st.Reason = engine.Length
			return nil
		}
		if n := a.cores.threads(); n != st.Threads {
			st.Threads = n
			a.model.SetThreads(n)
		}
		a.model.Abortable(took > shortEval)
		before := time.Now()
		if err := a.model.Eval(made[len(made)-1:]); err != nil {
			return err
		}
		took = time.Since(before)
		a.past = append(a.past, token)
	}
}

type fullError struct{ prompt, size int }

func (e *fullError) Error() string {
	return fmt.Sprintf("a prompt of %d tokens, a context of %d", e.prompt, e.size)
}

func (e *fullError) Unwrap() error { return engine.ErrContextFull }
