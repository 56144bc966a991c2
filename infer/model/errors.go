package model

import (
	"errors"
	"strings"
)

// The kinds of failure, for errors.Is.
var (
	ErrUnknown  = errors.New("not in the list")
	ErrClient   = errors.New("package client failed")
	ErrHash     = errors.New("not what was expected")
	ErrPlatform = errors.New("not for this machine")
	ErrMissing  = errors.New("not fetched")
	ErrModel    = errors.New("not a usable model")
	ErrInUse    = errors.New("another process is fetching")
)

// Error is how this package fails.
type Error struct {
	Op   string // "fetch", "use", "remove", …
	Name string // item or path
	Kind error
	Err  error  // cause, or nil
	Hint string // what a person can do, or empty
}

func (e *Error) Error() string {
	parts := []string{e.Op + " " + e.Name}
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			parts = append(parts, err.Error())
		}
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns kind and cause.
func (e *Error) Unwrap() []error {
	var out []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}
