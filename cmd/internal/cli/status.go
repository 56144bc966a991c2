package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what is mounted, who is connected, what is still to go, and what is set aside",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.status(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(s)
			}
			return a.printStatus(s)
		},
	}
}

// status asks the daemon, and starts it unless the home was taken down on purpose.
func (a *app) status(ctx context.Context) (control.Status, error) {
	s := control.Status{Home: a.home, Version: version, Listen: []string{}, Warnings: []string{}, Folders: []control.FolderStatus{}}
	if !control.Answers(ctx, a.home) && daemon.HomeExists(a.home) && daemon.IsDown(a.home) {
		return s, nil
	}
	err := a.call(ctx, need{}, control.MethodStatus, struct{}{}, &s)
	if err == nil {
		a.warnOther(s)
	}
	return s, err
}

func (a *app) printStatus(s control.Status) error {
	var b strings.Builder
	if !s.Running {
		fmt.Fprintf(&b, "down: nothing is mounted, no daemon runs (home %s)\n", s.Home)
		fmt.Fprint(&b, "sheaf up starts it again\n")
		_, err := fmt.Fprint(a.stdout, visible(b.String()))
		return err
	}
	fmt.Fprintf(&b, "device %s (%s), daemon %d, home %s\n", s.Device.Name, short(s.Device.ID), s.PID, s.Home)
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if s.Freed.Objects > 0 {
		fmt.Fprintf(&b, "freed so far: %s\n", freedLine(s.Freed))
	}
	if len(s.Folders) == 0 {
		fmt.Fprint(&b, "no folders: sheaf init makes one, sheaf join TICKET joins one\n")
	}
	for _, f := range s.Folders {
		b.WriteByte('\n')
		writeFolder(&b, f)
	}
	_, err := fmt.Fprint(a.stdout, visible(b.String()))
	return err
}

