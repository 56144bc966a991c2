package crdt

import (
	"errors"

	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/text/automerge"
)

// TextHistory is a text with all the events that it is made of. It does not change.
type TextHistory struct {
	Text       string
	Characters int // that were ever inserted or deleted: what a document of it costs

	path    string
	lineage lineage
	events  []text.Event
}

// TextHistory returns what there is of a file's text. It fails with ErrNotExist, and with
// ErrInvalid where the file is no text.
func (f *Folder) TextHistory(node NodeID) (*TextHistory, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	switch {
	case !ok:
		return nil, fail("export", node.String(), ErrNotExist, nil)
	case n.Kind != File || n.Object != nil:
		return nil, fail("export", f.tree.Path(node), ErrInvalid, errors.New("not a text"))
	}
	if err := f.allHere("export", node, n.Version); err != nil {
		return nil, err
	}
	h := &TextHistory{path: f.tree.Path(node), lineage: lineage(node)}
	if len(n.Version) > 0 {
		if e, ok := f.tree.Event(node, n.Version[0]); ok {
			h.lineage = e.Text
		}
	}
	err := f.withDoc(node, h.lineage, func(d *text.Doc) error {
		h.events, h.Text = d.Events(), d.Text()
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range h.events {
		for _, hunk := range h.events[i].Hunks {
			for _, s := range hunk {
				h.Characters += s.Del + len(s.Ins)
			}
		}
	}
	return h, nil
}

// Automerge returns the ordinary Automerge document that the text is. Its text is h.Text.
func (h *TextHistory) Automerge() ([]byte, error) {
	doc, err := automerge.Export(h.lineage, h.events)
	if err != nil {
		return nil, fail("export", h.path, ErrInvalid, err)
	}
	return doc, nil
}

// Automerge returns a text as the ordinary Automerge document that it is, with
// its history.
func (f *Folder) Automerge(node NodeID) (doc []byte, err error) {
	h, err := f.TextHistory(node)
	if err != nil {
		return nil, err
	}
	return h.Automerge()
}
