package infer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
)

// atOnce is how many conversations are answered without being told to. More
// that are saved together were not written one by one.
const atOnce = 3

// watcher looks after one folder. Everything it knows belongs to its own
// goroutine; others hand it functions to run.
type watcher struct {
	s      *Service
	f      *crdt.Folder
	origin *watcher // marks notices of what was written here: itself
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   sync.WaitGroup
	began  time.Time

	mu    sync.Mutex
	queue []func()
	wake  chan struct{}

	files   map[crdt.NodeID]*file
	noted   int // questions that wait, as they were noted last
	waiters map[*waiter]struct{}
}

// file is a conversation that something happens to.
type file struct {
	node  crdt.NodeID
	asked *conversation.Ask // by a save here; waits until it is due
	due   time.Time
	job   *job
	own   bool      // the job was asked for by name
	heard time.Time // of a change from elsewhere
	check time.Time // when to look for a second answer; zero: no need to
}

func watch(s *Service, f *crdt.Folder) *watcher {
	w := &watcher{s: s, f: f, began: time.Now(), wake: make(chan struct{}, 1), files: map[crdt.NodeID]*file{}, waiters: map[*waiter]struct{}{}}
	w.origin = w
	w.ctx, w.cancel = context.WithCancelCause(s.ctx)
	cancel := f.Subscribe(func(n crdt.Notice) {
		if len(n.Changes) > 0 && n.Origin != any(w.origin) {
			w.do(func() { w.hear(n) })
		}
	})
	w.do(w.markCutOff)
	w.do(w.remember)
	w.done.Go(func() {
		defer cancel()
		w.run()
	})
	return w
}

// close ends the folder's answers and the watching.
func (w *watcher) close() {
	w.cancel(errClosing)
	w.done.Wait()
}

// do has fn run by the watcher's goroutine.
func (w *watcher) do(fn func()) {
	w.mu.Lock()
	w.queue = append(w.queue, fn)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.ctx.Done():
			w.handed() // what was saved last is asked at the next start
			for _, f := range w.files {
				if f.job != nil {
					f.job.wait()
				}
			}
			w.answerWaiters()
			return
		case <-w.wake:
		case <-timer.C:
		}
		w.handed()
		w.fire(time.Now())
		w.answerWaiters()
		for _, f := range w.files {
			w.forget(f)
		}
		timer.Reset(w.next(time.Now()))
	}
}

// handed runs what others handed to the watcher.
func (w *watcher) handed() {
	w.mu.Lock()
	queue := w.queue
	w.queue = nil
	w.mu.Unlock()
	for _, fn := range queue {
		fn()
	}
}

// next is how long nothing has to be done.
func (w *watcher) next(now time.Time) time.Duration {
	d := time.Hour
	for _, f := range w.files {
		if f.asked != nil && f.job == nil {
			d = min(d, f.due.Sub(now))
		}
		if !f.check.IsZero() {
			d = min(d, f.check.Sub(now))
		}
	}
	for x := range w.waiters {
		if !x.until.IsZero() {
			d = min(d, x.until.Sub(now))
		}
	}
	return max(d, 0)
}

// file returns what is known of a conversation.
func (w *watcher) file(node crdt.NodeID) *file {
	f := w.files[node]
	if f == nil {
		f = &file{node: node}
		w.files[node] = f
	}
	return f
}

// forget drops what needs no keeping.
func (w *watcher) forget(f *file) {
	if f.asked == nil && f.job == nil && f.check.IsZero() && time.Since(f.heard) > w.s.timing.dead {
		delete(w.files, f.node)
	}
}

// hear takes a notice of a change that was not made here.
func (w *watcher) hear(n crdt.Notice) {
	for _, c := range n.Changes {
		if c.Alt || c.What&crdt.ContentChanged == 0 {
			continue
		}
		f := w.files[c.Node]
		if f != nil && f.job != nil {
			f.job.foreign()
		}
		// The name it had then: what is renamed now was not asked.
		if !c.After.Visible || !conversation.IsFile(c.After.Name) {
			continue
		}
		f = w.file(c.Node)
		if !n.Local {
			f.heard = time.Now()
			f.check = f.heard.Add(w.s.timing.settle)
			continue
		}
		if at, ok := w.s.saved(n); ok && c.Saved != nil {
			w.save(f, c, at, w.s.o.Blind != nil && w.s.o.Blind(n.Origin))
		}
	}
}

