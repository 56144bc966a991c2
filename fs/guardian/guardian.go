package guardian

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

var (
	// ErrClosed is what a poke reports when its mount or guardian was closed first.
	ErrClosed = errors.New("guardian closed")
	// ErrGone is what a poke reports when the guardian process died before it answered.
	ErrGone = errors.New("guardian process gone")
	// ErrTimeout is what a poke reports when it was not answered in time.
	ErrTimeout = errors.New("guardian did not answer in time")
	// ErrFull is what a poke reports when too many are waiting.
	ErrFull = errors.New("too many pokes waiting")
)

const (
	beatEvery      = time.Second
	defaultSilence = 30 * time.Second
	defaultIdle    = 5 * time.Second
	answerWithin   = 2 * time.Second // an answer to a poke, and an orderly end
	backWithin     = 2 * time.Second // pokes wait so long for a guardian that died to be back
)

// Options say how the guardian is started and what it does when the daemon dies.
type Options struct {
	Exe     string   // program of the guardian; empty: this program
	Args    []string // its arguments, such as {"guardian", "--home", dir}
	Restart []string // the whole command that starts the daemon again; empty: never
	// Alive says whether the daemon still does its work; while it is false no
	// heartbeat is sent. It may block. nil: alive as long as the process runs.
	Alive func() bool
	// Silence is how long the daemon may send no heartbeat before it counts as hung
	// and is killed, whatever it does; 0: 30 seconds. Idle is the same for a daemon that
	// neither computes nor waits for a disk, which busyness cannot explain; 0: 5 seconds.
	// Time in which the guardian did not run either, as on a suspended machine, is not counted.
	Silence, Idle time.Duration
	Logger        *slog.Logger
}

// Guardian is the daemon's hold on its guardian process. All methods may be called
// from any goroutine.
type Guardian struct {
	o      Options
	log    *slog.Logger
	done   chan struct{} // closed by Close
	wg     sync.WaitGroup
	closed sync.Once

	mu      sync.Mutex
	child   *child        // nil between two children
	lost    time.Time     // when the last one died
	changed chan struct{} // closed, and replaced, when a child takes up a mount
	mounts  map[int]*Mount
	next    int
}

// child is one guardian process.
type child struct {
	cmd  *exec.Cmd
	out  *line
	in   io.ReadCloser
	stop io.Closer // its standard input
	gone chan struct{}

	mu      sync.Mutex
	seq     uint64
	waiting map[uint64]chan syscall.Errno
}

// Start starts the guardian process. It should run before anything is mounted, so
// that no mount is ever without one. A guardian that dies is started again.
func Start(o Options) (*Guardian, error) {
	if o.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("start guardian: %w", err)
		}
		o.Exe = exe
	}
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	if o.Idle == 0 {
		o.Idle = min(defaultIdle, o.Silence)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guardian{o: o, log: o.Logger, done: make(chan struct{}), changed: make(chan struct{}), mounts: map[int]*Mount{}}
	c, err := g.spawn()
	if err != nil {
		return nil, err
	}
	g.child = c
	g.wg.Go(func() { g.keep(c) })
	g.wg.Go(g.beat)
	return g, nil
}

// PID is the process id of the guardian now, 0 while there is none.
func (g *Guardian) PID() int {
	if c := g.current(); c != nil {
		return c.cmd.Process.Pid
	}
	return 0
}

// Close ends the guardian process in an orderly way: it unmounts nothing and starts
// nothing. The daemon's mounts should be unmounted before.
func (g *Guardian) Close() error {
	g.closed.Do(func() { close(g.done) })
	g.mu.Lock()
	c := g.child
	mounts := make([]*Mount, 0, len(g.mounts))
	for _, m := range g.mounts {
		mounts = append(mounts, m)
	}
	g.mu.Unlock()
	for _, m := range mounts {
		m.Close()
	}
	if c != nil {
		c.end()
	}
	g.wg.Wait()
	return nil
}

func (g *Guardian) current() *child {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.child
}

// childOf returns the child once it has taken up the mount, so that its calls are known by
// their thread; nil if there is none by then, or the mount's pokes are stopped.
func (g *Guardian) childOf(m *Mount, by time.Time) *child {
	late := time.NewTimer(time.Until(by))
	defer late.Stop()
	for {
		g.mu.Lock()
		c, changed := g.child, g.changed
		armed := c != nil && m.armed == c
		g.mu.Unlock()
		if armed {
			return c
		}
		select {
		case <-changed:
		case <-late.C:
			return nil
		case <-m.stop:
			return nil
		case <-g.done:
			return nil
		}
	}
}

