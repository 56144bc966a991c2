package engine

import (
	"context"
	"time"
)

// Engine is a way to reach models. It is safe for concurrent use.
type Engine interface {
	// Name says which engine this is in a few words that a person recognises,
	// with the address for a server: "ollama at 127.0.0.1:11434".
	Name() string

	// Models lists what can be opened now, in the engine's own order (the one
	// it would choose first). Zero models are no error.
	Models(ctx context.Context) ([]Info, error)

	// Open makes a model ready to answer and may load it. The empty name opens
	// the engine's first choice. [ErrNoModel] if it has none of that name.
	Open(ctx context.Context, model string) (Session, error)

	// Close ends every session and process of the engine.
	Close() error
}

// Session is one opened model. It is safe for concurrent use; answers of one
// model are made one after the other, in the order they were asked for. A
// session outlives a death of its engine: the next call starts it again.
type Session interface {
	// Info describes the model, with ContextSize known.
	Info() Info

	// Count returns the number of tokens that text takes inside a prompt. When
	// Info().Estimated is set it is a guess that is rather too high.
	Count(ctx context.Context, text string) (int, error)

	// Measure returns the tokens of the whole prompt that Generate would build.
	Measure(ctx context.Context, r Request) (int, error)

	// Generate answers r. It calls emit, from this goroutine, with each piece
	// of the answer as it is made; an error from emit stops the answer and is
	// returned as it is. Stats are filled in as far as the answer came, also
	// beside an error. Turns that do not fit give [ErrContextFull] before
	// anything is emitted; nothing is ever cut out of a prompt silently.
	Generate(ctx context.Context, r Request, emit func(piece string) error) (Stats, error)

	// Close frees what the session holds; the engine goes on.
	Close() error
}

// Info describes a model.
type Info struct {
	Name        string // as Open takes it
	Description string // architecture, size, quantisation: whatever is known, or empty
	Size        int64  // bytes on disk, 0 if unknown
	ContextSize int    // tokens a prompt and its answer may take together, 0 before Open
	Estimated   bool   // Count and Measure are guesses: the tokenizer is out of reach
}

// Role is who speaks in a turn.
type Role uint8

const (
	User  Role = iota // a person
	Model             // an earlier answer
)

// String returns the role's name in the protocols of servers.
func (r Role) String() string {
	if r == Model {
		return "assistant"
	}
	return "user"
}

// Turn is one turn of a conversation. Space around its text has no meaning.
type Turn struct {
	Role Role
	Text string
}

// Request asks for one answer.
type Request struct {
	System      string // may be empty
	Turns       []Turn // at least one; if the last is a Model's, the answer goes on with it
	Temperature float64
	MaxTokens   int      // of the answer; 0 means up to the end of the context
	Seed        uint32   // of the sampler; 0 lets the engine choose
	Stop        []string // the answer ends before the first of these; none is empty
	Cold        bool     // reuse nothing of earlier prompts: the answer depends on the request alone

	// Progress, if not nil, hears what happens before the first piece. It is
	// called from Generate's goroutine and must not block.
	Progress func(Progress)
}

// Stage is what a request that has no answer yet is waiting for.
type Stage uint8

const (
	Queued  Stage = iota // Done answers stand before this one
	Loading              // the model is being loaded
	Reading              // the prompt: Done of Total tokens
)

// Progress is a request on its way to its first piece.
type Progress struct {
	Stage Stage
	Done  int
	Total int
}

// Reason is why an answer ended.
type Reason string

const (
	Stopped   Reason = "stop"   // the model was done, or a stop text was met
	Length    Reason = "length" // MaxTokens or the end of the context
	Cancelled Reason = "cancel" // the context or the caller's function ended it
	Failed    Reason = "failed" // the engine did
)

// Stats says what an answer cost. Zero means unknown.
type Stats struct {
	PromptTokens int           // of the whole prompt
	Reused       int           // of these, not computed again
	AnswerTokens int           // made
	FirstPiece   time.Duration // from the call to the first piece
	Prompt       time.Duration // reading the prompt
	Decode       time.Duration // from the first token to the last
	Threads      int           // of the last token; 0 for a server
	Reason       Reason
}
