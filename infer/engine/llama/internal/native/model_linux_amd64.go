package native

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"
)

// MaxBatch is how many tokens Eval takes at once.
const MaxBatch = 512

// Model is a loaded model with one context. Eval, Rewind, Sample, State and
// SetThreads belong to one goroutine, which must be locked to its thread;
// Tokenize, Piece and Stop may be called from any.
type Model struct {
	lib                        *library
	model, vocab, ctx, memory  uintptr
	sampler                    uintptr
	greedy                     bool
	nVocab                     int
	tokens                     []int32 // what the batch points at
	stop                       atomic.Bool
	steps                      atomic.Uint64
	abort                      uintptr
	aborting                   bool
	trained                    int
	description, template, ver string
}

// What the library says last before it fails is its only explanation.
var said struct {
	sync.Mutex
	line string
}

// Load loads a library and a model. It is called once a process.
func Load(c Config) (*Model, error) {
	lib, err := open(c.Library)
	if err != nil {
		return nil, err
	}
	lib.logSet(purego.NewCallback(func(level int32, text *byte, _ uintptr) {
		const isError = 4
		if level == isError {
			said.Lock()
			said.line = strings.TrimSpace(goString(text))
			said.Unlock()
		}
	}), 0)
	lib.backendInit()
	lib.loadBackends(c.Library)

	m := &Model{lib: lib, tokens: make([]int32, MaxBatch), ver: lib.version()}
	m.abort = purego.NewCallback(func(uintptr) bool {
		m.steps.Add(1)
		return m.stop.Load()
	})
	mp := lib.modelDefaults()
	mp.gpuLayers = 0
	mp.progress = purego.NewCallback(func(part float32, _ uintptr) bool {
		m.steps.Add(1)
		return c.Progress == nil || c.Progress(part)
	})
	if m.model = lib.modelLoad(c.Model, mp); m.model == 0 {
		return nil, fmt.Errorf("%w: %s: %s", ErrModel, c.Model, lastWords())
	}
	if lib.modelEncoder(m.model) || !lib.modelDecoder(m.model) {
		return nil, fmt.Errorf("%w: %s: it does not write text", ErrModel, c.Model)
	}
	m.vocab = lib.modelVocab(m.model)
	m.nVocab = int(lib.vocabSize(m.vocab))
	m.trained = int(lib.modelTrained(m.model))
	if m.nVocab <= 0 || m.trained <= 0 {
		return nil, fmt.Errorf("%w: %s: no vocabulary", ErrModel, c.Model)
	}
	m.template = lib.modelTemplate(m.model, 0)
	var desc [128]byte
	if n := lib.modelDesc(m.model, &desc[0], uintptr(len(desc))); n > 0 {
		m.description = string(desc[:min(int(n), len(desc)-1)])
	}

	cp := lib.ctxDefaults()
	cp.context = uint32(min(c.Context, m.trained))
	cp.batch, cp.ubatch, cp.sequences = MaxBatch, MaxBatch, 1
	cp.threads, cp.threadsBatch = int32(c.Threads), int32(c.Threads)
	if m.ctx = lib.ctxNew(m.model, cp); m.ctx == 0 {
		return nil, fmt.Errorf("%w: %s: %s", ErrModel, c.Model, lastWords())
	}
	m.memory = lib.ctxMemory(m.ctx)
	m.Abortable(true)
	return m, nil
}

func lastWords() string {
	said.Lock()
	defer said.Unlock()
	if said.line == "" {
		return "the library gives no reason"
	}
	return said.line
}

