package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
)

// deviceFlags are the flags of commands that may make the home.
func (n *need) deviceFlags(c *cobra.Command) {
	n.create = true
	c.Flags().StringVar(&n.device, "device", "", "name of this device in a new home (default: the host's name)")
	n.listenFlag(c)
}

func (n *need) listenFlag(c *cobra.Command) {
	c.Flags().StringVar(&n.listen, "listen", "", "UDP address for other devices, such as :4711 or 192.0.2.7:4711; remembered")
}

// check refuses flags that a home that is already there contradicts.
func (n *need) check(ctx context.Context, a *app) error {
	if n.device == "" || !daemon.HomeExists(a.home) {
		return nil
	}
	var s control.Status
	if err := a.call(ctx, need{}, control.MethodStatus, struct{}{}, &s); err != nil {
		return err
	}
	if s.Device.Name != n.device {
		return control.Errorf(control.Exists, "the device of %s is already named %q", a.home, s.Device.Name).
			WithHint("leave --device away, or make another device with another --home")
	}
	return nil
}

func (a *app) initCommand() *cobra.Command {
	var n need
	var req control.InitRequest
	c := &cobra.Command{
		Use:   "init [PATH]",
		Short: "Make a folder and mount it on PATH (default: the current directory)",
		Long: `Make a folder and mount it on PATH, an empty directory or one to be made.

With --import, PATH may hold files: all of them are copied into the new folder and
compared, the original is moved to PATH.before-sheaf, and the folder is mounted on PATH.
What .sheafignore files, build folders and repositories keep on this device is copied, too,
but not shared. Interrupted, it leaves PATH as it was.

With --plain nothing is mounted: PATH is an ordinary directory, kept in step with the
folder. What it holds is the folder's first content. For machines without FUSE.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			var err error
			if req.Path, err = place(args, 0); err != nil {
				return err
			}
			// Nothing is made, not even a home, for a place that will not do.
			if err := daemon.CheckPlace(req.Path, a.home, daemon.Place{Import: req.Import, Plain: req.Plain, Filled: req.Plain}); err != nil {
				return daemon.Explain(err)
			}
			if err := n.check(ctx, a); err != nil {
				return err
			}
			var m control.Mounted
			if err := a.callNew(ctx, n, control.MethodInit, req, &m); err != nil {
				return err
			}
			if i := m.Imported; i != nil {
				a.say(fmt.Sprintf("copied %d files (%s), %d directories, %d symlinks; the original is %s",
					i.Files, size(i.Bytes), i.Dirs, i.Symlinks, i.Original))
				if err := copyLocal(i.Original, m.Path, i.Local); err != nil {
					return err
				}
				a.sayEach("kept on this device, not shared: ", i.Local)
				a.sayEach("not copied, since it is no file, directory or symlink: ", i.Skipped)
			}
			if req.Plain {
				a.say(fmt.Sprintf("folder %q is kept in step with %s", m.Name, m.Path))
			} else {
				a.say(fmt.Sprintf("folder %q is mounted on %s", m.Name, m.Path))
				a.sayIfHere(m.Path)
			}
			a.say("sheaf invite " + m.Path + " prints a ticket for another device")
			return a.printMounted(m)
		},
	}
	c.Flags().BoolVar(&req.Import, "import", false, "copy what PATH holds into the folder")
	c.Flags().BoolVar(&req.Plain, "plain", false, "keep an ordinary directory in step instead of mounting")
	c.Flags().StringVar(&req.Name, "name", "", "the folder's name (default: PATH's last part)")
	n.deviceFlags(c)
	return c
}

// maxSaid is how many paths of one kind are said one by one.
const maxSaid = 20

// sayEach says a line a path, and how many there are where they are too many.
func (a *app) sayEach(what string, paths []string) {
	for i, p := range paths {
		if i == maxSaid {
			a.say(fmt.Sprintf("%sand %d more", what, len(paths)-i))
			return
		}
		a.say(what + visibleName(p))
	}
}

// callNew is call for a command that may make the home: where it does, and fails before the
// home has a folder, the home goes again.
func (a *app) callNew(ctx context.Context, n need, method string, in, out any) error {
	had := daemon.HomeExists(a.home)
	err := a.call(ctx, n, method, in, out)
	if err != nil && !had {
		// An interrupted command has to tidy up, too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer cancel()
		if uerr := a.unmakeHome(ctx); uerr != nil {
			a.say("the new home stays: " + uerr.Error())
		}
	}
	return err
}

// unmakeHome ends the daemon of a home that was made a moment ago and removes the home,
// unless it has a folder by now.
func (a *app) unmakeHome(ctx context.Context) error {
	if control.Answers(ctx, a.home) {
		c := control.NewClient(a.home)
		var s control.Status
		if err := c.Call(ctx, control.MethodStatus, struct{}{}, &s, nil); err != nil || len(s.Folders) > 0 {
			return err
		}
		var r control.DownReply
		if err := c.Call(ctx, control.MethodDown, struct{}{}, &r, nil); err != nil {
			return err
		}
		if err := awaitEnd(ctx, r.PID); err != nil {
			return err
		}
	} else if err := daemon.CheckHome(a.home); err != nil {
		return err // whatever it is, it is not the home that this command made
	}
	return daemon.RemoveHome(a.home)
}

// sayIfHere tells a shell whose directory a mount has covered how to get into the folder.
func (a *app) sayIfHere(point string) {
	if here, err := os.Getwd(); err == nil && (here == point || strings.HasPrefix(here, point+"/")) {
		a.say("this shell is still in the directory below it: cd " + here)
	}
}

// printMounted prints where a folder is, as data.
func (a *app) printMounted(m control.Mounted) error {
	if a.json {
		return a.printJSON(m)
	}
	_, err := fmt.Fprintln(a.stdout, m.Path)
	return err
}

func (a *app) inviteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "invite [PATH]",
		Short: "Print a ticket that lets one other device join the folder of PATH",
		Long: `Print a ticket that lets one other device join the folder of PATH.

The ticket alone goes to stdout. It works once, within 24 hours, and while a device that
has the folder can be reached. Whoever has it can join: hand it over privately.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := place(args, 0)
			if err != nil {
				return err
			}
			var r control.InviteReply
			if err := a.call(c.Context(), need{}, control.MethodInvite, control.PathRequest{Path: path}, &r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			_, err = fmt.Fprintln(a.stdout, r.Ticket)
			return err
		},
	}
}

