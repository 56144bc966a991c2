package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

func (a *app) logCommand() *cobra.Command {
	var req control.LogRequest
	c := &cobra.Command{
		Use:   "log [PATH]",
		Short: "Show what happened to a file, a directory or the folder, newest first",
		Long: `Show what happened at PATH and below it, newest first: who made, wrote, renamed or removed
what and when. PATH may be gone: what was ever there is shown.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if req.Limit < 0 {
				return control.Errorf(control.Usage, "-n %d: not a number of lines", req.Limit)
			}
			var err error
			if req.Path, err = target(args, 0); err != nil {
				return err
			}
			var r control.LogReply
			if err := a.call(c.Context(), need{}, control.MethodLog, req, &r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			return printLog(a.stdout, r)
		},
	}
	c.Flags().IntVarP(&req.Limit, "number", "n", 0, "show only the newest so many steps")
	return c
}

func printLog(out io.Writer, r control.LogReply) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, v := range gather(r.Revisions) {
		who := v.Device
		if v.Author != "" {
			who = v.Author
		}
		id := v.Version
		if id == "" {
			id = v.Change
		}
		amount := ""
		switch {
		case v.Expired:
			amount = size(v.Size) + ", expired here"
		case v.Size > 0:
			amount = size(v.Size)
		case v.Version != "":
			amount = fmt.Sprintf("+%d -%d", v.Added, v.Removed)
		}
		what := v.Path
		if v.From != "" {
			what = v.From + " -> " + v.Path
		}
		if v.Kind == "directory" {
			what += "/"
		}
		if v.Label != "" {
			what += "  (" + v.Label + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", short(id), v.Time.Local().Format(time.DateTime), visibleName(who), v.Op, amount, visibleName(what))
	}
	return w.Flush()
}

func (a *app) trustCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "trust LINK",
		Short: "Let a symlink that another device made lead out of the folder",
		Long: "A symlink that leads out of the folder and was made on another device dangles here, into\n" +
			".sheaf/outside, until it is trusted. It counts for this device alone.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := target(args, 0)
			if err != nil {
				return err
			}
			return a.call(c.Context(), need{}, control.MethodTrust, control.PathRequest{Path: path}, &struct{}{})
		},
	}
}

// gather makes one step of the many in which a model writes an answer.
func gather(revs []control.Revision) (out []control.Revision) {
	for _, v := range revs {
		if n := len(out) - 1; n >= 0 && v.Author != "" && v.Author == out[n].Author && v.Device == out[n].Device && v.Op == out[n].Op && v.Path == out[n].Path {
			out[n].Added += v.Added
			out[n].Removed += v.Removed
			continue
		}
		out = append(out, v)
	}
	return out
}

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE [FROM [TO]]",
		Short: "Show what changed in a file: lately, since a version, or between two",
		Long: `Show the changes in a file as a unified diff. FROM and TO are versions as sheaf log shows
them, or times ("2026-11-30 14:00", yesterday, "2h ago"; write -- before one like -2h).
Without FROM it is what the last change did; without TO it goes up to now.`,
		Args: cobra.RangeArgs(1, 3),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := target(args, 0)
			if err != nil {
				return err
			}
			req := control.DiffRequest{Path: path}
			if len(args) > 1 {
				req.From = args[1]
			}
			if len(args) > 2 {
				req.To = args[2]
			}
			var r control.DiffReply
			if err := a.call(c.Context(), need{}, control.MethodDiff, req, &r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			_, err = io.WriteString(a.stdout, r.Unified)
			return err
		},
	}
}

func (a *app) blameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "blame FILE",
		Short: "Show who wrote each line of a file, and when",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := target(args, 0)
			if err != nil {
				return err
			}
			var r control.BlameReply
			if err := a.call(c.Context(), need{}, control.MethodBlame, control.PathRequest{Path: path}, &r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			return printBlame(a.stdout, r)
		},
	}
}

// printBlame puts who and when in front of each line. The lines are as they are: what is in
// them must not be taken for columns.
func printBlame(out io.Writer, r control.BlameReply) error {
	heads := make([]string, len(r.Lines))
	width := 0
	for i, l := range r.Lines {
		heads[i] = visibleName(l.Device)
		if l.Author != "" {
			heads[i] = visibleName(l.Author)
		}
		width = max(width, len([]rune(heads[i])))
	}
	number := len(itoa(len(r.Lines)))
	var b strings.Builder
	for i, l := range r.Lines {
		fmt.Fprintf(&b, "%s  %s  %-*s  %*d  %s\n", short(l.Version), l.Time.Local().Format(time.DateTime), width, heads[i], number, i+1, l.Text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
