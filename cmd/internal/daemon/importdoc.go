package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/cmd/internal/automerge"
	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
)

// importDocument makes a file of a text in an Automerge document.
func (d *daemon) importDocument(ctx context.Context, r control.ImportRequest, _ func(string)) (control.ImportReply, error) {
	none := control.ImportReply{}
	f, rel, err := d.published(r.Path)
	if err != nil {
		return none, err
	}
	if i, err := f.Resolve(rel); err == nil && i.Kind == crdt.Dir {
		rel = path.Join(rel, strings.TrimSuffix(path.Base(r.Document), ".automerge"))
	}
	if _, err := f.Resolve(rel); err == nil {
		return none, control.Errorf(control.Exists, "%s: there is something of that name in folder %q", rel, f.Name()).
			WithHint("name a path that is free: sheaf import %s PATH", r.Document)
	}
	up, name := path.Split(rel)
	dir, err := f.Resolve(strings.TrimSuffix(up, "/"))
	if err != nil {
		return none, err
	}
	doc, err := readDocument(r.Document)
	if err != nil {
		return none, err
	}
	lib := &automerge.Library{}
	defer lib.Close()
	a, err := lib.Read(ctx, automerge.Query{Document: doc, Key: r.Key, History: true})
	switch {
	case errors.Is(err, automerge.ErrNone):
		return none, control.Errorf(control.Failure, "%s cannot be read: %v", r.Document, err).
			WithHint("install %s beside sheaf; make build, with a C compiler, makes both", automerge.Program)
	case err != nil && ctx.Err() == nil:
		return none, control.Errorf(control.Document, "%s: %v", r.Document, err)
	case err != nil:
		return none, err
	case a.Key == "":
		return none, noText(r, a.Keys)
	}
	if !crdt.IsTextString(a.Text) {
		return none, control.Errorf(control.Document, "%s: what is at %q is no text that a file can have: it has NUL in it, or is larger than %d MiB",
			r.Document, a.Key, crdt.MaxText>>20)
	}
	versions := 0
	err = f.Update(func(tx *crdt.Tx) (err error) {
		if err := tx.Label(crdt.NewActionID(), "import "+rel); err != nil {
			return err
		}
		versions, err = makeFile(tx, dir.Node, name, a)
		return err
	})
	d.shown(ctx, f)
	return control.ImportReply{Path: rel, Key: a.Key, Versions: versions}, AsUsage(err)
}

// noText says which texts there are, where none was meant.
func noText(r control.ImportRequest, keys []string) error {
	if len(keys) == 0 {
		return control.Errorf(control.Document, "%s: there is no text at the root of the document", r.Document)
	}
	quoted := make([]string, min(len(keys), 20))
	for i := range quoted {
		quoted[i] = fmt.Sprintf("%.60q", keys[i])
	}
	e := control.Errorf(control.Usage, "%s has %d texts", r.Document, len(keys))
	if r.Key != "" {
		e = control.Errorf(control.NotFound, "%s: there is no text %q", r.Document, r.Key)
	}
	return e.WithHint("choose one with --key: %s", strings.Join(quoted, ", "))
}

func readDocument(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, control.Errorf(control.Usage, "%s is no file", path)
	}
	if fi.Size() > automerge.MaxDocument {
		return nil, control.Errorf(control.Document, "%s: %v", path, automerge.ErrLarge)
	}
	return os.ReadFile(path)
}

// makeFile makes a file of a document's text: with its history, each change as a save by this
// device from what its author had seen, where that is a history that a file can have; else with
// the text alone. It returns how many versions it made.
func makeFile(tx *crdt.Tx, dir crdt.NodeID, name string, a automerge.Answer) (versions int, err error) {
	const mode = 0o644
	steps := begun(a.Steps)
	if len(steps) == 0 {
		_, _, err := tx.Create(dir, name, mode, crdt.NewContent{Text: a.Text})
		return 1, err
	}
	var node crdt.NodeID
	made := make([]crdt.Version, len(steps))
	last := map[int]bool{} // steps that nothing was made on
	for i, s := range steps {
		last[i] = true
		var base []crdt.EventID
		for _, n := range s.After {
			base = append(base, made[n]...)
			delete(last, n)
		}
		if i == 0 {
			node, made[i], err = tx.Create(dir, name, mode, crdt.NewContent{Text: s.Text})
		} else {
			made[i], err = tx.Write(node, crdt.NewVersion(base...), crdt.NewContent{Text: s.Text})
		}
		if err != nil {
			return 0, err
		}
		if i == 0 || !slices.Contains(base, made[i][0]) {
			versions++
		}
	}
	var heads []crdt.EventID
	for i := range last {
		heads = append(heads, made[i]...)
	}
	// What the document says counts, also where its changes merge in another way here.
	_, err = tx.Write(node, crdt.NewVersion(heads...), crdt.NewContent{Text: a.Text})
	return versions, err
}

// begun are the steps from the first that is not empty on, with their numbers among themselves.
// There are none if the text began more than once, or was something at any time that a file's
// text cannot be.
func begun(steps []automerge.Step) []automerge.Step {
	var out []automerge.Step
	number := map[int]int{} // in out, by that in steps
	for i, s := range steps {
		var after []int
		for _, n := range s.After {
			if m, ok := number[n]; ok {
				after = append(after, m)
			}
		}
		if len(after) == 0 && s.Text == "" {
			continue
		}
		if len(after) == 0 && len(out) > 0 || !crdt.IsTextString(s.Text) {
			return nil
		}
		number[i] = len(out)
		out = append(out, automerge.Step{After: after, Text: s.Text})
	}
	return out
}
