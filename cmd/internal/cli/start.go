package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
)

const (
	// startWithin bounds a daemon's start: it may have to read a large history first.
	startWithin = 5 * time.Minute
	// rivalWithin is how long another daemon that holds the home may take to answer.
	rivalWithin = 20 * time.Second
)

// need says what a command needs of the daemon it starts.
type need struct {
	create bool   // make the home if there is none
	device string // name of a new home's device
	listen string // address to listen at from now on
}

// again are the methods that may be asked for twice.
var again = map[string]bool{
	control.MethodUp: true, control.MethodStatus: true, control.MethodSync: true,
	control.MethodLog: true, control.MethodTrust: true, control.MethodExport: true, control.MethodInvite: true,
	control.MethodAskFile: true,
}

// call asks the home's daemon, starting it first where it does not run. A daemon that dies
// over a question that changes nothing is started again, once.
func (a *app) call(ctx context.Context, n need, method string, in, out any) error {
	for try := 0; ; try++ {
		if err := a.ensureDaemon(ctx, n); err != nil {
			return err
		}
		err := control.NewClient(a.home).Call(ctx, method, in, out, a.say)
		if try > 0 || !again[method] || !errors.Is(err, control.ErrLost) {
			return err
		}
	}
}

// say prints talk.
func (a *app) say(s string) { io.WriteString(a.stderr, "sheaf: "+visible(s)+"\n") }

// ensureDaemon returns once the home's daemon answers.
func (a *app) ensureDaemon(ctx context.Context, n need) error {
	if control.Answers(ctx, a.home) {
		return nil
	}
	if !daemon.HomeExists(a.home) {
		if !n.create {
			return noHome(a.home)
		}
		if err := daemon.CheckNewHome(a.home); err != nil {
			return daemon.Explain(err)
		}
	}
	if err := os.MkdirAll(a.home, 0o700); err != nil {
		return daemon.Explain(err)
	}
	err := a.spawnDaemon(ctx, n)
	if control.As(err) == nil || control.As(err).Kind != control.InUse {
		return err
	}
	// Somebody else may have started it in the same moment.
	for end := time.Now().Add(rivalWithin); time.Now().Before(end); {
		if control.Answers(ctx, a.home) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return err
}

func noHome(home string) error {
	return control.Errorf(control.NotFound, "no sheaf home at %s", home).
		WithHint("make a folder with sheaf init, join one with sheaf join, or name another home with --home")
}

// spawnDaemon starts a daemon of its own session and waits for its word on descriptor 3:
// nothing but its end for success, else the error as JSON.
func (a *app) spawnDaemon(ctx context.Context, n need) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := openLog(a.home)
	if err != nil {
		return daemon.Explain(err)
	}
	defer log.Close()
	at, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	word, itsWord, err := os.Pipe()
	if err != nil {
		return err
	}
	defer word.Close()
	args := []string{"daemon", "--home", a.home, "--ready-fd", "3"}
	if n.create {
		args = append(args, "--create", "--device", n.device)
	}
	if n.listen != "" {
		args = append(args, "--listen", n.listen)
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{itsWord}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	itsWord.Close()
	if err != nil {
		return err
	}
	pid := cmd.Process.Pid
	_ = cmd.Process.Release()

	type answer struct {
		said []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() { // ends with the pipe, at the latest when this command does
		said, err := io.ReadAll(io.LimitReader(word, 64<<10))
		got <- answer{said, err}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startWithin):
		return control.Errorf(control.Timeout, "the daemon of %s (process %d) has not come up in %v", a.home, pid, startWithin).
			WithHint("its log is %s", log.Name())
	case r := <-got:
		if len(r.said) == 0 {
			return control.Errorf(control.Failure, "the daemon of %s ended while it started%s", a.home, lastWords(log.Name(), at)).
				WithHint("its log is %s", log.Name())
		}
		var e control.Error
		if err := json.Unmarshal(r.said, &e); err != nil {
			return control.Errorf(control.Failure, "the daemon of %s said something else than how it started", a.home)
		}
		if e.Kind == control.OK {
			return nil
		}
		return &e
	}
}

// openLog opens the daemon's log at its end; a long one becomes log.old first.
func openLog(home string) (*os.File, error) {
	path := filepath.Join(home, "log")
	if fi, err := os.Stat(path); err == nil && fi.Size() > daemon.MaxLog {
		if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// lastWords is the last line of what a daemon wrote to its log from at on, as ": line".
func lastWords(path string, at int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return ""
	}
	said, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	for line := range strings.Lines(string(said)) {
		// The first line of a crash says more than the last of its trace.
		if msg, ok := strings.CutPrefix(strings.TrimSpace(line), "panic: "); ok {
			return ": " + msg
		}
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return ": " + last
	}
	return ""
}
