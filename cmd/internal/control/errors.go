// Package control is how the sheaf command talks to the daemon of a home: HTTP and
// JSON over the unix socket HOME/socket.
//
// It holds the words both sides use: requests, replies, and errors with a kind that
// is also the command's exit code. It promises that a call ends with exactly one
// reply or one error, that talk (who is being waited for) arrives before it, and that
// a caller that goes away cancels what it asked for. It knows nothing of folders.
package control

import (
	"errors"
	"fmt"
)

// Kind says what went wrong, in a way a script can act on. Its value is the exit code.
type Kind int

// The one table of exit codes; docs/cli.md shows it to people.
const (
	OK       Kind = 0
	Failure  Kind = 1  // anything without a kind of its own
	Usage    Kind = 2  // the command line is wrong
	NotFound Kind = 3  // no such home, folder, file
	Exists   Kind = 4  // it is there already, or is not empty
	Denied   Kind = 5  // the system or a key said no
	NoFUSE   Kind = 6  // this machine cannot mount
	Timeout  Kind = 7  // --timeout ran out
	Damaged  Kind = 8  // the home's data is not what was written
	InUse    Kind = 9  // another process holds the home or the place
	Ticket   Kind = 10 // malformed, used, expired or unknown ticket
	DiskFull Kind = 11 // no space left
	Network  Kind = 12 // nobody answered
	NoModel  Kind = 13 // nothing on this device can answer a question
	CutOff   Kind = 14 // an answer did not come to its end
	Document Kind = 15 // not an Automerge document that can be read
)

// Error is an error as a person sees it: what happened, and what to do about it.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`        // one line, lower case, names the path
	Hint    string `json:"hint,omitempty"` // what to try; empty where there is nothing
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error without a hint.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// WithHint gives e a hint, and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// As finds the Error in err's chain; any other error becomes a Failure with err's text.
// It is nil exactly if err is.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Failure, Message: err.Error()}
}