// awaited is until when pokes wait for a child. A guardian that does not come up again keeps
// them waiting once, not each of them.
func (g *Guardian) awaited() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost.IsZero() || fault.On("guardian-forgets") {
		return time.Now()
	}
	return g.lost.Add(backWithin)
}

func (g *Guardian) spawn() (*child, error) {
	cmd := exec.Command(g.o.Exe, g.o.Args...)
	cmd.Dir = "/" // a working directory inside a mount would keep it busy
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start guardian: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start guardian: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start guardian: %w", err)
	}
	c := &child{cmd: cmd, out: newLine(stdin), in: stdout, stop: stdin,
		gone: make(chan struct{}), waiting: map[uint64]chan syscall.Errno{}}
	// A child that cannot be spoken to is noticed by keep, which reads its end.
	_ = c.out.send(message{Do: "hello", Daemon: os.Getpid(), Restart: g.o.Restart, Silence: g.o.Silence, Idle: g.o.Idle})
	return c, nil
}

// keep reads the child's answers, and replaces a child that died.
func (g *Guardian) keep(c *child) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, maxDelay) {
		born := time.Now()
		g.listen(c)
		_ = c.cmd.Wait()
		g.mu.Lock()
		g.child, g.lost = nil, time.Now()
		for _, m := range g.mounts {
			m.tid.Store(0) // another process may be given its number
		}
		g.mu.Unlock()
		close(c.gone)
		if time.Since(born) > settled {
			wait = 100 * time.Millisecond
		}
		for {
			select {
			case <-g.done:
				return
			case <-time.After(wait):
			}
			next, err := g.spawn()
			if err == nil {
				c = next
				break
			}
			g.log.Warn("guardian does not start", "err", err)
			wait = maxDelay
		}
		g.log.Warn("guardian died and was started again", "pid", c.cmd.Process.Pid)
		g.mu.Lock()
		g.child = c
		for _, m := range g.mounts {
			_ = c.out.send(message{Do: "mount", Mount: m.id, Point: []byte(m.point), Device: m.device})
		}
		g.mu.Unlock()
		select {
		case <-g.done: // Close may have missed this child
			c.end()
		default:
		}
	}
}

func (g *Guardian) listen(c *child) {
	dec := json.NewDecoder(c.in)
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			return
		}
		switch m.Do {
		case "mounted":
			g.mu.Lock()
			if mt := g.mounts[m.Mount]; mt != nil {
				mt.tid.Store(uint32(m.TID))
				mt.armed = c
				close(g.changed)
				g.changed = make(chan struct{})
			}
			g.mu.Unlock()
		case "done":
			c.mu.Lock()
			ch := c.waiting[m.Seq]
			delete(c.waiting, m.Seq)
			c.mu.Unlock()
			if ch != nil {
				ch <- m.Errno
			}
		}
	}
}

func (g *Guardian) beat() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.done:
			return
		case <-tick.C:
		}
		if g.o.Alive != nil && !g.o.Alive() {
			continue
		}
		if c := g.current(); c != nil {
			_ = c.out.send(message{Do: "beat"})
		}
	}
}

// do has the child carry out one poke and waits for its answer.
func (c *child) do(m message) error {
	ch := make(chan syscall.Errno, 1)
	c.mu.Lock()
	c.seq++
	m.Seq = c.seq
	c.waiting[m.Seq] = ch
	c.mu.Unlock()
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	// One that cannot be spoken to is about to be missed.
	_ = c.out.send(m)
	select {
	case n := <-ch:
		if n != 0 {
			return n
		}
		return nil
	case <-c.gone:
		return ErrGone
	case <-late.C:
		c.mu.Lock()
		delete(c.waiting, m.Seq)
		c.mu.Unlock()
		return ErrTimeout
	}
}

// end asks the child to leave, and kills it when it does not.
func (c *child) end() {
	_ = c.out.send(message{Do: "quit"})
	_ = c.stop.Close()
	select {
	case <-c.gone:
	case <-time.After(answerWithin):
		_ = c.cmd.Process.Kill()
	}
}
