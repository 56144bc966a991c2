package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
)

// finding is one line of a doctor's report.
type finding struct {
	Check string         `json:"check"`
	OK    bool           `json:"ok"`
	Says  string         `json:"says"`
	Error *control.Error `json:"error,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine and the home; changes nothing",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			found := a.examine(c.Context())
			if a.json {
				if err := a.printJSON(found); err != nil {
					return err
				}
			} else {
				for _, f := range found {
					mark := "ok  "
					if !f.OK {
						mark = "FAIL"
					}
					fmt.Fprintf(a.stdout, "%s  %-8s  %s\n", mark, f.Check, f.Says)
				}
			}
			// The first failure is the one to act on: what comes after may follow from it.
			for _, f := range found {
				if !f.OK {
					return f.Error
				}
			}
			return nil
		},
	}
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
