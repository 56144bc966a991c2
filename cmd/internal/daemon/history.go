package daemon

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
)

// published is the folder of a path and the path in it, with what was saved a moment ago.
func (d *daemon) published(path string) (*crdt.Folder, string, error) {
	f, rel, err := d.folderAt(path)
	if err != nil {
		return nil, "", err
	}
	return f, rel, d.publish(f)
}

func (d *daemon) history(_ context.Context, r control.LogRequest, _ func(string)) (control.LogReply, error) {
	f, rel, err := d.published(r.Path)
	if err != nil {
		return control.LogReply{}, err
	}
	revs, err := f.History(rel, r.Limit)
	if err != nil {
		return control.LogReply{}, err
	}
	reply := control.LogReply{Path: r.Path, Dir: rel == "", Revisions: []control.Revision{}}
	for _, v := range revs {
		reply.Dir = reply.Dir || v.Kind == crdt.Dir && (v.Path == rel || v.From == rel)
		out := control.Revision{
			Change: v.Change.String(), Device: v.DeviceName, Author: v.Author, Time: v.Time, Op: v.Op,
			Kind: v.Kind.String(), Path: v.Path, From: v.From, Label: v.Label, Added: v.Added, Removed: v.Removed,
			Version: joined(v.Version), Expired: v.Absent,
		}
		if v.Object != nil {
			out.Size = v.Object.Size
		}
		reply.Revisions = append(reply.Revisions, out)
	}
	return reply, nil
}

// joined writes a version in full.
func joined(v crdt.Version) string {
	heads := make([]string, len(v))
	for i, h := range v {
		heads[i] = h.String()
	}
	return strings.Join(heads, "+")
}

func (d *daemon) blame(_ context.Context, r control.PathRequest, _ func(string)) (control.BlameReply, error) {
	f, info, err := d.fileAt(r.Path)
	if err != nil {
		return control.BlameReply{}, err
	}
	lines, err := f.Annotate(info.Node)
	err = AsUsage(err)
	reply := control.BlameReply{Path: r.Path, Lines: []control.BlameLine{}}
	for _, l := range lines {
		reply.Lines = append(reply.Lines, control.BlameLine{
			Version: l.Event.String(), Device: l.DeviceName, Author: l.Author, Time: l.Time, Text: l.Text,
		})
	}
	return reply, err
}

// state is one side of a diff.
type state struct {
	name    string
	content crdt.Content
	none    bool // there was no such file
}

func (d *daemon) diff(_ context.Context, r control.DiffRequest, _ func(string)) (control.DiffReply, error) {
	none := control.DiffReply{}
	f, rel, err := d.published(r.Path)
	if err != nil {
		return none, err
	}
	var from, to state
	if r.From == "" {
		from, to, err = lastChange(f, rel)
	} else {
		if from, err = stateOf(f, rel, r.From); err != nil {
			return none, AsUsage(err)
		}
		to, err = stateOf(f, rel, r.To)
	}
	if err != nil {
		return none, AsUsage(err)
	}
	if from.none && to.none {
		return none, control.Errorf(control.NotFound, "%s: there was no such file in either state", r.Path).
			WithHint("sheaf log %s shows when there was", r.Path)
	}
	reply := control.DiffReply{Path: rel, From: from.name, To: to.name}
	for _, s := range []*state{&from, &to} {
		// What is kept whole may be a text all the same.
		if c, err := d.home.Readable(s.content); err == nil {
			s.content = c
		} else if !errors.Is(err, crdt.ErrNotHere) {
			return none, err
		}
	}
	if from.content.Object != nil || to.content.Object != nil {
		if a, b := from.content.Object, to.content.Object; a == nil || b == nil || a.Hash != b.Hash {
			reply.Unified = "Binary files " + label("a", rel, from) + " and " + label("b", rel, to) + " differ\n"
		}
		return reply, nil
	}
	reply.Unified = udiff.Unified(label("a", rel, from), label("b", rel, to), from.content.Text, to.content.Text)
	return reply, nil
}

func label(side, path string, s state) string {
	if s.none {
		return os.DevNull
	}
	name := side + "/" + path
	if strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		name = strconv.Quote(name) // as git does: the line ends where it should
	}
	return name + "\t" + s.name
}

// lastChange is the file before and after the last change of its content.
func lastChange(f *crdt.Folder, rel string) (from, to state, err error) {
	info, err := f.Resolve(rel)
	if err == nil && info.Kind != crdt.File {
		err = control.Errorf(control.Usage, "%s is a %s: sheaf diff compares files", rel, info.Kind)
	}
	if err != nil {
		return from, to, err
	}
	to.name = "now"
	if to.content, err = f.Content(info.Node); err != nil {
		return from, to, err
	}
	before, when, err := f.Before(info.Node)
	if err != nil {
		return from, to, err
	}
	from.name, from.none = "before "+when.Local().Format(time.DateTime), before == nil
	from.content, err = f.ContentAt(info.Node, before)
	return from, to, err
}

