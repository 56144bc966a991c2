package cli

import (
	"context"
	"strings"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

// daemonStatus asks a daemon that runs how it is; running is false where none does.
func (a *app) daemonStatus(ctx context.Context) (s control.Status, running bool, err error) {
	if !control.Answers(ctx, a.home) {
		return s, false, nil
	}
	err = control.NewClient(a.home).Call(ctx, control.MethodStatus, struct{}{}, &s, a.say)
	return s, err == nil, err
}

// replaceOther ends a daemon of another version than this command in an orderly way, so
// that the one of this version is started in its place. A folder that programs have files
// open in is not taken from under them.
func (a *app) replaceOther(ctx context.Context) error {
	s, running, err := a.daemonStatus(ctx)
	if err != nil || !running || s.Version == version {
		return err
	}
	for _, f := range s.Folders {
		if len(f.Writing) > 0 {
			return control.Errorf(control.InUse, "the daemon of %s is version %s, this command %s, and programs write in folder %q: %s",
				a.home, s.Version, version, f.Name, strings.Join(f.Writing, ", ")).
				WithHint("close them, then sheaf up again; or sheaf down, which does not wait for them, then sheaf up")
		}
	}
	a.say("the daemon is version " + s.Version + "; version " + version + " takes its place")
	var r control.DownReply
	if err := control.NewClient(a.home).Call(ctx, control.MethodDown, struct{}{}, &r, a.say); err != nil {
		return err
	}
	return awaitEnd(ctx, r.PID)
}

// warnOther tells of a daemon of another version than this command.
func (a *app) warnOther(s control.Status) {
	if s.Running && s.Version != version {
		a.say("the daemon is version " + s.Version + ", this command version " + version + ": sheaf up replaces it")
	}
}
