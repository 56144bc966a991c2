package cli

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
	"github.com/sheaf-fs/sheaf/fs/guardian"
	"github.com/sheaf-fs/sheaf/infer/document"
	"github.com/sheaf-fs/sheaf/infer/engine/llama"
)

// daemonCommand is the daemon itself. Commands start it; a person may run it in the
// foreground to watch it.
func (a *app) daemonCommand() *cobra.Command {
	var o daemon.Options
	var readyFD int
	var detach bool
	c := &cobra.Command{
		Use:    "daemon",
		Short:  "Be the daemon of the home",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if detach { // what the guardian runs when a daemon died
				return a.ensureDaemon(c.Context(), need{})
			}
			syscall.Umask(0o077)
			o.Home, o.Version, o.Log = a.home, version, a.stderr
			ready := func(error) {}
			if readyFD > 2 {
				ready = tell(os.NewFile(uintptr(readyFD), "ready"))
			}
			err := daemon.Run(c.Context(), o, func() { ready(nil) })
			if err != nil {
				ready(err)
			}
			return err
		},
	}
	f := c.Flags()
	f.BoolVar(&o.Create, "create", false, "make the home if there is none")
	f.StringVar(&o.Device, "device", "", "name of a new home's device")
	f.StringVar(&o.Listen, "listen", "", "UDP address for other devices")
	f.IntVar(&readyFD, "ready-fd", 0, "descriptor to tell the outcome of the start to")
	f.BoolVar(&detach, "detach", false, "start the daemon in the background unless it runs")
	return c
}

// tell returns a function that writes the outcome of a start to f, once, and closes it.
func tell(f *os.File) func(error) {
	syscall.CloseOnExec(int(f.Fd()))
	return func(err error) {
		if f == nil {
			return
		}
		e := control.As(err)
		if e == nil {
			e = &control.Error{Kind: control.OK}
		}
		_ = json.NewEncoder(f).Encode(e)
		f.Close()
		f = nil
	}
}

func (a *app) guardianCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "guardian",
		Short:  "Stand by a daemon (started by it)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return guardian.Run(a.stdin, a.stdout)
		},
	}
}

// homeless lets a command run without a home: it gets no environment to find one in.
func homeless(*cobra.Command, []string) error { return nil }

func (a *app) engineCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "engine",
		Short:  "Run a model (started by the daemon)",
		Hidden: true,
		Args:   cobra.NoArgs,

		PersistentPreRunE: homeless,
		RunE: func(*cobra.Command, []string) error {
			return llama.Run(a.stdin, a.stdout)
		},
	}
}

func (a *app) documentCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "document KIND",
		Short:  "Read the text of a document on stdin (started by the daemon)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),

		PersistentPreRunE: homeless,
		RunE: func(_ *cobra.Command, args []string) error {
			f, ok := a.stdin.(*os.File)
			if !ok {
				return errors.New("stdin is not a file")
			}
			return document.Run(args[0], f, a.stdout)
		},
	}
}

// gone reports whether a process has ended. One that has but whose parent has not
// looked (a zombie) is gone too.
func gone(p *os.Process) bool {
	err := p.Signal(syscall.Signal(0))
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + itoa(p.Pid) + "/stat")
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	_, after, ok := strings.Cut(string(stat), ") ")
	return ok && strings.HasPrefix(after, "Z")
}
