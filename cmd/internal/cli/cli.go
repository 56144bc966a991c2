// Package cli is the sheaf command: it reads the command line, asks the daemon of the
// home, and prints.
//
// It promises that stdout carries data and nothing else, that every failure is one line
// (and a hint where there is one) on stderr with an exit code of control's table, and
// that it holds no state: what it knows of a folder it asks for.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

// version is set by the linker.
var version = "development"

// app is one run of the command.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	home   string // --home, made absolute
	json   bool
}

// Run runs the command and returns its exit code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	// An error in sheaf is told like any other; a trace helps nobody who meets it.
	defer func() {
		if r := recover(); r != nil {
			code = report(stderr, control.Errorf(control.Failure, "internal error: %v", r).
				WithHint("this is a fault of sheaf %s; please report it", version))
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 130 // as a shell says of SIGINT
	}
	return report(stderr, err)
}

// looksLikeTime finds an argument such as -2h where a flag was looked for.
var looksLikeTime = regexp.MustCompile(`in (-[0-9]\S*)$`)

func flagError(c *cobra.Command, err error) error {
	if m := looksLikeTime.FindStringSubmatch(err.Error()); m != nil {
		return control.Errorf(control.Usage, "%s is taken for a flag", m[1]).WithHint("write -- before what begins with a dash: %s … -- %s", c.CommandPath(), m[1])
	}
	return usage(c, err)
}

// report prints err as a person should read it and returns its exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return int(control.OK)
	}
	e := control.As(err)
	fmt.Fprintf(stderr, "sheaf: %s\n", visible(e.Message))
	if e.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", visible(e.Hint))
	}
	return int(e.Kind)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "sheaf",
		Short:         "A folder that several people edit at once with the programs they already use",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			home, err := homeDir(a.home)
			a.home = home
			return err
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.home, "home", "", "the device's home (default $SHEAF_HOME, then $XDG_STATE_HOME/sheaf, then ~/.local/state/sheaf)")
	f.BoolVar(&a.json, "json", false, "print JSON where there is something to print")
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		a.initCommand(), a.inviteCommand(), a.joinCommand(), a.upCommand(), a.downCommand(),
		a.statusCommand(), a.syncCommand(), a.logCommand(), a.diffCommand(), a.blameCommand(),
		a.restoreCommand(), a.undoCommand(), a.expireCommand(), a.trustCommand(), a.exportCommand(), a.importCommand(), a.doctorCommand(),
		a.localCommand(), a.shareCommand(), a.askCommand(), a.modelCommand(),
		a.versionCommand(), a.daemonCommand(), a.guardianCommand(), a.engineCommand(), a.documentCommand(),
	)
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	root.Args = unknownCommand
	return root
}

// usage makes cobra's complaint about a command line one of ours.
func usage(c *cobra.Command, err error) error {
	text := strings.TrimSpace(firstLine(err.Error()))
	text = strings.ToLower(text[:min(1, len(text))]) + text[min(1, len(text)):] // what the person wrote stays
	return control.Errorf(control.Usage, "%s", text).
		WithHint("%s --help", c.CommandPath())
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(c, args); err != nil {
			return usage(c, err)
		}
		return nil
	}
}

func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := control.Errorf(control.Usage, "no command %q", args[0]).WithHint("sheaf --help")
	if like := c.SuggestionsFor(args[0]); len(like) > 0 {
		e.Hint = "did you mean " + c.Name() + " " + like[0] + "?"
	}
	return e
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(a.stdout, version)
			return err
		},
	}
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