func goString(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// Version is the library's.
func (m *Model) Version() string { return m.ver }

// Description is architecture, size and quantisation.
func (m *Model) Description() string { return m.description }

// ContextSize is in tokens.
func (m *Model) ContextSize() int { return int(m.lib.ctxSize(m.ctx)) }

// Steps grows while the library makes progress.
func (m *Model) Steps() uint64 { return m.steps.Load() }

// Stop makes a running or coming Eval return ErrAborted, until it is false.
func (m *Model) Stop(on bool) { m.stop.Store(on) }

// Abortable says whether Stop reaches into a running Eval. That costs a call
// back into Go for each node of the graph, which short evaluations do without.
func (m *Model) Abortable(on bool) {
	if on == m.aborting {
		return
	}
	m.aborting = on
	if on {
		m.lib.ctxAbort(m.ctx, m.abort, 0)
	} else {
		m.lib.ctxAbort(m.ctx, 0, 0)
	}
}

// SetThreads takes effect with the next Eval.
func (m *Model) SetThreads(n int) { m.lib.ctxThreads(m.ctx, int32(n), int32(n)) }

// Eval appends at most MaxBatch tokens to the context.
func (m *Model) Eval(tokens []int32) error {
	if len(tokens) == 0 || len(tokens) > MaxBatch {
		return fmt.Errorf("%d tokens at once", len(tokens))
	}
	if m.stop.Load() {
		return ErrAborted
	}
	n := copy(m.tokens, tokens)
	rc := m.lib.decode(m.ctx, batch{n: int32(n), token: uintptr(unsafe.Pointer(&m.tokens[0]))})
	m.steps.Add(1)
	switch rc {
	case 0:
		return nil
	case 2:
		return ErrAborted
	default:
		return fmt.Errorf("decode returned %d: %s", rc, lastWords())
	}
}

// Rewind forgets everything from position n on and returns how much is kept:
// some architectures can only forget everything.
func (m *Model) Rewind(n int) int {
	if n > 0 && m.lib.seqRemove(m.memory, 0, int32(n), -1) {
		return n
	}
	m.lib.clear(m.memory, false)
	return 0
}

// State returns a copy of the context's memory, or nil.
func (m *Model) State() []byte {
	size := m.lib.stateSize(m.ctx, 0)
	if size == 0 {
		return nil
	}
	b := make([]byte, size)
	if m.lib.stateGet(m.ctx, &b[0], size, 0) != size {
		return nil
	}
	return b
}

// SetState puts a copy back, instead of what is there.
func (m *Model) SetState(b []byte) bool {
	m.lib.clear(m.memory, false)
	if len(b) == 0 || m.lib.stateSet(m.ctx, &b[0], uintptr(len(b)), 0) == 0 {
		m.lib.clear(m.memory, false)
		return false
	}
	return true
}

// Sampling starts a new answer. Temperature zero is greedy.
func (m *Model) Sampling(temperature float64, seed uint32) {
	if m.sampler != 0 {
		m.lib.freeSample(m.sampler)
		m.sampler = 0
	}
	if m.greedy = temperature <= 0; m.greedy {
		return
	}
	// The usual order and values of llama.cpp's own programs.
	m.sampler = m.lib.chainInit(1)
	m.lib.chainAdd(m.sampler, m.lib.initTopK(40))
	m.lib.chainAdd(m.sampler, m.lib.initTopP(0.95, 1))
	m.lib.chainAdd(m.sampler, m.lib.initMinP(0.05, 1))
	m.lib.chainAdd(m.sampler, m.lib.initTemp(float32(temperature)))
	m.lib.chainAdd(m.sampler, m.lib.initDist(seed))
}

// Sample chooses the next token after an Eval.
func (m *Model) Sample() (int32, error) {
	p := m.lib.logits(m.ctx, -1)
	if p == nil {
		return 0, fmt.Errorf("no logits: %s", lastWords())
	}
	logits := unsafe.Slice(p, m.nVocab)
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	if v := float64(logits[best]); math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("the model computes no numbers")
	}
	if m.greedy {
		return int32(best), nil
	}
	id := m.lib.sample(m.sampler, m.ctx, -1)
	if id < 0 || int(id) >= m.nVocab {
		return 0, fmt.Errorf("token %d of %d", id, m.nVocab)
	}
	return id, nil
}

// IsEnd reports whether a token ends an answer.
func (m *Model) IsEnd(id int32) bool { return m.lib.vocabIsEnd(m.vocab, id) }

// BOS is the token every prompt starts with.
func (m *Model) BOS() (id int32, ok bool) {
	id = m.lib.vocabBOS(m.vocab)
	return id, id >= 0 && m.lib.vocabAdds(m.vocab)
}

// Controls lists the tokens that end turns and the like.
func (m *Model) Controls() []Control {
	const unknownOrControl = 1<<0 | 1<<3
	var out []Control
	for id := range int32(m.nVocab) {
		if m.lib.vocabAttr(m.vocab, id)&unknownOrControl != 0 {
			if text := m.lib.vocabText(m.vocab, id); text != "" {
				out = append(out, Control{id, text})
			}
		}
	}
	return out
}

// Tokenize takes text as text only: no control token comes out of it.
func (m *Model) Tokenize(text string) []int32 {
	if text == "" {
		return nil
	}
	in := []byte(text)
	out := make([]int32, len(in)+8)
	n := m.lib.tokenize(m.vocab, &in[0], int32(len(in)), &out[0], int32(len(out)), false, false)
	if n < 0 {
		out = make([]int32, -n)
		n = m.lib.tokenize(m.vocab, &in[0], int32(len(in)), &out[0], int32(len(out)), false, false)
	}
	runtime.KeepAlive(in)
	return out[:max(n, 0)]
}

// Piece returns the bytes of a token, none for a control token. They may be a
// part of a character.
func (m *Model) Piece(id int32) []byte {
	b := make([]byte, 64)
	n := m.lib.piece(m.vocab, id, &b[0], int32(len(b)), 0, false)
	if n < 0 {
		b = make([]byte, -n)
		n = m.lib.piece(m.vocab, id, &b[0], int32(len(b)), 0, false)
	}
	return b[:max(n, 0)]
}

// Render writes messages in the model's own template, up to where the answer
// starts. It is false for a template that the library does not know.
func (m *Model) Render(messages []Message) (string, bool) {
	if m.template == "" || len(messages) == 0 {
		return "", false
	}
	cstring := func(s string) *byte { b := append([]byte(s), 0); return &b[0] }
	var pin runtime.Pinner
	defer pin.Unpin()
	chat, size := make([]chatMessage, len(messages)), 256
	for i, msg := range messages {
		chat[i] = chatMessage{cstring(msg.Role), cstring(msg.Text)}
		pin.Pin(chat[i].role)
		pin.Pin(chat[i].content)
		size += 2*len(msg.Text) + 64
	}
	template := cstring(m.template)
	for {
		buf := make([]byte, size)
		n := int(m.lib.applyTemplate(template, &chat[0], uintptr(len(chat)), true, &buf[0], int32(len(buf))))
		if n < 0 {
			return "", false
		}
		if n <= len(buf) {
			return string(buf[:n]), true
		}
		size = n + 1
	}
}