// stateOf finds what a file held: now, at a version of it, after a change, or at a time.
func stateOf(f *crdt.Folder, rel, what string) (s state, err error) {
	if what == "" {
		s.name = "now"
		info, err := f.Resolve(rel)
		if errors.Is(err, crdt.ErrNotExist) {
			return state{name: s.name, none: true}, nil
		}
		if err == nil {
			s.content, err = f.Content(info.Node)
		}
		return s, err
	}
	var past *crdt.Past
	t, terr := crdt.ParseTime(what, time.Now())
	switch {
	case terr == nil:
		s.name = t.Local().Format(time.DateTime)
		past, err = f.PastAt(t)
	case !hexes(what):
		return s, terr
	default:
		s.name = what
		info, ok, verr := f.VersionAt(rel, what)
		if verr != nil {
			return s, verr
		}
		if ok {
			s.content, err = f.ContentAt(info.Node, info.Version)
			return s, err
		}
		past, err = f.PastOf(what)
	}
	if err != nil {
		return s, err
	}
	info, err := past.Resolve(rel)
	switch {
	case errors.Is(err, crdt.ErrNotExist):
		return state{name: s.name, none: true}, nil
	case err != nil:
		return s, err
	case info.Kind != crdt.File:
		return s, control.Errorf(control.Usage, "%s is a %s: sheaf diff compares files", rel, info.Kind)
	}
	s.content, err = past.Content(info)
	return s, err
}

// hexes reports whether s can be the beginning of a version or a change.
func hexes(s string) bool {
	for part := range strings.SplitSeq(strings.ToLower(s), "+") {
		if _, err := hex.DecodeString(part[:len(part)&^1]); err != nil || len(part) < 4 {
			return false
		}
	}
	return true
}

// shown waits until the mount shows what was done.
func (d *daemon) shown(ctx context.Context, f *crdt.Folder) {
	if m := d.mountOf(f); m != nil {
		m.view.Shown(ctx)
	}
}

func (d *daemon) restore(ctx context.Context, r control.RestoreRequest, _ func(string)) (control.RestoreReply, error) {
	none := control.RestoreReply{}
	f, rel, err := d.published(r.Path)
	if err != nil {
		return none, err
	}
	req := crdt.RestoreRequest{Path: rel, Version: r.Version}
	if r.At != nil {
		req.At = *r.At
	}
	if r.To != "" {
		g, to, err := d.folderAt(r.To)
		if err != nil {
			return none, err
		}
		if g != f {
			return none, control.Errorf(control.Usage, "%s is in another folder", r.To).WithHint("restore it here, then move it")
		}
		if to == "" {
			return none, control.Errorf(control.Exists, "%s is the folder itself", r.To).WithHint("name a path in it that is free")
		}
		req.To = to
	}
	out, err := f.Restore(req)
	d.shown(ctx, f)
	return control.RestoreReply{Restored: orEmpty(out.Paths), Same: out.Same, Left: orEmpty(out.Left), Action: out.ID.String()}, AsUsage(err)
}

func orEmpty(s []string) []string { return append([]string{}, s...) }

func (d *daemon) undo(ctx context.Context, r control.UndoRequest, _ func(string)) (control.UndoReply, error) {
	f, _, err := d.published(r.Path)
	if err != nil {
		return control.UndoReply{}, err
	}
	out, err := f.Undo(r.Action, r.Redo)
	if err != nil {
		return control.UndoReply{}, AsUsage(err)
	}
	d.shown(ctx, f)
	return control.UndoReply{Action: actionOf(out.Action), Done: out.Done, Left: out.Left}, nil
}

func (d *daemon) actions(_ context.Context, r control.ActionsRequest, _ func(string)) (control.ActionsReply, error) {
	f, _, err := d.published(r.Path)
	if err != nil {
		return control.ActionsReply{}, err
	}
	list, err := f.Actions(r.Limit)
	reply := control.ActionsReply{Actions: []control.Action{}}
	for _, a := range list {
		reply.Actions = append(reply.Actions, actionOf(a))
	}
	return reply, err
}

func actionOf(a crdt.Action) control.Action {
	out := control.Action{ID: a.ID.String(), Time: a.Time, Label: a.Label, Author: a.Author, Undone: a.Undone}
	if !a.Undoes.IsZero() {
		out.Undoes = a.Undoes.String()
	}
	return out
}

// AsUsage makes an error about what a person wrote (a time, a version) one of usage.
func AsUsage(err error) error {
	if !errors.Is(err, crdt.ErrInvalid) {
		return err
	}
	e := *explain(err)
	e.Kind = control.Usage
	return &e
}

// statusFile is what .sheaf/status in a folder's mount says: what sheaf status --json does.
func (d *daemon) statusFile(f *crdt.Folder) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		s, err := d.folderStatus(f)
		if err != nil {
			return nil, err
		}
		b, err := json.MarshalIndent(s, "", "  ")
		return append(b, '\n'), err
	}
}
