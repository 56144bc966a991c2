package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
	"github.com/sheaf-fs/sheaf/crdt"
)

func (a *app) restoreCommand() *cobra.Command {
	var at, version, to string
	c := &cobra.Command{
		Use:   "restore [PATH]",
		Short: "Bring back a removed file or directory, or an old state of one",
		Long: `Bring back what was removed at PATH; with --at or --version, make PATH what it was then. A
directory is restored with all that was in it. A restore is a new change: what is there now
stays in the history, files that came later stay where they are, and sheaf undo takes it back.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if at != "" && version != "" {
				return control.Errorf(control.Usage, "--at and --version name two states")
			}
			var req control.RestoreRequest
			var err error
			if req.Path, err = target(args, 0); err != nil {
				return err
			}
			if at != "" {
				t, err := crdt.ParseTime(at, time.Now())
				if err != nil {
					return daemon.AsUsage(err)
				}
				req.At = &t
			}
			req.Version = version
			if to != "" {
				if req.To, err = target([]string{to}, 0); err != nil {
					return err
				}
			}
			var r control.RestoreReply
			if err := a.call(c.Context(), need{}, control.MethodRestore, req, &r); err != nil {
				return err
			}
			for _, l := range r.Left {
				a.say("left out: " + l)
			}
			if a.json {
				return a.printJSON(r)
			}
			for _, p := range r.Restored {
				fmt.Fprintln(a.stdout, visibleName(p))
			}
			a.say(fmt.Sprintf("%d restored, %d were so already; sheaf undo takes it back", len(r.Restored), r.Same))
			return nil
		},
	}
	c.Flags().StringVar(&at, "at", "", `as it was then: "2026-11-30 14:00", yesterday, -2h`)
	c.Flags().StringVar(&version, "version", "", "a version or a change, as sheaf log shows them")
	c.Flags().StringVar(&to, "to", "", "put a copy there instead, where nothing is yet")
	return c
}

func (a *app) undoCommand() *cobra.Command {
	var list bool
	var req control.UndoRequest
	c := &cobra.Command{
		Use:   "undo [PATH]",
		Short: "Take back what this device did last in the folder",
		Long: `Take back what this device did last in the folder of PATH (default: the current directory).
Again, it takes back what came before that. What others did stays. --redo takes back the last
undo. --list shows this device's last actions with their ids; --action takes back any of them.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if list && (req.Redo || req.Action != "") || req.Redo && req.Action != "" {
				return control.Errorf(control.Usage, "--list, --redo and --action are three different things")
			}
			var err error
			if req.Path, err = target(args, 0); err != nil {
				return err
			}
			if list {
				return a.listActions(c, req.Path)
			}
			var r control.UndoReply
			if err := a.call(c.Context(), need{}, control.MethodUndo, req, &r); err != nil {
				return err
			}
			for _, l := range r.Left {
				a.say("left as it is: " + l)
			}
			if a.json {
				return a.printJSON(r)
			}
			for _, l := range r.Done {
				fmt.Fprintln(a.stdout, visibleName(l))
			}
			next := "sheaf undo --redo puts it back"
			if req.Redo {
				next = "sheaf undo takes it back again"
			}
			if len(r.Done) == 0 {
				a.say("nothing of it was undone: " + r.Action.Label)
				return nil
			}
			a.say(fmt.Sprintf("undone: %s (%s); %s", r.Action.Label, r.Action.Time.Local().Format(time.DateTime), next))
			return nil
		},
	}
	c.Flags().BoolVar(&list, "list", false, "show what could be undone, and do nothing")
	c.Flags().BoolVar(&req.Redo, "redo", false, "take back the last undo")
	c.Flags().StringVar(&req.Action, "action", "", "take back this action of the list")
	return c
}

// listed is how many actions undo --list shows.
const listed = 20

func (a *app) listActions(c *cobra.Command, path string) error {
	var r control.ActionsReply
	if err := a.call(c.Context(), need{}, control.MethodActions, control.ActionsRequest{Path: path, Limit: listed}, &r); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(r)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, x := range r.Actions {
		state := ""
		if x.Undone {
			state = "undone"
		}
		by := x.Label
		if x.Author != "" {
			by += " (" + x.Author + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.ID[:16], x.Time.Local().Format(time.DateTime), state, visibleName(by))
	}
	return w.Flush()
}
