package llama

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/internal/gate"
)

// Options of an engine. Library and Models are asked again whenever they are
// needed, so that what is fetched later is found.
type Options struct {
	// Library returns the directory with libllama and libggml.
	Library func() (string, error)
	// Models returns what is on this machine, the first choice first.
	Models func() ([]Model, error)
	// Command makes the command whose standard input and output Run gets. nil
	// is this program with the argument "engine".
	Command func() *exec.Cmd

	Context int           // tokens a prompt and its answer may take; 0 means 8192. A model trained for less has less
	Threads int           // to compute with; 0 follows the cores that nobody else uses
	Idle    time.Duration // a model that is not asked for so long leaves memory; 0 means 10 minutes
	Nice    int           // added to the child's priority number; 0 means 5, negative means 0
	Memory  int64         // bytes for conversations that are not on; 0 means 256 MiB, negative none

	// A child that says nothing for Silence (0 means 15 s), or makes no
	// progress for Stall (0 means 2 minutes), while something is asked of it is
	// killed.
	Silence, Stall time.Duration
}

// Model is a model on this machine.
type Model struct {
	Name        string
	Path        string // of the GGUF file
	Description string
	Size        int64 // bytes
}

// Engine is the embedded engine.
type Engine struct {
	o Options

	mu     sync.Mutex
	closed bool
	slots  map[string]*slot // by path
}

var _ engine.Engine = (*Engine)(nil)

const name = "embedded"

// New returns the engine; nothing is started yet.
func New(o Options) *Engine {
	if o.Command == nil {
		o.Command = ownCommand
	}
	o.Context = orDefault(o.Context, 8192)
	o.Idle = orDefault(o.Idle, 10*time.Minute)
	o.Nice = max(orDefault(o.Nice, 5), 0)
	o.Memory = max(orDefault(o.Memory, 256<<20), 0)
	o.Silence = orDefault(o.Silence, 15*time.Second)
	o.Stall = orDefault(o.Stall, 2*time.Minute)
	return &Engine{o: o, slots: map[string]*slot{}}
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// ownCommand starts this program again. The child gets nothing of the
// environment, and libggml is told to start no debugger when it aborts.
func ownCommand() *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.Command(self, "engine")
	cmd.Env = []string{"GGML_NO_BACKTRACE=1", "GOTRACEBACK=none"}
	return cmd
}

// Name implements [engine.Engine].
func (e *Engine) Name() string { return name }

// Models implements [engine.Engine].
func (e *Engine) Models(context.Context) ([]engine.Info, error) {
	models, err := e.models()
	if err != nil {
		return nil, err
	}
	var out []engine.Info
	for _, m := range models {
		out = append(out, engine.Info{Name: m.Name, Description: m.Description, Size: m.Size})
	}
	return out, nil
}

func (e *Engine) models() ([]Model, error) {
	models, err := e.o.Models()
	if err != nil {
		return nil, &engine.Error{Engine: name, Kind: engine.ErrNoEngine, Err: err}
	}
	return models, nil
}

// Open implements [engine.Engine]. It starts a child and loads the model.
func (e *Engine) Open(ctx context.Context, model string) (engine.Session, error) {
	models, err := e.models()
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		if model != "" && m.Name != model {
			continue
		}
		sl, err := e.slot(m)
		if err != nil {
			return nil, err
		}
		s := &session{slot: sl}
		p, err := sl.process(ctx, nil)
		if err != nil {
			return nil, err
		}
		sl.release()
		s.info = engine.Info{Name: m.Name, Description: orDefault(m.Description, p.info.Description), Size: m.Size, ContextSize: p.info.Context}
		return s, nil
	}
	return nil, &engine.Error{Engine: name, Model: model, Kind: engine.ErrNoModel,
		Hint: "sheaf model list shows what there is, sheaf model fetch gets one"}
}

func (e *Engine) slot(m Model) (*slot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	sl := e.slots[m.Path]
	if sl == nil {
		sl = &slot{e: e, model: m, gate: gate.New()}
		e.slots[m.Path] = sl
	}
	return sl, nil
}

var errClosed = &engine.Error{Engine: name, Kind: engine.ErrNoEngine, Err: errors.New("the engine is closed")}

// Close implements [engine.Engine]. It returns when every child has ended.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	slots := e.slots
	e.slots = map[string]*slot{}
	e.mu.Unlock()
	for _, sl := range slots {
		sl.close()
	}
	return nil
}

// makeRoom stops the children of other models that nobody uses: memory is for
// one model, but an answer that is being made is finished.
func (e *Engine) makeRoom(not *slot) {
	e.mu.Lock()
	var others []*slot
	for _, sl := range e.slots {
		if sl != not {
			others = append(others, sl)
		}
	}
	e.mu.Unlock()
	for _, sl := range others {
		sl.stopIdle()
	}
}
