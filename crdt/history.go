package crdt

import (
	"slices"
	"time"

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
			Time: time.UnixMilli(e.Time), Op: "write", Path: path,
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

// Nodes lists every file that was ever in the folder.
func (f *Folder) Nodes() []NodeID {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tree.FilesEver()
}
