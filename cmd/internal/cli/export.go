package cli

import (
	"bytes"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
)

func (a *app) exportCommand() *cobra.Command {
	var automerge, out string
	c := &cobra.Command{
		Use:   "export --automerge FILE [-o OUT]",
		Short: "Write a text with its whole history as an Automerge document",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if automerge == "" {
				return control.Errorf(control.Usage, "export what?").WithHint("sheaf export --automerge FILE -o OUT")
			}
			toTerminal := false
			if f, ok := a.stdout.(*os.File); ok && out == "" {
				toTerminal = term.IsTerminal(int(f.Fd()))
			}
			if toTerminal {
				return control.Errorf(control.Usage, "an Automerge document is binary and stdout is a terminal").
					WithHint("name a file with -o OUT, or redirect stdout")
			}
			path, err := target([]string{automerge}, 0)
			if err != nil {
				return err
			}
			var r control.ExportReply
			if err := a.call(c.Context(), need{}, control.MethodExport, control.PathRequest{Path: path}, &r); err != nil {
				return err
			}
			if out == "" || out == "-" {
				_, err = bytes.NewReader(r.Document).WriteTo(a.stdout)
				return err
			}
			// Never over a file that is there: it may be somebody's other document.
			f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				return daemon.Explain(err)
			}
			if _, err := f.Write(r.Document); err != nil {
				f.Close()
				os.Remove(out)
				return daemon.Explain(err)
			}
			return daemon.Explain(f.Close())
		},
	}
	c.Flags().StringVar(&automerge, "automerge", "", "the text to export")
	c.Flags().StringVarP(&out, "output", "o", "", "the file to make (default: stdout)")
	return c
}
