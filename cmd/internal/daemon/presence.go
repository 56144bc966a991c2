package daemon

import (
	"cmp"
	"os"
	"slices"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/peer"
)

// tellsOpen is how the other devices learn what programs here have open, nil if a person
// does not want them to.
func (d *daemon) tellsOpen() func(crdt.FolderID) []peer.OpenFile {
	if os.Getenv("SHEAF_PRESENCE") == "off" {
		return nil
	}
	return func(id crdt.FolderID) (list []peer.OpenFile) {
		d.mu.Lock()
		m := d.mounts[id]
		d.mu.Unlock()
		if m == nil {
			return nil
		}
		s, ok := m.view.(*fs.Server)
		if !ok {
			return nil // a plain directory does not know
		}
		for _, f := range s.Open() {
			list = append(list, peer.OpenFile{Node: f.Node, Writing: f.Writing, Program: f.Program})
		}
		return list
	}
}

// openOn lists what another device says that it has open, by path.
func (d *daemon) openOn(f *crdt.Folder, device crdt.Device) []control.OpenFile {
	list := []control.OpenFile{}
	for _, o := range d.node.Open(f, device) {
		// A node that is not in the folder here, or not yet, has no name to tell.
		if info, err := f.Get(o.Node); err == nil && info.Kind == crdt.File {
			list = append(list, control.OpenFile{Path: f.Path(o.Node), Writing: o.Writing, Program: o.Program})
		}
	}
	slices.SortFunc(list, func(a, b control.OpenFile) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// writing lists the files, by path in the folder, that programs here have open for writing
// or in an editor. A plain directory does not know: programs write to the disk there,
// whatever becomes of the daemon.
func (m *mounted) writing() (paths []string) {
	s, ok := m.view.(*fs.Server)
	if !ok {
		return nil
	}
	for _, f := range s.Writing() {
		paths = append(paths, m.folder.Path(f.Node))
	}
	return paths
}
