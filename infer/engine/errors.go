package engine

import (
	"context"
	"errors"
	"strings"
)

// The kinds of failure, for errors.Is.
var (
	// ErrNoEngine: nothing is there that could answer.
	ErrNoEngine = errors.New("no engine")
	// ErrNoModel: the engine has no model of that name, or none at all.
	ErrNoModel = errors.New("no such model")
	// ErrContextFull: the prompt leaves no room for an answer.
	ErrContextFull = errors.New("context full")
	// ErrEngineDied: the server or process ended, hung or failed before the
	// answer was whole. What was emitted stands; asking again may succeed.
	ErrEngineDied = errors.New("engine died")
	// ErrRefused: the engine answered and said no; it would again.
	ErrRefused = errors.New("refused")
	// ErrProtocol: what came back was not understood.
	ErrProtocol = errors.New("answer not understood")
)

// Error is how engines fail. errors.Is finds both its kind and its cause.
type Error struct {
	Engine string // the engine's name
	Model  string // may be empty
	Kind   error  // one of the Err variables above
	Err    error  // the cause, or nil
	Hint   string // what a person can do, or empty
}

func (e *Error) Error() string {
	parts := make([]string, 0, 4)
	for _, s := range []string{e.Engine, e.Model} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Kind != nil {
		parts = append(parts, e.Kind.Error())
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	out := make([]error, 0, 2)
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// ReasonFor returns the reason an answer that failed with err ended for.
func ReasonFor(err error) Reason {
	if e := (*Error)(nil); errors.As(err, &e) && !errors.Is(err, context.Canceled) {
		return Failed
	}
	return Cancelled
}
