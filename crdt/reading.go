package crdt

import (
	"bytes"
	"slices"

	"github.com/sheaf-fs/sheaf/crdt/text"
)

// Reading reads what many files hold, as Folder.Content does, for who reads them all: where the
// texts are that lie in their entries is looked up once, in the order of the database, and not
// for each file at a place of its own. It is safe for concurrent use. What changed since it was
// made is read as well, more slowly.
type Reading struct {
	f  *Folder
	at []lentTo // by node
}

type lentTo struct {
	node NodeID
	lent lent
}

// Reading makes one. It takes 32 bytes of memory a file.
func (f *Folder) Reading() (*Reading, error) {
	r := &Reading{f: f}
	var l lineage
	n := len(f.key('t'))
	err := f.home.db.Scan(f.key('t'), func(k, v []byte) error {
		if len(k) < n+len(NodeID{}) || len(v) < len(l) {
			return errUnknownForm
		}
		node := NodeID(k[n:])
		if at, ok := lentAt(v[len(l):]); ok && bytes.Equal(v[:len(l)], node[:]) {
			r.at = append(r.at, lentTo{node, at})
		}
		return nil
	})
	return r, storage("read", f.grant.Name, err)
}

// Content is Folder.Content. Files that were made one after the other are best read so.
func (r *Reading) Content(node NodeID) (Content, error) {
	f := r.f
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	if !ok || n.Kind != File || f.first != nil {
		return f.contentShown(node)
	}
	if len(n.Version) != 1 || n.Object != nil {
		return f.contentOf(n)
	}
	i, ok := slices.BinarySearchFunc(r.at, node, func(l lentTo, node NodeID) int { return bytes.Compare(l.node[:], node[:]) })
	if !ok {
		return f.contentOf(n)
	}
	ev, err := f.lentEvent(r.at[i].lent)
	if err != nil {
		return Content{}, storage("read", f.tree.Path(node), err)
	}
	// The version is the event's hash, so it says whether this is the event, and all of it.
	if sizeOf(ev) == 0 || ev.ID(lineage(node)) != text.ID(n.Version[0]) {
		return f.contentOf(n)
	}
	return Content{Version: slices.Clone(n.Version), Text: ev.Hunks[0][0].Ins}, nil
}
