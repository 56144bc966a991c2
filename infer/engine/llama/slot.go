package llama

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/internal/gate"
)

// slot is a model and the child that runs it, if one does now.
type slot struct {
	e     *Engine
	model Model
	gate  *gate.Gate // one answer at a time

	mu       sync.Mutex
	closed   bool
	p        *process
	starting *starting
	users    int // who hold the process; it is idle at zero
	idle     *time.Timer
}

// starting is a child on its way; all who wait for it share it.
type starting struct {
	done        chan struct{}
	err         error
	mu          sync.Mutex
	step, total int
	heard       chan struct{} // closed and made anew at each step
}

func (s *slot) fail(err error) error {
	if e := (*engine.Error)(nil); errors.As(err, &e) {
		named := *e
		named.Engine, named.Model = name, s.model.Name
		if errors.Is(e.Kind, engine.ErrNoEngine) {
			named.Hint = "sheaf model fetch gets what is missing"
		}
		return &named
	}
	return &engine.Error{Engine: name, Model: s.model.Name, Kind: engine.ErrEngineDied, Err: err}
}

// process returns a child that is ready, starting it if need be. The caller
// holds it until release.
func (s *slot) process(ctx context.Context, progress func(engine.Progress)) (*process, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, errClosed
		}
		if s.p != nil {
			select {
			case <-s.p.dead:
				s.p = nil
			default:
				s.users++
				if s.idle != nil {
					s.idle.Stop()
				}
				p := s.p
				s.mu.Unlock()
				return p, nil
			}
		}
		st := s.starting
		if st == nil {
			st = &starting{done: make(chan struct{}), heard: make(chan struct{})}
			s.starting = st
			go s.start(st)
		}
		s.mu.Unlock()
		if err := st.wait(ctx, progress); err != nil {
			return nil, err
		}
	}
}

// wait returns when the child is there, or not.
func (st *starting) wait(ctx context.Context, progress func(engine.Progress)) error {
	for {
		st.mu.Lock()
		step, total, heard := st.step, st.total, st.heard
		st.mu.Unlock()
		if progress != nil {
			progress(engine.Progress{Stage: engine.Loading, Done: step, Total: total})
		}
		select {
		case <-st.done:
			return st.err
		case <-heard:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (st *starting) hear(step, total int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.step, st.total = step, total
	close(st.heard)
	st.heard = make(chan struct{})
}

// start brings up a child. It ends with the child's loading, whoever waits.
func (s *slot) start(st *starting) {
	s.e.makeRoom(s)
	p, err := s.launch(st)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting = nil
	switch {
	case err != nil:
		st.err = s.fail(err)
	case s.closed:
		p.kill(nil)
		<-p.dead
		st.err = errClosed
	default:
		s.p = p
		s.restIfUnused()
	}
	close(st.done)
}

func (s *slot) launch(st *starting) (*process, error) {
	dir, err := s.e.o.Library()
	if err != nil {
		return nil, &engine.Error{Kind: engine.ErrNoEngine, Err: err}
	}
	o := &s.e.o
	p, err := start(o, load{Library: dir, Model: s.model.Path, Context: o.Context, Threads: o.Threads, Nice: o.Nice, Memory: o.Memory}, st.hear)
	if err != nil {
		return nil, &engine.Error{Kind: engine.ErrEngineDied, Err: err}
	}
	select {
	case <-p.ready:
		return p, nil
	case <-p.dead:
		return nil, p.err
	}
}

// release gives back what process returned.
func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	s.restIfUnused()
}

// restIfUnused lets the child go after a while. s.mu is held.
func (s *slot) restIfUnused() {
	if s.users > 0 || s.p == nil {
		return
	}
	if s.idle == nil {
		s.idle = time.AfterFunc(s.e.o.Idle, s.stopIdle)
	} else {
		s.idle.Reset(s.e.o.Idle)
	}
}

// stopIdle ends a child that nobody holds.
func (s *slot) stopIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 && s.p != nil {
		s.p.kill(nil)
		<-s.p.dead
		s.p = nil
	}
}

func (s *slot) close() {
	s.mu.Lock()
	s.closed = true
	p, st := s.p, s.starting
	if s.idle != nil {
		s.idle.Stop()
	}
	s.mu.Unlock()
	if st != nil {
		<-st.done
	}
	if p != nil {
		p.kill(errors.New("the engine was closed"))
		<-p.dead
	}
}
