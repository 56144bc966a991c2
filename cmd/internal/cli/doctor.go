package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
)

// finding is one line of a doctor's report.
type finding struct {
	Check string         `json:"check"`
	OK    bool           `json:"ok"`
	Says  string         `json:"says"`
	Done  string         `json:"done,omitempty"` // what a repair did about it
	Error *control.Error `json:"error,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var deep, repair bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine and the home",
		Long: `Check this machine, the home and the mounts; changes nothing. With --deep, also read everything
in the home: every object against its hash, every entry against its signature, what the folders
show against what their entries make of it, and every text against Automerge's. With --repair, mend what --deep finds: the home
must be down; what was damaged is kept in HOME/damaged, and sheaf up fetches it from other devices.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var found []finding
			switch {
			case repair:
				found = a.repair(c.Context())
			default:
				if found = a.examine(c.Context()); deep && daemon.HomeExists(a.home) {
					found = append(found, a.deep(c.Context())...)
				}
			}
			return a.printFindings(found)
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "read and check everything in the home")
	c.Flags().BoolVar(&repair, "repair", false, "mend what --deep finds; the home must be down")
	return c
}

func (a *app) printFindings(found []finding) error {
	if a.json {
		if err := a.printJSON(found); err != nil {
			return err
		}
	} else {
		for _, f := range found {
			mark := "ok  "
			switch {
			case !f.OK:
				mark = "FAIL"
			case f.Done != "":
				mark = "done"
			}
			fmt.Fprintf(a.stdout, "%s  %-9s  %s\n", mark, f.Check, visible(f.Says))
			if f.Done != "" {
				fmt.Fprintf(a.stdout, "                 %s\n", f.Done)
			}
		}
	}
	// The first failure is the one to act on: what comes after may follow from it.
	for _, f := range found {
		if !f.OK {
			return f.Error
		}
	}
	return nil
}

// deep has everything in the home read, by its daemon if that runs.
func (a *app) deep(ctx context.Context) []finding {
	var r control.CheckReply
	var err error
	if control.Answers(ctx, a.home) {
		err = control.NewClient(a.home).Call(ctx, control.MethodCheck, struct{}{}, &r, a.watched())
	} else {
		r, err = daemon.DeepCheck(ctx, a.home, a.watched())
	}
	return checkup(r, err, "stop it with sheaf down, then sheaf doctor --repair, then sheaf up")
}

// repair mends the home.
func (a *app) repair(ctx context.Context) []finding {
	if !daemon.HomeExists(a.home) {
		return checkup(control.CheckReply{}, noHome(a.home), "")
	}
	if control.Answers(ctx, a.home) {
		return checkup(control.CheckReply{}, control.Errorf(control.InUse, "the daemon of %s runs; a repair needs the home for itself", a.home).
			WithHint("sheaf down, then sheaf doctor --repair, then sheaf up"), "")
	}
	r, err := daemon.Repair(ctx, a.home, a.watched())
	return checkup(r, err, "keep a copy of the home; another device may have what is missing, or join again with a new --home")
}

// watched prints how far a check is where a person is watching.
func (a *app) watched() func(string) {
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return a.say
	}
	return func(string) {}
}

// checkup makes findings of what a check or a repair found.
func checkup(r control.CheckReply, err error, hint string) []finding {
	var found []finding
	for _, d := range r.Damage {
		says := d.Path + ": " + d.Text
		if d.Folder != "" {
			says = fmt.Sprintf("folder %q: %s", d.Folder, says)
		}
		f := finding{Check: d.What, OK: d.Done != "", Says: says, Done: d.Done}
		if !f.OK {
			f.Error = control.Errorf(control.Damaged, "%s", says).WithHint("%s", hint)
		}
		found = append(found, f)
	}
	switch {
	case err != nil:
		e := control.As(daemon.Explain(err))
		found = append(found, finding{Check: "contents", Says: e.Message, Error: e})
	default:
		found = append(found, finding{Check: "contents", OK: true, Says: fmt.Sprintf("looked at %d objects (%s), %d entries, %d texts; damaged: %d",
			r.Objects, size(r.Bytes), r.Entries, r.Texts, len(r.Damage))})
	}
	if c := r.Automerge; c != nil {
		for _, l := range c.Left {
			found = append(found, finding{Check: "automerge", OK: true, Says: "not compared: " + l})
		}
		says := fmt.Sprintf("%d texts are what Automerge makes of them; not compared: %d", c.Same, len(c.Left))
		if c.Missing != "" {
			says = "texts are not held against Automerge's: " + c.Missing
		}
		found = append(found, finding{Check: "automerge", OK: true, Says: says})
	}
	return found
}