func (a *app) joinCommand() *cobra.Command {
	var n need
	var req control.JoinRequest
	c := &cobra.Command{
		Use:   "join TICKET|- [PATH]",
		Short: "Join the folder of a ticket and mount it on PATH (default: the current directory)",
		Long: `Join the folder of a ticket and mount it on PATH, an empty directory or one to be made.
A ticket of "-" is read from stdin, which keeps it out of the process list.

The command returns when everything the inviting device has is here. When --timeout runs
out before, the folder stays joined and goes on filling in the background.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			var err error
			if req.Ticket, err = a.ticket(args[0]); err != nil {
				return err
			}
			if req.Path, err = place(args, 1); err != nil {
				return err
			}
			if err := daemon.CheckTicket(req.Ticket); err != nil {
				return daemon.Explain(err)
			}
			if err := daemon.CheckPlace(req.Path, a.home, daemon.Place{Plain: req.Plain}); err != nil {
				return daemon.Explain(err)
			}
			if err := n.check(ctx, a); err != nil {
				return err
			}
			var m control.Mounted
			if err := a.callNew(ctx, n, control.MethodJoin, req, &m); err != nil {
				return err
			}
			if req.Plain {
				a.say(fmt.Sprintf("folder %q is here, kept in step with %s", m.Name, m.Path))
			} else {
				a.say(fmt.Sprintf("folder %q is here, mounted on %s", m.Name, m.Path))
				a.sayIfHere(m.Path)
			}
			return a.printMounted(m)
		},
	}
	c.Flags().BoolVar(&req.Plain, "plain", false, "keep an ordinary directory in step instead of mounting")
	c.Flags().DurationVar(&req.Timeout, "timeout", 0, "how long to wait for the first sync, such as 90s (default: as long as it takes)")
	n.deviceFlags(c)
	return c
}

// ticket is the argument, or the first line of stdin for "-".
func (a *app) ticket(arg string) (string, error) {
	if arg != "-" {
		return strings.TrimSpace(arg), nil
	}
	line, err := bufio.NewReader(io.LimitReader(a.stdin, 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", control.Errorf(control.Usage, "read the ticket from stdin: %v", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", control.Errorf(control.Usage, "no ticket on stdin")
	}
	return line, nil
}

func (a *app) upCommand() *cobra.Command {
	var n need
	var install bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the daemon and mount every folder of this device",
		Long: `Start the daemon and mount every folder of this device. A daemon of another version is
replaced.

With --install, a systemd user unit is written that does so at every login; sheaf down
--uninstall takes it back.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			if install {
				if !daemon.HomeExists(a.home) {
					return noHome(a.home)
				}
				if err := a.install(ctx); err != nil {
					return err
				}
			}
			if err := a.replaceOther(ctx); err != nil {
				return err
			}
			if n.listen != "" && control.Answers(ctx, a.home) {
				return control.Errorf(control.InUse, "the daemon of %s runs and cannot move to %s", a.home, n.listen).
					WithHint("sheaf down, then sheaf up --listen %s", n.listen)
			}
			var r control.UpReply
			if err := a.call(ctx, n, control.MethodUp, control.UpRequest{}, &r); err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(r); err != nil {
					return err
				}
			} else {
				for _, m := range r.Folders {
					fmt.Fprintln(a.stdout, m.Path)
				}
			}
			return firstFailed(a, r.Failed)
		},
	}
	c.Flags().BoolVar(&install, "install", false, "also at every login, by systemd")
	n.listenFlag(c)
	return c
}

