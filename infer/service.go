package infer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/sources"
)

// Models opens models. Every [engine.Engine] does. The error wraps
// [engine.ErrNoEngine] or [engine.ErrNoModel] where a person has to do
// something first; its hint is told to them.
type Models interface {
	Open(ctx context.Context, model string) (engine.Session, error)
}

// The kinds of errors of this package, for errors.Is.
var (
	ErrNothing = errors.New("nothing to answer")
	ErrBusy    = errors.New("is being answered on another device")
	ErrClosed  = errors.New("closed")
)

// Options of a Service.
type Options struct {
	// Saved tells whether a notice's origin is a program of this device that
	// saved a file, and when it did: from then on a question has to be unchanged.
	// The zero time is now. nil: every local change of unknown origin is one.
	Saved func(origin any) (at time.Time, ok bool)

	// Blind tells whether such a save took the place of what its writer had not
	// read: then it asks what it says, asked before or not. nil: none does.
	Blind func(origin any) bool

	// System is what a model is told first where the conversation does not say.
	System string

	Documents sources.Documents // nil: documents are refused by name
	Logger    *slog.Logger      // nil: nothing is logged
}

// Service answers questions. All methods are safe for concurrent use.
type Service struct {
	home   *crdt.Home
	models Models
	o      Options
	log    *slog.Logger
	timing timing

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	folders map[crdt.FolderID]*watcher
	closed  bool
}

// timing is how long things take. Tests are in more of a hurry.
type timing struct {
	quiet    time.Duration // a question is unchanged before it is asked
	batch    time.Duration // between two events of an answer
	progress time.Duration // between two words about what comes before it
	check    time.Duration // between two looks at what others did to it
	settle   time.Duration // after the last arrival, before second answers are looked for
	dead     time.Duration // without a change, after which another device's answer has ended
	grace    time.Duration // for a save to be heard of
}

var usual = timing{
	quiet: time.Second, batch: 40 * time.Millisecond, progress: 500 * time.Millisecond, check: 50 * time.Millisecond,
	settle: 300 * time.Millisecond, dead: 30 * time.Second, grace: 500 * time.Millisecond,
}

// New makes a service for the folders of a home. Nothing happens before a
// folder is added.
func New(h *crdt.Home, m Models, o Options) *Service {
	s := &Service{home: h, models: m, o: o, log: o.Logger, timing: usual, folders: map[crdt.FolderID]*watcher{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Start watches every folder that the home has now.
func (s *Service) Start() error {
	for _, f := range s.home.Folders() {
		if err := s.Add(f); err != nil {
			return err
		}
	}
	return nil
}

// Add watches one more folder. Answers that a crash cut off are marked as such.
func (s *Service) Add(f *crdt.Folder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.folders[f.ID()] == nil {
		s.folders[f.ID()] = watch(s, f)
	}
	return nil
}

// Remove ends the watching of a folder, and its answers.
func (s *Service) Remove(f *crdt.Folder) {
	s.mu.Lock()
	w := s.folders[f.ID()]
	delete(s.folders, f.ID())
	s.mu.Unlock()
	if w != nil {
		w.close()
	}
}

// Close ends all answers, marked so that they can go on, and returns when
// nothing of the service runs. It comes before the home's Close.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	folders := s.folders
	s.folders = map[crdt.FolderID]*watcher{}
	s.mu.Unlock()
	for _, w := range folders {
		// What was saved last is noted, and asked at the next start.
		told := make(chan struct{})
		w.f.Told(func() { close(told) })
		<-told
	}
	s.cancel(errClosing)
	for _, w := range folders {
		w.close()
	}
	s.wg.Wait()
	return nil
}

func (s *Service) watcher(f *crdt.Folder) (*watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.folders[f.ID()]; w != nil {
		return w, nil
	}
	return nil, &crdt.Error{Op: "ask", Path: f.Name(), Kind: ErrClosed}
}

// saved tells whether a notice is of a save by a program of this device, and when that was.
func (s *Service) saved(n crdt.Notice) (at time.Time, ok bool) {
	switch now := time.Now(); {
	case !n.Local:
		return now, false
	case s.o.Saved == nil:
		return now, n.Origin == nil
	default:
		if at, ok = s.o.Saved(n.Origin); at.IsZero() || at.After(now) {
			at = now
		}
		return at, ok
	}
}

// author is who answers: the model and this device.
func (s *Service) author(model string) string {
	device := conversation.Name(s.home.DeviceName(), 48)
	if model = conversation.Name(model, 48); model != "" {
		return model + " on " + device
	}
	return device
}

// Result is how asking ended.
type Result struct {
	State  State    `json:"state"`
	Model  string   `json:"model,omitempty"`
	Answer string   `json:"answer"`
	Read   []string `json:"read,omitempty"`    // what stood in the context, with versions
	Left   []string `json:"leftOut,omitempty"` // what did not, and why
	Note   string   `json:"note,omitempty"`    // why it did not end well

	Stats engine.Stats `json:"-"`
}

// State is the word in a conversation's extended attribute [StateAttr].
type State string

// The states that a conversation can be in.
const (
	Idle        State = ""            // nothing was asked
	Waiting     State = "waiting"     // for a model, or for `sheaf ask` after many were saved at once
	Answering   State = "answering"   // or about to
	Done        State = "done"        //
	Interrupted State = "interrupted" // `sheaf ask` goes on
	Cancelled   State = "cancelled"   // by who changed the question or deleted the answer
	Failed      State = "failed"      //
)

// Extended attributes of a conversation: its state in one word, and the device
// that answers or answered.
const (
	StateAttr  = "user.sheaf.ask"
	DeviceAttr = "user.sheaf.ask.device"
)
