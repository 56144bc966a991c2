package crdt

import (
	"errors"

	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/text/automerge"
)

// Automerge returns a text as the ordinary Automerge document that it is, with
// its history.
func (f *Folder) Automerge(node NodeID) (doc []byte, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	switch {
	case !ok:
		return nil, fail("export", node.String(), ErrNotExist, nil)
	case n.Kind != File || n.Object != nil:
		return nil, fail("export", f.tree.Path(node), ErrInvalid, errors.New("not a text"))
	}
	l := lineage(node)
	if len(n.Version) > 0 {
		if e, ok := f.tree.Event(node, n.Version[0]); ok {
			l = e.Text
		}
	}
	var events []text.Event
	if err := f.withDoc(node, l, func(d *text.Doc) error { events = d.Events(); return nil }); err != nil {
		return nil, err
	}
	doc, err = automerge.Export(l, events)
	if err != nil {
		return nil, fail("export", f.tree.Path(node), ErrInvalid, err)
	}
	return doc, nil
}