// examine makes all checks, those that others rest on first.
func (a *app) examine(ctx context.Context) []finding {
	var found []finding
	check := func(name, says string, err error) {
		f := finding{Check: name, OK: err == nil, Says: says}
		if err != nil {
			f.Error = control.As(daemon.Explain(err))
			f.Says = f.Error.Message
		}
		found = append(found, f)
	}
	check("fuse", "this machine can mount", daemon.CheckFUSE())
	says, err := a.checkHome()
	check("home", says, err)
	if !daemon.HomeExists(a.home) {
		return found
	}
	if !control.Answers(ctx, a.home) {
		says := "no daemon runs"
		if daemon.IsDown(a.home) {
			says = "taken down (sheaf up starts it)"
		}
		check("daemon", says, nil)
		check("database", "it opens, and what it says of the folders can be read", daemon.CheckHome(a.home))
		return found
	}
	var s control.Status
	if err := control.NewClient(a.home).Call(ctx, control.MethodStatus, struct{}{}, &s, a.say); err != nil {
		check("daemon", "", err)
		return found
	}
	err = nil
	if s.Version != version {
		err = control.Errorf(control.Failure, "process %d answers, version %s; this command is version %s", s.PID, s.Version, version).
			WithHint("sheaf up replaces it")
	}
	check("daemon", fmt.Sprintf("process %d answers, version %s", s.PID, s.Version), err)
	check("expiry", "freed so far: "+freedLine(s.Freed), nil)
	for _, f := range s.Folders {
		check("mount", fmt.Sprintf("folder %q on %s", f.Name, orNone(f.Path)), mountError(f))
		for _, u := range f.Unread {
			check("version", "", control.Errorf(control.Failure, "folder %q: changes of %s (%d) take a newer sheaf than this one", f.Name, u.Device, u.Entries).
				WithHint("update sheaf on this device"))
		}
		if len(f.Notes) > 0 {
			check("notes", fmt.Sprintf("folder %q has %d notes: see sheaf status", f.Name, len(f.Notes)), nil)
		}
	}
	return found
}

// checkHome says who may read the home.
func (a *app) checkHome() (string, error) {
	fi, err := os.Stat(a.home)
	if err != nil {
		if !daemon.HomeExists(a.home) {
			return "", noHome(a.home)
		}
		return "", err
	}
	if !daemon.HomeExists(a.home) {
		return "", noHome(a.home)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return "", control.Errorf(control.Denied, "%s can be read by others (mode %04o); the folders' keys are in it", a.home, fi.Mode().Perm()).
			WithHint("chmod 700 %s", a.home)
	}
	return a.home + " belongs to its owner alone", nil
}

func mountError(f control.FolderStatus) error {
	switch {
	case f.Error != nil:
		return f.Error
	case f.Path != "" && !f.Mounted:
		return control.Errorf(control.Failure, "folder %q is not mounted on %s", f.Name, f.Path).WithHint("sheaf up")
	case !f.Mounted:
		return nil
	}
	if _, err := os.Stat(f.Path); err != nil {
		return control.Errorf(control.Failure, "folder %q: %s does not answer: %s", f.Name, f.Path, strings.TrimPrefix(err.Error(), "stat ")).
			WithHint("sheaf down, then sheaf up")
	}
	return nil
}

func orNone(path string) string {
	if path == "" {
		return "no mount point"
	}
	return path
}
