package daemon

import (
	"context"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/fs"
)

// rules shows or changes what this device keeps to itself of a folder. A pattern that is added
// comes last, so that it counts.
func (d *daemon) rules(_ context.Context, r control.RulesRequest, _ func(string)) (control.RulesReply, error) {
	d.ops.Lock()
	defer d.ops.Unlock()
	none := control.RulesReply{}
	f, _, err := d.folderAt(r.Path)
	if err != nil {
		return none, err
	}
	text, err := fs.LocalRules(d.home, f)
	if err != nil {
		return none, err
	}
	lines := strings.FieldsFunc(text, func(c rune) bool { return c == '\n' })
	for _, p := range r.Remove {
		if !slices.Contains(lines, p) {
			return none, control.Errorf(control.NotFound, "%s: no such rule", strings.TrimPrefix(p, "!")).
				WithHint("sheaf local lists the rules")
		}
		lines = slices.DeleteFunc(lines, func(l string) bool { return l == p })
	}
	for _, p := range r.Add {
		bare := strings.TrimPrefix(p, "!")
		if bare == "" || strings.ContainsAny(p, "\n\r\x00") {
			return none, control.Errorf(control.Usage, "%q is no pattern", p)
		}
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.TrimPrefix(l, "!") == bare })
		lines = append(lines, p)
	}
	if len(r.Add)+len(r.Remove) > 0 {
		if err := fs.SetLocalRules(d.home, f, strings.Join(lines, "\n")); err != nil {
			return none, err
		}
		if m := d.mountOf(f); m != nil {
			if err := m.view.RulesChanged(); err != nil {
				return none, err
			}
		}
	}
	return control.RulesReply{Rules: append([]string{}, lines...)}, nil
}
