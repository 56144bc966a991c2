package infer

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
)

// Ask has the conversation at a path answered now, whatever made it: its open
// question, or an answer that was not ended. It returns when that has begun; an
// answer that is being written already is all right. [ErrNothing] if nothing is
// open, [ErrBusy] while another device answers.
func (s *Service) Ask(ctx context.Context, f *crdt.Folder, path string) error {
	w, err := s.watcher(f)
	if err != nil {
		return err
	}
	info, err := conversationAt(f, path)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	w.do(func() { done <- w.askNow(info.Node, path) })
	select {
	case err := <-done:
		return err
	case <-w.ctx.Done():
		return &crdt.Error{Op: "ask", Path: path, Kind: ErrClosed}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func conversationAt(f *crdt.Folder, path string) (crdt.Info, error) {
	info, err := f.Resolve(path)
	switch {
	case err != nil:
		return info, err
	case info.Kind == crdt.Dir:
		return info, &crdt.Error{Op: "ask", Path: path, Kind: crdt.ErrIsDir}
	case info.Kind != crdt.File || info.Alt || info.Object != nil:
		return info, &crdt.Error{Op: "ask", Path: path, Kind: crdt.ErrInvalid, Err: errors.New("not a conversation")}
	}
	return info, nil
}

// askNow begins what Ask asks for.
func (w *watcher) askNow(node crdt.NodeID, path string) error {
	f := w.file(node)
	if f.job != nil {
		return nil
	}
	c, err := w.f.Content(node)
	if err != nil {
		return err
	}
	conv := conversation.Parse(c.Text)
	last := conv.Last()
	nothing := func(why, hint string) error {
		return &crdt.Error{Op: "ask", Path: path, Kind: ErrNothing, Err: errors.New(why), Hint: hint}
	}
	if last < 0 {
		return nothing("there is no question", "")
	}
	t := conv.Turns[last]
	question := last
	if t.Role == conversation.Model {
		question = conv.Question(last)
	}
	switch state := t.Label.State; {
	case question < 0:
		return nothing("there is no question", "")
	case t.Role == conversation.Person:
		w.begin(f, answerTurn(c, conv, question))
	case state == conversation.Done:
		return nothing("its last question has an answer", "write below a line `"+conversation.Invitation+"`")
	case state.Active() && time.Since(w.lastHeard(f)) < w.s.timing.dead:
		return &crdt.Error{Op: "ask", Path: path, Kind: ErrBusy, Err: errors.New(t.Label.Name)}
	case state == conversation.Stopped || state == conversation.Failed:
		w.begin(f, answerTurn(c, conv, question))
	default:
		c, spans, err := w.f.Blame(node)
		if err != nil {
			return err
		}
		// It may have changed between: then the last answer is another.
		if conv = conversation.Parse(c.Text); conv.Last() != last || conv.Turns[last].Role != conversation.Model {
			return w.askNow(node, path)
		}
		w.begin(f, resumeTurn(c, spans, conv, last))
	}
	return nil
}

func (w *watcher) begin(f *file, p plan) {
	f.asked = nil
	w.start(f, p, true)
}

// lastHeard is when another device can last have written.
func (w *watcher) lastHeard(f *file) time.Time {
	if f.heard.After(w.began) {
		return f.heard
	}
	return w.began
}

// waiter is a call of Wait.
type waiter struct {
	node  crdt.NodeID
	until time.Time // a save may still be heard of until then
	done  chan waited
}

type waited struct {
	r   Result
	err error
}

// Wait returns when nothing is being answered in the conversation at a path,
// here or on another device, or is about to: with what stands there then. It
// asks nothing itself. A done context ends it.
func (s *Service) Wait(ctx context.Context, f *crdt.Folder, path string) (Result, error) {
	w, err := s.watcher(f)
	if err != nil {
		return Result{}, err
	}
	info, err := conversationAt(f, path)
	if err != nil {
		return Result{}, err
	}
	x := &waiter{node: info.Node, until: time.Now().Add(s.timing.grace), done: make(chan waited, 1)}
	w.do(func() { w.waiters[x] = struct{}{} })
	defer w.do(func() { delete(w.waiters, x) })
	select {
	case r := <-x.done:
		return r.r, r.err
	case <-w.ctx.Done():
		return Result{}, &crdt.Error{Op: "wait", Path: path, Kind: ErrClosed}
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// answerWaiters lets those go whose conversation has come to rest.
func (w *watcher) answerWaiters() {
	for x := range w.waiters {
		if r, ok, err := w.outcome(x); ok || err != nil {
			x.done <- waited{r, err}
			delete(w.waiters, x)
		}
	}
}

// outcome is how a conversation stands; false: not for long.
func (w *watcher) outcome(x *waiter) (Result, bool, error) {
	f := w.files[x.node]
	if f != nil && (f.job != nil || f.asked != nil) {
		x.until = time.Time{}
		return Result{}, false, nil
	}
	c, err := w.f.Content(x.node)
	if err != nil || c.Object != nil {
		return Result{}, true, err
	}
	attrs, err := w.f.Xattrs(x.node)
	if err != nil {
		return Result{}, true, err
	}
	conv := conversation.Parse(c.Text)
	last := conv.Last()
	if last < 0 || conv.Turns[last].Role == conversation.Person {
		r := Result{State: State(attrs[StateAttr])}
		if r.State == Done || r.State == Answering || r.State == Failed || r.State == Interrupted {
			r.State = Idle // of an earlier question
		}
		if time.Now().Before(x.until) {
			return r, false, nil
		}
		x.until = time.Time{}
		return r, true, nil
	}
	t := conv.Turns[last]
	r := Result{Model: t.Label.Name, Answer: conv.Said(last), Note: strings.Join(conv.Notes(last), "\n")}
	switch t.Label.State {
	case conversation.Done:
		r.State = Done
	case conversation.Interrupted:
		r.State = Interrupted
	case conversation.Waiting:
		r.State = Waiting
	case conversation.Stopped:
		r.State = Cancelled
	case conversation.Failed:
		r.State = Failed
	default:
		last := w.s.timing.dead
		if f == nil {
			f = w.file(x.node) // to hear when it ends
		}
		if time.Since(w.lastHeard(f)) < last {
			x.until = w.lastHeard(f).Add(last)
			return r, false, nil
		}
		r.State = Interrupted
	}
	return r, true, nil
}
