package automerge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Program is the name of the library's program, beside sheaf.
const Program = "sheaf-automerge"

// MaxTime is how long one document may take, where the Library does not say otherwise.
const MaxTime = 30 * time.Second

// Kinds of errors, for errors.Is.
var (
	ErrNone    = errors.New("the Automerge library is not here")
	ErrRefused = errors.New("not a whole Automerge document")
	ErrSlow    = errors.New("takes too long to read")
	ErrDied    = errors.New("the Automerge library cannot read it in the memory that it has")
	ErrLarge   = fmt.Errorf("larger than %d MiB", MaxDocument>>20)
)

// Library is the program at work; it starts with the first document, and again after it died. It
// is for one caller at a time. Close ends it.
type Library struct {
	// Command makes the process; nil: Program, beside this one.
	Command func() (*exec.Cmd, error)
	// Time is MaxTime, if not 0.
	Time time.Duration

	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

// Read asks about one document. It fails with one of this package's errors, or with that of ctx.
func (l *Library) Read(ctx context.Context, q Query) (Answer, error) {
	if len(q.Document) > MaxDocument {
		return Answer{}, ErrLarge
	}
	if l.cmd == nil {
		if err := l.start(ctx); err != nil {
			return Answer{}, err
		}
	}
	var a Answer
	err := l.within(ctx, func() error {
		if err := send(l.in, q); err != nil {
			return err
		}
		return receive(l.out, &a)
	})
	if err == nil {
		err = a.check()
	}
	switch {
	case err == nil && a.Refused != "":
		return Answer{}, fmt.Errorf("%w: %s", ErrRefused, a.Refused)
	case err == nil:
		return a, nil
	}
	l.Close() // whatever it says next would be of this document
	switch {
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	case errors.Is(err, ErrSlow):
		return Answer{}, fmt.Errorf("%w: more than %v", ErrSlow, l.limit())
	}
	return Answer{}, ErrDied
}

func (l *Library) limit() time.Duration { return cmp.Or(l.Time, MaxTime) }

// within ends the process if fn, which talks to it, does not return in time.
func (l *Library) within(ctx context.Context, fn func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.limit(), ErrSlow)
	defer cancel()
	process := l.cmd.Process
	stop := context.AfterFunc(ctx, func() { _ = process.Kill() })
	err := fn()
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

func (l *Library) start(ctx context.Context) error {
	command := l.Command
	if command == nil {
		command = beside
	}
	cmd, err := command()
	if err != nil {
		return err
	}
	if cmd.Env == nil {
		cmd.Env = []string{"GOTRACEBACK=none", "GOMAXPROCS=1"}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	if err := startProcess(cmd); err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	l.cmd, l.in, l.out = cmd, in, out
	var h hello
	switch err := l.within(ctx, func() error { return receive(out, &h) }); {
	case ctx.Err() != nil:
		l.Close()
		return ctx.Err()
	case err != nil:
		l.Close()
		return fmt.Errorf("%w: %s does not start: %w", ErrNone, cmd.Path, err)
	case !h.Able:
		l.Close()
		return fmt.Errorf("%w: %s was built without a C compiler", ErrNone, cmd.Path)
	}
	return nil
}

// startProcess starts a process that ends with this one: the kernel ties that to the thread
// which started it, and this goroutine's may end before.
func startProcess(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for as long as the process lives
		err := cmd.Start()
		started <- err
		if err == nil {
			_, _ = cmd.Process.Wait()
		}
		runtime.UnlockOSThread()
	}()
	return <-started
}

// Close ends the process.
func (l *Library) Close() {
	if l.cmd == nil {
		return
	}
	_ = l.in.Close()
	_ = l.cmd.Process.Kill()
	if c, ok := l.out.(io.Closer); ok {
		_ = c.Close()
	}
	l.cmd, l.in, l.out = nil, nil, nil
}

func beside() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	path := filepath.Join(filepath.Dir(self), Program)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w: there is no %s", ErrNone, path)
	}
	return exec.Command(path), nil
}
