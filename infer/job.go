package infer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/sources"
)

// Why an answer ends before the model is done.
var (
	errClosing = errors.New("sheaf went down")
	errDeleted = errors.New("the answer was deleted")
	errChanged = errors.New("the question was changed")
	errGone    = errors.New("the file is gone")
	errSecond  = errors.New("another device has answered")
)

// job answers one question of one file.
type job struct {
	w     *watcher
	s     *Service
	node  crdt.NodeID
	plan  plan
	path  string
	asked string // the question as it stands above the answer

	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{}

	others chan struct{} // somebody else changed the file

	author coauthor
	label  conversation.Label
	begun  bool // the heading stands
	inCode bool // the answer ended in a code block

	mu    sync.Mutex
	words string // to be written
	ahead string // of what the first words wait for
	ready chan struct{}
}

func newJob(w *watcher, node crdt.NodeID, p plan) *job {
	j := &job{
		w: w, s: w.s, node: node, plan: p, path: w.f.Path(node), asked: p.asked(),
		ended: make(chan struct{}), others: make(chan struct{}, 1), ready: make(chan struct{}, 1),
	}
	j.ctx, j.cancel = context.WithCancelCause(w.ctx)
	j.author = coauthor{f: w.f, node: node, origin: w.origin, by: w.s.author(p.conv.Settings.Model)}
	return j
}

// start runs the job; after is run by the watcher when it ended.
func (j *job) start(after func()) {
	j.s.wg.Go(func() {
		defer j.w.do(after)
		defer close(j.ended)
		defer j.cancel(nil)
		if err := j.run(); err != nil {
			j.s.log.Warn("answer", "path", j.path, "err", err)
		}
	})
}

// wait returns when the job ended.
func (j *job) wait() { <-j.ended }