// firstFailed prints all failures but the last, which it returns for the end.
func firstFailed(a *app, failed []control.Failed) error {
	for i, f := range failed {
		if i == len(failed)-1 {
			return f.Error
		}
		report(a.stderr, f.Error)
	}
	return nil
}

func (a *app) downCommand() *cobra.Command {
	var uninstall bool
	c := &cobra.Command{
		Use:   "down",
		Short: "Unmount every folder and end the daemon; nothing is mounted again until sheaf up",
		Long: `Unmount every folder and end the daemon; nothing is mounted again until sheaf up.

What programs are writing is published as it is. A folder that programs still use after a
few seconds is detached all the same, and the files they have open are named.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			if uninstall {
				if err := a.uninstall(ctx); err != nil {
					return err
				}
			}
			if !daemon.HomeExists(a.home) {
				return noHome(a.home)
			}
			if !control.Answers(ctx, a.home) {
				// It may be starting; then it holds the home, and the next start stays down.
				if err := daemon.SetDown(a.home, true); err != nil {
					return daemon.Explain(err)
				}
				a.say("the daemon does not run")
				return nil
			}
			var r control.DownReply
			if err := control.NewClient(a.home).Call(ctx, control.MethodDown, struct{}{}, &r, a.say); err != nil {
				return err
			}
			for _, p := range r.Busy {
				a.say("detached while programs still use it: " + p)
			}
			for _, p := range r.Writing {
				a.say("published as far as it was written, and still open in a program: " + p)
			}
			if err := awaitEnd(ctx, r.PID); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&uninstall, "uninstall", false, "and remove what sheaf up --install made")
	return c
}

// endWithin is how long a daemon that said it is going may take to be gone.
const endWithin = 30 * time.Second

// awaitEnd returns when the process is gone, so that what comes next finds the home free.
func awaitEnd(ctx context.Context, pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil
	}
	defer p.Release()
	for end := time.Now().Add(endWithin); time.Now().Before(end); {
		if gone(p) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return control.Errorf(control.Timeout, "the daemon (process %d) unmounted everything but has not ended in %v", pid, endWithin)
}
