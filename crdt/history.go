package crdt

import (
	"slices"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Log returns the history of a file's content, newest first, also of one that
// was removed.
func (f *Folder) Log(node NodeID) ([]Revision, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	events := f.tree.History(node)
	if len(events) == 0 {
		if _, ok := f.shown(node); !ok {
			return nil, fail("log", node.String(), ErrNotExist, nil)
		}
	}
	path := f.tree.Path(node)
	counts, err := f.countChanges(node, events)
	if err != nil {
		return nil, err
	}
	out := make([]Revision, 0, len(events))
	for _, e := range events {
		r := Revision{
			Version: Version{e.ID}, Device: e.Stamp.Feed.Device, DeviceName: f.deviceName(e.Stamp.Feed.Device),
			Author: e.By, Time: time.UnixMilli(e.Time), Op: "write", Path: path,
			Added: counts[e.ID].added, Removed: counts[e.ID].removed,
		}
		if len(e.Parents) == 0 {
			r.Op = "create"
		}
		if e.Object != nil {
			o := fromTree(e.Object)
			r.Object = &o
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out, nil
}

// Versions returns the versions of a file's content, each after those it was made on, also of
// a file that was removed. It does not count what each changed.
func (f *Folder) Versions(node NodeID) ([]Revision, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.tree.KindOf(node) != File {
		return nil, fail("log", node.String(), ErrNotExist, nil)
	}
	path := f.tree.LastPath(node)
	events := f.tree.History(node)
	out := make([]Revision, 0, len(events))
	for _, e := range events {
		r := Revision{
			Version: Version{e.ID}, Device: e.Stamp.Feed.Device, DeviceName: f.deviceName(e.Stamp.Feed.Device),
			Author: e.By, Time: time.UnixMilli(e.Time), Op: "write", Path: path, Node: node, Kind: File,
		}
		if e.Object != nil {
			o := fromTree(e.Object)
			r.Object, r.Absent = &o, !f.home.objects.Has(blob.Hash(o.Hash))
		}
		out = append(out, r)
	}
	return out, nil
}

// Lost describes what was in a directory under a name last and is not there any more.
func (f *Folder) Lost(dir NodeID, name string) (Info, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	id, ok := f.tree.Lost(dir, name)
	if !ok {
		return Info{}, fail("stat", join(f.tree.LastPath(dir), name), ErrNotExist, nil)
	}
	n := f.tree.Get(id)
	return Info{Node: id, Kind: n.Kind, Parent: n.Parent, Name: n.Name, Mode: n.Mode, Version: n.Version}, nil
}

type changed struct{ added, removed int }

// countChanges sums up what each event of the node's texts inserted and
// deleted, in characters.
func (f *Folder) countChanges(node NodeID, events []tree.Event) (map[EventID]changed, error) {
	counts := map[EventID]changed{}
	seen := map[lineage]bool{}
	for _, e := range events {
		if e.Object != nil || seen[e.Text] {
			continue
		}
		l := e.Text
		seen[l] = true
		err := f.withDoc(node, l, func(d *text.Doc) error {
			for _, ev := range d.Events() {
				var c changed
				for _, h := range ev.Hunks {
					for _, s := range h {
						c.added += runes(s.Ins)
						c.removed += s.Del
					}
				}
				counts[EventID(ev.ID(l))] = c
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// Blame divides a file's text by the events that inserted it, with the content
// that it is about. The spans are nil for an object. It replays the history.
func (f *Folder) Blame(node NodeID) (Content, []Span, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	if !ok {
		return Content{}, nil, fail("blame", node.String(), ErrNotExist, nil)
	}
	if n.Kind != File {
		return Content{}, nil, fail("blame", f.tree.Path(node), ErrIsDir, nil)
	}
	if err := f.allHere("blame", node, n.Version); err != nil {
		return Content{}, nil, err
	}
	c, err := f.contentOf(n)
	if err != nil || c.Object != nil || len(c.Version) == 0 {
		return c, nil, err
	}
	var spans []Span
	err = f.withDoc(node, n.Text, func(d *text.Doc) error {
		for _, s := range d.Blame() {
			span := Span{Event: EventID(s.Event), Bytes: s.Bytes, Runes: s.Runes}
			if e, ok := f.tree.Event(node, span.Event); ok {
				span.Device, span.Author, span.Time = e.Stamp.Feed.Device, e.By, e.Stamp.Lamport
			}
			spans = append(spans, span)
		}
		return nil
	})
	return c, spans, err
}

// Nodes lists every file that was ever in the folder.
func (f *Folder) Nodes() []NodeID {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tree.FilesEver()
}
