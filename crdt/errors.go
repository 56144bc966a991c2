package crdt

import (
	"errors"
	"strings"
	"syscall"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
)

// The kinds of errors, for errors.Is. The mount maps them to errnos and the
// command to exit codes; each has one table for it.
var (
	ErrNotExist      = errors.New("no such file or directory")
	ErrExists        = errors.New("already exists")
	ErrNotDir        = errors.New("not a directory")
	ErrIsDir         = errors.New("is a directory")
	ErrNotEmpty      = errors.New("directory not empty")
	ErrInvalid       = errors.New("invalid argument")
	ErrNameTooLong   = errors.New("name too long")
	ErrNoSpace       = errors.New("no space left on device")
	ErrReadOnly      = errors.New("read only")
	ErrDenied        = errors.New("permission denied")
	ErrInUse         = errors.New("home is in use by another process")
	ErrNoHome        = errors.New("no sheaf home here")
	ErrDamaged       = errors.New("damaged")
	ErrNotHere       = errors.New("content is not on this device")
	ErrGap           = errors.New("an earlier entry is missing")
	ErrNotAdmitted   = errors.New("device is not a member of this folder")
	ErrEntry         = errors.New("entry refused")
	ErrTicketUnknown = errors.New("ticket is not known here")
	ErrTicketUsed    = errors.New("ticket was used already")
	ErrTicketExpired = errors.New("ticket has expired")
	ErrClosed        = errors.New("closed")
)

// Error says what failed on which path, of which kind, and what to do next.
type Error struct {
	Op   string // what was tried, one word
	Path string // the path inside the folder, or on disk
	Kind error  // one of the Err… values
	Err  error  // the cause, if there is more to say
	Hint string // the next step, if there is one
}

func (e *Error) Error() string {
	s := e.Op
	if e.Path != "" {
		s += " " + e.Path
	}
	kind := e.Kind.Error()
	switch {
	case e.Err == nil:
		return s + ": " + kind
	case strings.Contains(e.Err.Error(), kind):
		return s + ": " + e.Err.Error() // it says so itself
	}
	return s + ": " + kind + ": " + e.Err.Error()
}

// Unwrap gives both the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

func fail(op, path string, kind, err error) error {
	return &Error{Op: op, Path: path, Kind: kind, Err: err}
}

// storage gives an error of the database or the object store its kind.
func storage(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, blob.ErrFull):
		return fail(op, path, ErrNoSpace, err)
	case errors.Is(err, kv.ErrInUse):
		return fail(op, path, ErrInUse, err)
	case errors.Is(err, kv.ErrClosed):
		return fail(op, path, ErrClosed, err)
	case errors.Is(err, kv.ErrDamaged), errors.Is(err, blob.ErrDamaged):
		return fail(op, path, ErrDamaged, err)
	case errors.Is(err, blob.ErrNotHere):
		return fail(op, path, ErrNotHere, err)
	}
	return fail(op, path, ErrInvalid, err)
}
