package turns

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Change is what a notice says of files that may be rewritten by turns.
type Change struct {
	Nodes []crdt.NodeID
	By    crdt.Device
	At    time.Time
}

// Of is what is to be seen of a notice that came now; false for nothing. A file that only
// this device changes is not looked at.
func (ts *Table) Of(n crdt.Notice) (Change, bool) {
	c := Change{By: n.By, At: ts.clock()}
	for _, ch := range n.Changes {
		if ch.What&crdt.ContentChanged != 0 && (!n.Local || ts.Knows(ch.Node)) {
			c.Nodes = append(c.Nodes, ch.Node)
		}
	}
	return c, len(c.Nodes) > 0
}

// See takes up a change of a folder's files, and reads them if it has to. It is for one
// caller at a time.
func (ts *Table) See(f *crdt.Folder, c Change) {
	for _, node := range c.Nodes {
		ts.see(node, c.By, c.At, func() *crdt.Body { return holds(f, node) })
	}
}

// holds is the text of a file, or what names its object.
func holds(f *crdt.Folder, node crdt.NodeID) *crdt.Body {
	c, err := f.Holding(node)
	switch {
	case err != nil, c.Object == nil && c.Body == nil:
		return crdt.NewBody("")
	case c.Object != nil:
		return crdt.NewBody(c.Object.Hash.String())
	}
	return c.Body
}

// Notes lists what a person should know of as long as it lasts: files of a folder that
// programs on several devices rewrite by turns.
func (ts *Table) Notes(f *crdt.Folder) []crdt.Note {
	slowed := ts.slowed(ts.clock())
	if len(slowed) == 0 {
		return nil
	}
	names := map[crdt.Device]string{}
	for _, d := range f.Devices() {
		names[d.Device] = d.Name
	}
	var notes []crdt.Note
	for node, t := range slowed {
		var who []string
		for _, d := range t.others {
			who = append(who, names[d])
		}
		slices.Sort(who)
		notes = append(notes, crdt.Note{Time: t.at, Kind: "by-turns", Path: f.Path(node),
			Text: fmt.Sprintf("programs on %s undo each other's changes, so programs that watch it hear of them %v late; give them the same settings, or stop one",
				strings.Join(who, " and "), t.delay())})
	}
	slices.SortFunc(notes, func(a, b crdt.Note) int { return strings.Compare(a.Path, b.Path) })
	return notes
}
