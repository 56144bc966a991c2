package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

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
	versions, err := makeFile(f, dir.Node, name, "import "+rel, a)
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

// importTurn is for how long an import has others of the folder wait in one go.
var importTurn = 20 * time.Millisecond

// makeFile makes a file of a document's text: with its history, each change as a save by this
// device from what its author had seen, where that is a history that a file can have; else with
// the text alone. It returns how many versions it made. Others have their turns while it works: they
// see the text as it was at some step, and what they write meanwhile merges.
func makeFile(f *crdt.Folder, dir crdt.NodeID, name, label string, a automerge.Answer) (versions int, err error) {
	m := &documentFile{dir: dir, name: name, steps: begun(a.Steps), last: map[int]bool{}}
	if len(m.steps) == 0 {
		m.steps = []automerge.Step{{Text: a.Text}}
	}
	m.made = make([]crdt.Version, 0, len(m.steps))
	id := crdt.NewActionID()
	for done := false; !done; {
		err := f.Update(func(tx *crdt.Tx) error {
			if err := tx.Label(id, label); err != nil {
				return err
			}
			for until := time.Now().Add(importTurn); len(m.made) < len(m.steps); {
				if err := m.step(tx); err != nil {
					return err
				}
				if !time.Now().Before(until) {
					return nil
				}
			}
			done = true
			// What the document says counts, also where its changes merge in another way here.
			_, err := tx.Write(m.node, m.heads(), crdt.NewContent{Text: a.Text})
			return err
		})
		if err != nil {
			return m.versions, err
		}
	}
	return m.versions, nil
}

// documentFile is a file that is made of a document's steps.
type documentFile struct {
	dir      crdt.NodeID
	name     string
	steps    []automerge.Step
	node     crdt.NodeID
	made     []crdt.Version // of the steps that are done
	last     map[int]bool   // of these, those that nothing was made on
	versions int
}

// step makes the version of the next step.
func (m *documentFile) step(tx *crdt.Tx) (err error) {
	i := len(m.made)
	s, v := m.steps[i], crdt.Version(nil)
	var base []crdt.EventID
	for _, n := range s.After {
		base = append(base, m.made[n]...)
		delete(m.last, n)
	}
	m.last[i] = true
	if i == 0 {
		m.node, v, err = tx.Create(m.dir, m.name, 0o644, crdt.NewContent{Text: s.Text})
	} else {
		v, err = tx.Write(m.node, crdt.NewVersion(base...), crdt.NewContent{Text: s.Text})
	}
	if err != nil {
		return err
	}
	if m.made = append(m.made, v); i == 0 || !slices.Contains(base, v[0]) {
		m.versions++
	}
	return nil
}

// heads is the version of all that was made.
func (m *documentFile) heads() crdt.Version {
	var heads []crdt.EventID
	for i := range m.last {
		heads = append(heads, m.made[i]...)
	}
	return crdt.NewVersion(heads...)
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
