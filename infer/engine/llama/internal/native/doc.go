// Package native binds libllama, the C library of llama.cpp, without cgo.
//
// The library's structures have no stable layout, and one that is off by four
// bytes gives silent garbage before it crashes. So [Load] trusts nothing: the
// library must name a version that this binding was written for, and the bytes
// of its default parameters, written over a known pattern, must match the layout
// down to the padding.
//
// Native code can crash or hang the process that it runs in. This package is for
// the child process of package llama only.
package native

import "errors"

var (
	// ErrLibrary: the library cannot be loaded, or is not one that this binding
	// knows.
	ErrLibrary = errors.New("library")
	// ErrModel: the file is no model that the library can run.
	ErrModel = errors.New("model")
	// ErrAborted: Eval was stopped by Stop.
	ErrAborted = errors.New("aborted")
)

// Config says what to load.
type Config struct {
	Library string // directory with libllama and libggml
	Model   string // path of a GGUF file
	Context int    // tokens, at most what the model was trained for
	Threads int    // to begin with
	// Progress, if not nil, is called while the model loads; false gives up.
	Progress func(part float32) bool
}

// Control is a token that only a template may make.
type Control struct {
	ID   int32
	Text string
}

// Message is a turn for the model's own template.
type Message struct{ Role, Text string }
