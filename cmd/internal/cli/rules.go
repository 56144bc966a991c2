package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

func (a *app) localCommand() *cobra.Command {
	return a.rulesCommand(rulesText{
		use: "local [PATH…]", short: "Keep a path on this device, or list this device's rules",
		long: `Keep what will be made at PATH on this device: it is not shared. Without PATH, list the
rules of this device for the folder one is in.

A rule acts when a name is made. What is shared already stays shared: move it away and back
to take it from the others.`,
	})
}

func (a *app) shareCommand() *cobra.Command {
	return a.rulesCommand(rulesText{
		use: "share PATH…", short: "Share a path from this device, whatever .sheafignore files say", mark: "!",
		long: `Share what will be made at PATH, although a .sheafignore file or its being a build folder
would keep it on this device. Nothing shares a .git.

A rule acts when a name is made. What is on this device already stays here: move it away and
back to share it.`,
	})
}

type rulesText struct{ use, short, long, mark string }

func (a *app) rulesCommand(t rulesText) *cobra.Command {
	var patterns []string
	var remove bool
	c := &cobra.Command{
		Use: t.use, Short: t.short, Long: t.long,
		RunE: func(c *cobra.Command, args []string) error {
			req := control.RulesRequest{}
			var err error
			if req.Path, err = place(nil, 0); err != nil {
				return err
			}
			rules := append([]string{}, patterns...)
			for _, arg := range args {
				point, rule, err := a.anchored(c, arg)
				if err != nil {
					return err
				}
				req.Path = point
				rules = append(rules, rule)
			}
			if len(rules) == 0 && (t.mark != "" || remove) {
				return control.Errorf(control.Usage, "no path and no pattern").WithHint("%s --help", c.CommandPath())
			}
			for i, r := range rules {
				rules[i] = t.mark + strings.TrimPrefix(r, "!")
			}
			if remove {
				req.Remove = rules
			} else {
				req.Add = rules
			}
			var r control.RulesReply
			if err := a.call(c.Context(), need{}, control.MethodRules, req, &r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			if len(rules) == 0 {
				for _, l := range r.Rules {
					fmt.Fprintln(a.stdout, l)
				}
			}
			for _, arg := range args {
				if _, err := os.Lstat(arg); err == nil && !remove {
					a.say(arg + " stays what it is: the rule acts when a name is made (mv it away and back)")
				}
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&patterns, "pattern", nil, "a pattern of gitignore's syntax instead of a path")
	c.Flags().BoolVar(&remove, "remove", false, "remove the rule instead")
	return c
}

// anchored makes a path in a mounted folder the pattern that matches it alone.
func (a *app) anchored(c *cobra.Command, arg string) (point, rule string, err error) {
	path, err := target([]string{arg}, 0)
	if err != nil {
		return "", "", err
	}
	// The path itself need not be there yet, and is not followed.
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		dir = filepath.Dir(path)
	}
	path = filepath.Join(dir, filepath.Base(path))
	var s control.Status
	if err := a.call(c.Context(), need{}, control.MethodStatus, struct{}{}, &s); err != nil {
		return "", "", err
	}
	for _, f := range s.Folders {
		rel, err := filepath.Rel(f.Path, path)
		if f.Path == "" || err != nil || !filepath.IsLocal(rel) || rel == "." {
			continue
		}
		return f.Path, "/" + escapePattern(rel), nil
	}
	return "", "", control.Errorf(control.NotFound, "%s is in no folder of this device", arg).
		WithHint("sheaf status lists the folders; is it another --home?")
}

func escapePattern(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(`\*?[ `, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
