package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/infer"
)

func (a *app) askCommand() *cobra.Command {
	var req control.AskRequest
	var wait bool
	var temperature float64
	c := &cobra.Command{
		Use:   `ask "QUESTION" [@PATH…] | ask [--wait] FILE.ask`,
		Short: "Ask a model, or have a conversation answered in its file",
		Long: `Ask a model on this device. The answer goes to stdout as it is made; what was read for
it, to stderr. @PATHs (also in the question) are files, directories and patterns of the
folder that the current directory is in. Text on stdin is what the question is about.

With a FILE.ask, the open question in it is answered now, in the file; an answer that was
cut off is gone on with. With --wait the command returns when the answer has ended, and
prints it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && strings.HasSuffix(args[0], ".ask") {
				return a.askFile(c, args, wait)
			}
			if wait {
				return control.Errorf(control.Usage, "--wait waits for a file").WithHint("sheaf ask --wait FILE.ask")
			}
			req.Question = args[0]
			for _, arg := range args[1:] {
				path, ok := strings.CutPrefix(arg, "@")
				if !ok || path == "" {
					return control.Errorf(control.Usage, "%q is neither the question nor an @path", arg).
						WithHint(`put the question in quotes: sheaf ask "…" @notes/`)
				}
				req.Paths = append(req.Paths, path)
			}
			if c.Flags().Changed("temperature") {
				req.Temperature = &temperature
			}
			return a.ask(c, req)
		},
	}
	f := c.Flags()
	f.BoolVar(&wait, "wait", false, "of a file: return when the answer has ended, and print it")
	f.StringVar(&req.Model, "model", "", "the model's name (default: what sheaf model list marks)")
	f.StringVar(&req.System, "system", "", "what the model is told before the question")
	f.Float64Var(&temperature, "temperature", 0, "0 to 5; 0 is the same answer each time")
	f.IntVar(&req.MaxTokens, "max-tokens", 0, "the longest answer (default: what there is room for)")
	return c
}

// ask prints the answer to a question as it comes.
func (a *app) ask(c *cobra.Command, req control.AskRequest) error {
	var err error
	if req.Dir, err = place(nil, 0); err != nil {
		return err
	}
	if req.Text, err = a.piped(); err != nil {
		return err
	}
	if err := a.ensureDaemon(c.Context(), need{}); err != nil {
		return err
	}
	last := byte('\n')
	var r control.AskReply
	err = control.NewClient(a.home).Stream(c.Context(), control.MethodAsk, req, &r, a.say, func(piece string) error {
		if a.json {
			return nil
		}
		last = piece[len(piece)-1]
		_, err := io.WriteString(a.stdout, piece)
		return err
	})
	if last != '\n' {
		fmt.Fprintln(a.stdout)
	}
	if err != nil {
		return err
	}
	cut := wholeAnswer(r)
	if a.json {
		return errors.Join(a.printJSON(r), cut)
	}
	for _, l := range []struct {
		what  string
		names []string
	}{{"read ", r.Read}, {"left out ", r.LeftOut}} {
		if len(l.names) > 0 {
			a.say(l.what + strings.Join(l.names, ", "))
		}
	}
	return cut
}

// wholeAnswer is an error unless an answer that is in no file came to its end.
func wholeAnswer(r control.AskReply) error {
	if infer.State(r.State) == infer.Done {
		return nil
	}
	return control.Errorf(control.CutOff, "the answer was cut off: %s", r.Note).WithHint("ask again")
}

// piped is what stands on stdin, unless that is a terminal or nothing.
func (a *app) piped() (string, error) {
	if f, ok := a.stdin.(*os.File); ok {
		if fi, err := f.Stat(); err != nil || fi.Mode()&os.ModeCharDevice != 0 {
			return "", nil
		}
	}
	b, err := io.ReadAll(io.LimitReader(a.stdin, control.MaxText+1))
	switch {
	case err != nil:
		return "", control.Errorf(control.Failure, "stdin: %v", err)
	case len(b) > control.MaxText:
		return "", control.Errorf(control.Usage, "stdin is longer than %d KiB", control.MaxText>>10)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD"), nil
}

// askFile has a conversation answered, and with wait prints the answer.
func (a *app) askFile(c *cobra.Command, args []string, wait bool) error {
	path, err := target(args, 0)
	if err != nil {
		return err
	}
	var r control.AskReply
	if err := a.call(c.Context(), need{}, control.MethodAskFile, control.AskFileRequest{Path: path, Wait: wait}, &r); err != nil {
		return err
	}
	if !wait {
		if a.json {
			return a.printJSON(r)
		}
		a.say("it is answered in " + args[0])
		return nil
	}
	if a.json {
		err = a.printJSON(r)
	} else if r.Answer != "" {
		_, err = fmt.Fprintln(a.stdout, strings.TrimSuffix(r.Answer, "\n"))
	}
	return errors.Join(err, ended(args[0], r))
}

// ended is how an answer in a file ended, as an error unless it is whole.
func ended(file string, r control.AskReply) error {
	note := strings.ReplaceAll(r.Note, "\n", "; ")
	if note != "" {
		note = ": " + note
	}
	switch infer.State(r.State) {
	case infer.Done, infer.Idle:
		return nil
	case infer.Waiting:
		return control.Errorf(control.NoModel, "%s waits%s", file, note).WithHint("sheaf model list shows what can be asked")
	default:
		return control.Errorf(control.CutOff, "the answer in %s is %s%s", file, r.State, note).WithHint("sheaf ask %s", file)
	}
}
