package kv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// failure is the first reason why nothing may be acknowledged any more. Pebble would end
// the process, or leave callers waiting for ever, where it fails to write its log; we hide
// such errors from it, remember them here, and ask after every call.
type failure struct {
	dir string
	log *slog.Logger

	mu   sync.Mutex
	err  error
	full atomic.Bool // the last flush found no space
}

func (f *failure) set(err error) {
	f.mu.Lock()
	first := f.err == nil
	if first {
		f.err = fmt.Errorf("database %s: %w", f.dir, kind(err, false))
	}
	f.mu.Unlock()
	if first {
		f.log.Error("database failed", "path", f.dir, "error", err)
	}
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// damaged takes the damage that Pebble finds, whether a reader or its own work met it.
func (f *failure) damaged(i pebble.DataCorruptionInfo) {
	f.set(fmt.Errorf("%w: %s: %w", ErrDamaged, i.Path, i.Details))
}

// background takes the errors of flushes and compactions. Pebble tries these again, and
// what they would have moved is still in the log: only damage is final.
func (f *failure) background(err error) {
	switch err = kind(err, false); {
	case errors.Is(err, ErrDamaged):
		f.set(err)
	default:
		f.log.Warn("database: background work", "path", f.dir, "error", err)
	}
}

// flushed takes the end of a flush. Pebble repeats one that failed until it succeeds, and
// meanwhile everything committed would pile up in memory.
func (f *failure) flushed(i pebble.FlushInfo) {
	f.full.Store(errors.Is(kind(i.Err, false), ErrFull))
}

// kind marks err with the kind of it that callers look for. When opening, whatever is not a
// refusal of the system is damage: files missing, of an unknown format, or not ours.
func kind(err error, opening bool) error {
	var errno syscall.Errno
	switch {
	case err == nil, errors.Is(err, ErrDamaged), errors.Is(err, ErrFull), errors.Is(err, ErrInUse):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case pebble.IsCorruptionError(err), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case opening && (errors.Is(err, fs.ErrNotExist) || !errors.As(err, &errno)):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// logger is what Pebble logs to.
type logger struct{ f *failure }

func (l logger) Infof(format string, args ...any) { l.debug(format, args...) }

func (l logger) Errorf(format string, args ...any) { l.debug(format, args...) }

// Fatalf is called where Pebble does not know how to go on. It returns, because a daemon
// must not die of it: nothing is acknowledged from here on.
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if e, ok := a.(error); ok {
			err = e
		}
	}
	l.f.set(err)
}

func (l logger) debug(format string, args ...any) {
	if l.f.log.Enabled(context.Background(), slog.LevelDebug) {
		l.f.log.Debug("pebble: "+fmt.Sprintf(format, args...), "path", l.f.dir)
	}
}