// foreign tells the job that somebody else changed the file. It never blocks.
func (j *job) foreign() { poke(j.others) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run answers. What went wrong is told in the file; the error is of the file.
func (j *job) run() error {
	if err := j.plan.conv.Settings.Err; err != nil {
		return j.finish(&engine.Error{Kind: engine.ErrRefused, Err: err}, fitted{}, engine.Stats{})
	}
	session, err := j.open()
	if err != nil {
		return j.finish(err, fitted{}, engine.Stats{})
	}
	defer session.Close()
	j.author.by = j.s.author(session.Info().Name)
	if err := j.tell(conversation.Label{Name: j.author.by, State: conversation.Reading}); err != nil {
		return err
	}
	fit, err := j.prompt(session)
	var stats engine.Stats
	if err == nil {
		stats, err = j.stream(session, fit.request)
	}
	return j.finish(err, fit, stats)
}

// open opens the model. If that takes long, the heading says so.
func (j *job) open() (engine.Session, error) {
	type opened struct {
		s   engine.Session
		err error
	}
	c := make(chan opened, 1)
	j.s.wg.Go(func() {
		s, err := j.s.models.Open(j.ctx, j.plan.conv.Settings.Model)
		c <- opened{s, err}
	})
	slow := time.NewTimer(150 * time.Millisecond)
	defer slow.Stop()
	for {
		select {
		case o := <-c:
			return o.s, o.err
		case <-slow.C:
			if err := j.tell(conversation.Label{Name: j.author.by, State: conversation.Loading}); err != nil {
				j.cancel(err)
			}
		}
	}
}

// tell writes the heading, or what is new in it.
func (j *job) tell(l conversation.Label) error {
	if j.begun && j.label == l {
		return nil
	}
	j.label = l
	if j.begun {
		return j.author.write("", &l, nil)
	}
	j.begun = true
	return j.author.begin(j.plan, l, j.attrs(Answering))
}

// attrs sets the extended attributes with the event beside them.
func (j *job) attrs(s State) func(*crdt.Tx) error {
	return func(tx *crdt.Tx) error {
		if err := tx.SetXattr(j.node, StateAttr, []byte(s)); err != nil {
			return err
		}
		return tx.SetXattr(j.node, DeviceAttr, []byte(j.s.home.Device().String()))
	}
}

// prompt gathers what the model is told.
func (j *job) prompt(session engine.Session) (fitted, error) {
	conv := j.plan.conv
	p := prompt{settings: conv.Settings, system: j.s.system(), said: conv.History(j.plan.question)}
	if len(p.said) == 0 {
		return fitted{}, &engine.Error{Kind: engine.ErrRefused, Err: errors.New("there is no question")}
	}
	if j.plan.partial != "" {
		p.said = append(p.said, conversation.Said{Role: conversation.Model, Text: conversation.Unescape(j.plan.partial)})
	}
	var err error
	from := sources.Folder{Folder: j.w.f, Dir: path.Dir("/" + j.path)[1:], Self: j.node, Documents: j.s.o.Documents}
	p.sources, p.left, err = from.Gather(j.ctx, refs(conv, j.plan.question))
	if err != nil {
		return fitted{}, err
	}
	return p.fit(j.ctx, session)
}

// refs are what a conversation refers to, the newest question first: that is
// the order of relevance. What a model wrote refers to nothing.
func refs(conv *conversation.File, question int) []sources.Ref {
	var out []sources.Ref
	for i := question; i >= 0; i-- {
		if conv.Turns[i].Role == conversation.Person {
			out = append(out, sources.Refs(conv.Text(i))...)
		}
	}
	for _, s := range conv.Settings.Context {
		out = append(out, sources.NewRef(s))
	}
	return out
}

// stream has the model answer, and the answer written.
func (j *job) stream(session engine.Session, r engine.Request) (engine.Stats, error) {
	w := conversation.Writer{CRLF: j.author.nl == "\r\n"}
	if j.plan.resume {
		w = conversation.Resume(j.plan.partial, w.CRLF)
	}
	stop := make(chan struct{})
	var pen sync.WaitGroup
	pen.Go(func() { j.pen(stop) })
	r.Progress = j.progress
	stats, err := session.Generate(j.ctx, r, func(piece string) error {
		if s := w.Add(piece); s != "" {
			j.put(s)
		}
		return context.Cause(j.ctx)
	})
	j.inCode = w.InCode()
	if s := w.Close(); s != "" {
		j.put(s)
	}
	close(stop)
	pen.Wait()
	// What ended the job counts more than what the engine says of it.
	if cause := context.Cause(j.ctx); cause != nil {
		err = cause
	}
	return stats, err
}

func (j *job) put(words string) {
	j.mu.Lock()
	j.words += words
	j.mu.Unlock()
	poke(j.ready)
}

func (j *job) progress(p engine.Progress) {
	s := ""
	switch p.Stage {
	case engine.Queued:
		s = string(conversation.Queued)
	case engine.Loading:
		s = string(conversation.Loading)
	case engine.Reading:
		s = string(conversation.Reading)
		if p.Total > 0 && p.Done > 0 && p.Done < p.Total {
			s += fmt.Sprintf(" %d%%", 100*p.Done/p.Total)
		}
	}
	j.mu.Lock()
	j.ahead = s
	j.mu.Unlock()
	poke(j.ready)
}

// pen writes until stop: the first words at once, then one event a batch.
func (j *job) pen(stop chan struct{}) {
	var batch, look, ahead time.Time // when each may be next
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	changed := false
	for {
		var next time.Time
		select {
		case <-stop:
			j.write()
			return
		case <-j.others:
			changed = true
		case <-j.ready:
		case <-timer.C:
		}
		now := time.Now()
		j.mu.Lock()
		words, state := j.words != "", j.ahead
		j.mu.Unlock()
		switch {
		case words && now.Before(batch):
			next = batch
		case words:
			j.write()
			batch = time.Now().Add(j.s.timing.batch)
		case state != "" && j.label.State != conversation.Answering && now.Before(ahead):
			next = ahead
		case state != "" && j.label.State != conversation.Answering:
			word, detail, _ := strings.Cut(state, " ")
			j.fail(j.tell(conversation.Label{Name: j.author.by, State: conversation.State(word), Detail: detail}))
			ahead = now.Add(j.s.timing.progress)
		}
		if changed {
			if now.Before(look) {
				if next.IsZero() || look.Before(next) {
					next = look
				}
			} else {
				changed = false
				j.look()
				look = time.Now().Add(j.s.timing.check)
			}
		}
		if next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

// write writes the words that came.
func (j *job) write() {
	j.mu.Lock()
	words := j.words
	j.words = ""
	j.mu.Unlock()
	if words == "" {
		return
	}
	if j.label.State == conversation.Answering {
		j.fail(j.author.say(words, nil))
		return
	}
	j.label = conversation.Label{Name: j.author.by, State: conversation.Answering}
	j.fail(j.author.write(words, &j.label, nil))
}

// fail ends the job where the file cannot be written.
func (j *job) fail(err error) {
	switch {
	case err == nil:
	case errors.Is(err, crdt.ErrNotExist):
		j.cancel(errGone)
	default:
		j.cancel(err)
	}
}

// look ends the job if what others did to the file is a reason.
func (j *job) look() {
	c, conv, m, err := j.author.look()
	switch {
	case errors.Is(err, crdt.ErrNotExist) || err == nil && c.Object != nil:
		j.cancel(errGone)
	case err != nil:
		j.cancel(err)
	case m.gone:
		j.cancel(errDeleted)
	default:
		q := conv.Question(m.turn)
		if q < 0 || conv.Text(q) != j.asked {
			j.cancel(errChanged)
		}
	}
}