// save looks at what a program of this device saved at a time, blindly or having read c.Base.
func (w *watcher) save(f *file, c crdt.Change, at time.Time, blind bool) {
	var before crdt.Content
	var err error
	if !blind {
		before, err = w.f.ContentAt(c.Node, c.Base)
	}
	if err != nil {
		w.s.log.Warn("read what a save was made from", "path", w.f.Path(c.Node), "err", err)
		return
	}
	after, err := w.f.ContentAt(c.Node, c.Saved)
	if err != nil || after.Object != nil {
		return
	}
	if ask, ok := conversation.Asked(before.Text, after.Text); ok {
		f.asked, f.due = &ask, at.Add(w.s.timing.quiet)
		w.note()
	}
}

// fire does what is due.
func (w *watcher) fire(now time.Time) {
	var due []*file
	busy := 0
	for _, f := range w.files {
		if f.asked != nil || f.job != nil && !f.own {
			busy++
		}
		if f.asked != nil && !f.due.After(now) && f.job == nil {
			due = append(due, f) // what is asked during an answer waits for its end
		}
		if !f.check.IsZero() && !f.check.After(now) {
			f.check = time.Time{}
			w.settle(f)
		}
	}
	if busy > atOnce && len(due) > 0 {
		w.putOff()
		return
	}
	for _, f := range due {
		w.ask(f, now)
	}
	if len(due) > 0 && !slices.ContainsFunc(due, func(f *file) bool { return f.job != nil }) {
		w.note() // else once the answers stand
	}
}

// putOff leaves the questions of many files that were saved at once for a
// person to ask by name.
func (w *watcher) putOff() {
	err := w.update(func(tx *crdt.Tx) error {
		for _, f := range w.files {
			if f.asked == nil {
				continue
			}
			f.asked = nil
			if f.job == nil {
				if err := tx.SetXattr(f.node, StateAttr, []byte(Waiting)); err != nil {
					w.s.log.Warn("put off a question", "err", err)
				}
			}
		}
		return nil
	})
	if err != nil {
		w.s.log.Warn("put off questions", "err", err)
	}
	w.note()
}

// ask answers the question that a save asked, if it still stands there.
func (w *watcher) ask(f *file, now time.Time) {
	ask := *f.asked
	f.asked = nil
	c, err := w.f.Content(f.node)
	info, err2 := w.f.Get(f.node)
	if err != nil || err2 != nil || c.Object != nil || !conversation.IsFile(info.Name) {
		return
	}
	conv := conversation.Parse(c.Text)
	turn := conv.Find(ask)
	if turn < 0 {
		c, conv, turn = w.unseen(f.node, ask)
	}
	if turn < 0 && conv != nil {
		// Somebody else has a part in it now, or has changed it.
		last := conv.Last()
		if last >= 0 && conv.Turns[last].Role == conversation.Person && conv.Complete(last) {
			f.asked, f.due = &conversation.Ask{Text: conv.Text(last)}, now.Add(w.s.timing.quiet)
		}
	}
	if turn < 0 {
		return
	}
	w.start(f, answerTurn(c, conv, turn), false)
}

// start begins a job.
func (w *watcher) start(f *file, p plan, own bool) {
	f.own = own
	f.job = newJob(w, f.node, p)
	f.job.start(func() {
		f.job = nil
		w.note()
		f.check = time.Now().Add(w.s.timing.settle)
		if f.asked != nil && f.due.Before(time.Now()) {
			f.due = time.Now()
		}
	})
}

// update changes the folder in the watcher's name.
func (w *watcher) update(fn func(*crdt.Tx) error) error { return w.f.UpdateAs(w.origin, fn) }
