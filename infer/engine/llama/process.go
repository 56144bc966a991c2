package llama

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// process is a running child. It ends by kill, by itself, or because it was
// silent or stuck; dead is closed then and every call has its end.
type process struct {
	cmd    *exec.Cmd
	pipe   pipe
	outbox *mailbox[frame]
	words  *tail // what it printed last
	o      *Options

	loading func(done, total int) // hears of loading; called by the reader
	ready   chan struct{}         // closed when info is set
	info    ready
	dead    chan struct{}
	err     error // why, once dead; an *engine.Error without names

	mu     sync.Mutex
	next   uint64
	calls  map[uint64]*call
	heard  time.Time // when the last frame came, or the first call began
	moved  time.Time // when it last made progress
	steps  int64
	why    error // why it is being killed
	reason error // how loading failed
}

// call is a request that the child has.
type call struct {
	id     uint64
	frames *mailbox[frame]
	over   func() // called once, when the child is done with it or dead
}

// start begins a child; it may still fail to load.
func start(o *Options, l load, loading func(done, total int)) (*process, error) {
	cmd := o.Command()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, pipe: pipe{in: out, out: in}, outbox: newMailbox[frame](), words: &tail{}, o: o, loading: loading,
		ready: make(chan struct{}), dead: make(chan struct{}), calls: map[uint64]*call{}, heard: time.Now(), moved: time.Now()}
	cmd.Stderr = p.words
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.outbox.put(frame{Do: doLoad, Load: &l})
	go p.write(in)
	go p.read()
	go p.watch()
	return p, nil
}

// write sends what is in the outbox; a child that does not read stops only this.
func (p *process) write(in io.Closer) {
	defer in.Close()
	for {
		select {
		case <-p.outbox.wake:
		case <-p.dead:
			return
		}
		for _, f := range p.outbox.take() {
			if p.pipe.send(f) != nil {
				return // the reader learns why
			}
		}
	}
}

func (p *process) read() {
	for {
		f, err := p.pipe.receive()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.kill(err) // it sends garbage
			}
			break
		}
		p.handle(f)
	}
	_ = p.cmd.Process.Kill() // it closed its output: nothing more can come
	werr := p.cmd.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.reason != nil:
		p.err = p.reason
	case p.why != nil:
		p.err = &engine.Error{Kind: engine.ErrEngineDied, Err: p.why}
	default:
		if w := p.words.last(); w != "" {
			werr = fmt.Errorf("%w: %s", orExited(werr), w)
		}
		p.err = &engine.Error{Kind: engine.ErrEngineDied, Err: orExited(werr)}
	}
	close(p.dead)
	for id, c := range p.calls {
		delete(p.calls, id)
		c.over()
	}
}

func orExited(err error) error {
	if err == nil {
		return errors.New("the process ended")
	}
	return err
}

func (p *process) handle(f frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now()
	switch {
	case f.Do == isBeat:
		if f.N != p.steps {
			p.steps, p.moved = f.N, p.heard
		}
	case f.Do == isLoading:
		p.moved = p.heard
		p.loading(int(f.N), int(f.Total))
	case f.Do == isReady && f.Ready != nil && !p.isReady():
		p.info = *f.Ready
		close(p.ready)
	case f.Do == isDone && f.ID == 0:
		p.reason = &engine.Error{Kind: f.Kind.err(), Err: errors.New(oneLine(f.Text))}
		_ = p.cmd.Process.Kill()
	default:
		p.moved = p.heard
		c := p.calls[f.ID]
		if c == nil {
			return // the caller left
		}
		c.frames.put(f)
		if f.Do == isDone || f.Do == isCounted {
			delete(p.calls, f.ID)
			c.over()
		}
	}
}

func (p *process) isReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// watch kills a child that is silent or stuck while something is asked of it.
func (p *process) watch() {
	tick := time.NewTicker(min(p.o.Silence, p.o.Stall) / 4)
	defer tick.Stop()
	for {
		select {
		case <-p.dead:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		asked := len(p.calls) > 0 || !p.isReady()
		silent, stuck := time.Since(p.heard), time.Since(p.moved)
		p.mu.Unlock()
		switch {
		case asked && silent > p.o.Silence:
			p.kill(fmt.Errorf("it was silent for %v", silent.Round(time.Millisecond)))
		case asked && stuck > p.o.Stall:
			p.kill(fmt.Errorf("it made no progress for %v", stuck.Round(time.Millisecond)))
		}
	}
}

// kill ends the child without waiting; nil is a good reason.
func (p *process) kill(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil {
		p.why = why
	}
	_ = p.cmd.Process.Kill()
}

// call hands a request to the child. over is called once, at its end, by another
// goroutine or by this one.
func (p *process) call(f frame, over func()) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &call{frames: newMailbox[frame](), over: over}
	select {
	case <-p.dead:
		over()
		return c
	default:
	}
	if len(p.calls) == 0 && p.isReady() {
		p.heard, p.moved = time.Now(), time.Now()
	}
	p.next++
	c.id = p.next
	p.calls[c.id] = c
	f.ID = c.id
	p.outbox.put(f)
	return c
}

// tail keeps the end of what a child prints.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b) - tailSize; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(b), nil
}

// last returns the line that says most: the start of a crash, else the last.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := ""
	for line := range bytes.Lines(t.b) {
		s := strings.TrimSpace(string(line))
		switch {
		case s == "":
		case strings.HasPrefix(s, "SIG"), strings.HasPrefix(s, "fatal error:"), strings.HasPrefix(s, "panic:"), strings.Contains(s, "GGML_ASSERT"):
			return oneLine(s)
		default:
			found = s
		}
	}
	return oneLine(found)
}

// oneLine makes what a child says fit for an error.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\ufffd")), " ")
	if len(s) > 400 {
		s = strings.ToValidUTF8(s[:400], "") + "…"
	}
	return s
}