func writeFolder(b *strings.Builder, f control.FolderStatus) {
	where := f.Path
	switch {
	case f.Path == "":
		where = "no mount point"
	case !f.Mounted:
		where += " (not mounted)"
	case f.Plain:
		where += " (a plain directory)"
	}
	fmt.Fprintf(b, "%s  %s\n", visibleName(f.Name), where)
	if f.Error != nil {
		fmt.Fprintf(b, "  error: %s\n", f.Error.Message)
		if f.Error.Hint != "" {
			fmt.Fprintf(b, "  hint: %s\n", f.Error.Hint)
		}
	}
	if v := f.First; v != nil {
		fmt.Fprintf(b, "  read only so far: it shows what %s says it holds, until %d more entries have arrived and it is checked\n", v.Maker, v.Entries)
	}
	if len(f.Devices) == 0 {
		fmt.Fprint(b, "  only on this device\n")
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, d := range f.Devices {
		state := "not connected"
		if d.Connected {
			state = "connected"
		} else if d.Seen != nil {
			state += ", seen " + d.Seen.Local().Format(time.DateTime)
		}
		why := ""
		if !d.Connected && d.LastError != "" {
			why = " (" + d.LastError + ")"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s%s\n", visibleName(d.Name), state, toGo(d), why)
	}
	w.Flush()
	for _, d := range f.Devices {
		writeDiverged(b, d)
		writeRules(b, d)
	}
	writeUnread(b, f.Unread)
	writeHeads(b, f.Heads)
	writeLocal(b, f.Local)
	for _, h := range f.Held {
		fmt.Fprintf(b, "  %s is not published while a program has a transaction or a log beside it\n", visibleName(h))
	}
	for _, d := range f.Devices {
		writeOpen(b, d)
	}
	for _, n := range f.Notes {
		fmt.Fprintf(b, "  %s %s: ", n.Time.Local().Format(time.DateTime), n.Kind)
		if n.Path != "" {
			fmt.Fprintf(b, "%s: ", visibleName(n.Path))
		}
		fmt.Fprintf(b, "%s\n", visibleName(n.Text))
	}
}

// writeDiverged says that a device has made something else of the same changes.
func writeDiverged(b *strings.Builder, d control.PeerStatus) {
	if d.Diverged == nil {
		return
	}
	fmt.Fprintf(b, "  error: %s has the same changes and another state of the folder, since %s: one of the two is damaged or in error\n",
		d.Name, d.Diverged.Local().Format(time.DateTime))
	fmt.Fprint(b, "  hint: run sheaf doctor --deep here and there; where it names damage, sheaf doctor --repair\n")
}

// writeRules says that a device merges by other rules.
func writeRules(b *strings.Builder, d control.PeerStatus) {
	var whose, where string
	switch d.Rules {
	case "older":
		whose, where = "an older", "on "+visibleName(d.Name)
	case "newer":
		whose, where = "a newer", "on this device"
	default:
		return
	}
	fmt.Fprintf(b, "  %s merges by the rules of %s sheaf: a text that both changed may differ from device to device\n", visibleName(d.Name), whose)
	fmt.Fprintf(b, "  hint: update sheaf %s\n", where)
}

// writeUnread says whose changes wait for a newer sheaf.
func writeUnread(b *strings.Builder, unread []control.Unread) {
	for _, u := range unread {
		fmt.Fprintf(b, "  %s made changes with a newer sheaf (%d since %s): they are kept and passed on, and what they change shows as it was\n",
			visibleName(u.Device), u.Entries, u.Since.Local().Format(time.DateTime))
	}
	if len(unread) > 0 {
		fmt.Fprint(b, "  hint: update sheaf on this device; then they show\n")
	}
}

func writeHeads(b *strings.Builder, heads []control.Head) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, h := range heads {
		where := "git"
		if h.Path != "" {
			where = "git in " + h.Path
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", visibleName(where), visibleName(h.Device), visibleName(h.Head))
	}
	w.Flush()
}

// shownLocal is how many names of this device status lists for people; --json has all.
const shownLocal = 20

func writeLocal(b *strings.Builder, local []control.Local) {
	if len(local) == 0 {
		return
	}
	fmt.Fprint(b, "  only on this device:\n")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	var rest int64
	for i, l := range local {
		if i >= shownLocal {
			rest += l.Bytes
			continue
		}
		path, amount := l.Path, size(l.Bytes)
		if l.Dir {
			path += "/"
			amount += fmt.Sprintf(" in %d files", l.Files)
		}
		if l.More {
			amount = "more than " + amount
		}
		if l.Hides {
			amount += "; others share something of this name, which it hides"
		}
		fmt.Fprintf(w, "    %s\t%s\n", visibleName(path), amount)
	}
	w.Flush()
	if n := len(local) - shownLocal; n > 0 {
		fmt.Fprintf(b, "    and %d more, %s\n", n, size(rest))
	}
}

// writeOpen says what a device has open.
func writeOpen(b *strings.Builder, d control.PeerStatus) {
	for _, f := range d.Open {
		doing := "reading"
		if f.Writing {
			doing = "editing"
		}
		fmt.Fprintf(b, "  %s: %s %s", visibleName(d.Name), doing, visibleName(f.Path))
		if f.Program != "" {
			fmt.Fprintf(b, " (%s)", visibleName(f.Program))
		}
		b.WriteByte('\n')
	}
}

// toGo says what is left to send to and to get from a device.
func toGo(d control.PeerStatus) string {
	if d.EntriesToSend == 0 && d.BytesToSend == 0 && d.EntriesToGet == 0 && d.BytesToGet == 0 {
		return "in step"
	}
	var parts []string
	if d.EntriesToSend != 0 || d.BytesToSend != 0 {
		parts = append(parts, fmt.Sprintf("to send: %d entries, %s", d.EntriesToSend, size(d.BytesToSend)))
	}
	if d.EntriesToGet != 0 || d.BytesToGet != 0 {
		parts = append(parts, fmt.Sprintf("to get: %d entries, %s", d.EntriesToGet, size(d.BytesToGet)))
	}
	return strings.Join(parts, "; ")
}

// size writes bytes as people do.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for ; v >= unit && i < 4; i++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[i])
}

// short is enough of an id to tell it from others.
func short(id string) string { return id[:min(8, len(id))] }

func (a *app) syncCommand() *cobra.Command {
	var req control.SyncRequest
	c := &cobra.Command{
		Use:   "sync [PATH]",
		Short: "Publish what is written; with --wait, until the connected devices have all of it and this one theirs",
		Long: `Publish what programs have written and pass it on. Without --wait the command returns at
once: devices sync by themselves all the time. With --wait it returns when this device and
every connected one hold the same; where there are other devices but none is connected it
waits for one. PATH picks one folder; default: all.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if req.Timeout != 0 && !req.Wait {
				return control.Errorf(control.Usage, "--timeout without --wait has nothing to bound")
			}
			if len(args) > 0 {
				var err error
				if req.Path, err = place(args, 0); err != nil {
					return err
				}
			}
			var r control.SyncReply
			if err := a.call(c.Context(), need{}, control.MethodSync, req, &r); err != nil {
				return err
			}
			for _, f := range r.Folders {
				for _, d := range f.Devices {
					if !d.Connected {
						a.say(fmt.Sprintf("folder %q: %s is not connected and will get it later", f.Name, d.Name))
					}
				}
			}
			if a.json {
				return a.printJSON(r)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&req.Wait, "wait", false, "return when the connected devices are in step")
	c.Flags().DurationVar(&req.Timeout, "timeout", 0, "how long to wait, such as 30s (default: as long as it takes)")
	return c
}
