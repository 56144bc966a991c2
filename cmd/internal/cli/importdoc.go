package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

func (a *app) importCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "import DOC.automerge [PATH]",
		Short: "Make a file of a text in an Automerge document",
		Long: `Make a file of a text in an Automerge document: of the one at key "content", as sheaf export
writes it, or else of the only text at the document's root, or of the one that --key names. PATH is
the file to make, or a directory of a folder; it defaults to the current directory. The history comes
along where it is no longer than 1000 changes. To import a directory of files, see sheaf init.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			doc, err := target(args, 0)
			if err != nil {
				return err
			}
			path, err := target(args, 1)
			if err != nil {
				return err
			}
			var r control.ImportReply
			if err := a.call(c.Context(), need{}, control.MethodImport, control.ImportRequest{Document: doc, Path: path, Key: key}, &r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			fmt.Fprintln(a.stdout, visibleName(r.Path))
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "", "which text of the document")
	return c
}
