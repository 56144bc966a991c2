package plain

import (
	"path"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/fs"
)

const (
	// afterSave is how long a file that was saved here is left as its editor wrote it.
	afterSave = 300 * time.Millisecond
	// lastLookAfter is when a replaced file is looked at for the last time.
	lastLookAfter = 3 * time.Second
)

func hash(o *crdt.Object) blob.Hash { return blob.Hash(o.Hash) }

// arrival is a name that the folder has and the directory is to get.
type arrival struct {
	in   *entry
	info crdt.Info
}

// identity tells one shown thing from another, wherever it is shown.
type identity struct {
	node crdt.NodeID
	alt  string // the version, of one that is shown beside its file
}

func identityOf(node crdt.NodeID, alt bool, v crdt.Version) identity {
	if alt {
		return identity{node, v.String()}
	}
	return identity{node: node}
}

// shower brings the directory in step with the folder.
type shower struct {
	d       *Dir
	atOnce  bool // also what devices write by turns
	going   []*entry
	coming  []arrival
	staying []arrival // in is the entry itself
	staged  map[identity]*entry
	keep    []*entry
	drop    []string
}

// show makes on the disk what others changed. It fails where the records
// cannot be kept; what the disk refuses is tried again later.
func (d *Dir) show(m marks) error {
	s := &shower{d: d, atOnce: len(m.waiters) > 0, staged: map[identity]*entry{}}
	if m.showAll {
		s.list(d.table.root, true)
	} else {
		listed := map[*entry]bool{}
		for id := range m.show {
			e := d.table.nodes[id]
			if e == nil {
				// Not here yet, then what is above it will show it; or shown as one with
				// another directory.
				p := d.folder.Path(id)
				if e = d.find(p); e.path() == p {
					d.mark(func(m *marks) { m.showAll = true })
				}
			}
			if e.children != nil && !listed[e] {
				listed[e] = true
				s.list(e, false)
			}
		}
		for id := range m.update {
			info, err := d.folder.Get(id)
			if e := d.table.nodes[id]; err == nil && e != nil && e.attached() {
				s.staying = append(s.staying, arrival{e, info})
			} else if err == nil {
				d.mark(func(m *marks) { m.markShow(info.Parent) })
			}
		}
	}
	s.leave()
	s.arrive()
	for _, a := range s.staying {
		s.update(a.in, a.info)
		if len(s.keep) >= batch {
			if err := s.store(); err != nil {
				return err
			}
		}
	}
	return s.store()
}

// store keeps the records of what was done.
func (s *shower) store() error {
	if len(s.keep)+len(s.drop) == 0 {
		return nil
	}
	err := s.d.folder.UpdateAs(s.d, func(tx *crdt.Tx) error {
		for _, key := range s.drop {
			tx.SetLocal(key, nil)
		}
		for _, e := range s.keep {
			if e.attached() {
				s.d.kept(tx, e)
			}
		}
		return nil
	})
	s.keep, s.drop = nil, nil
	return err
}

// hidden says which names of the folder are not made here.
func (d *Dir) hidden(in *entry, i crdt.Info) bool {
	at := path.Join(in.path(), i.Name)
	switch {
	case in == d.table.root && i.Name == Own, !validName(i.Name) || strings.Contains(i.Name, "/"):
		return true
	case fs.IsLocal(i.Name):
		return true
	case i.Kind == crdt.Symlink && leaves(at, i.Target):
		d.warn(at, "is a link that leaves the folder, made elsewhere: it is not made here", nil)
		return true
	}
	return false
}

// leaves reports whether a link at a path of the folder points out of it.
func leaves(at, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	to := path.Join(path.Dir(at), target)
	return to == ".." || strings.HasPrefix(to, "../")
}

// list compares a directory's records with the folder.
func (s *shower) list(e *entry, deep bool) {
	infos, err := s.d.folder.ReadDir(e.Node)
	if err != nil {
		return // it is gone, which the directory above tells
	}
	want := make(map[string]crdt.Info, len(infos))
	for _, i := range infos {
		if !s.d.hidden(e, i) {
			want[i.Name] = i
		}
	}
	for name, c := range e.children {
		i, ok := want[name]
		if c.Kept {
			if !ok || i.Kind != crdt.Dir {
				s.going = append(s.going, c) // perhaps nothing keeps it any more
			}
			continue
		}
		if ok && i.Kind == crdt.Dir && c.Kind == crdt.Dir && i.Node != c.Node && !s.elsewhere(c) {
			s.renode(c, i.Node)
			s.list(c, deep)
		}
		if ok && i.Kind == c.Kind && identityOf(i.Node, i.Alt, i.Version) == identityOf(c.Node, c.Alt, c.Version) {
			s.staying = append(s.staying, arrival{c, i})
			delete(want, name)
			if deep && c.children != nil {
				s.list(c, true)
			}
		} else if !(c.Kind == crdt.Symlink && s.isOurs(c)) {
			s.going = append(s.going, c)
		}
	}
	for _, i := range infos {
		if w, ok := want[i.Name]; ok {
			s.coming = append(s.coming, arrival{e, w})
		}
	}
}

// elsewhere reports whether the folder shows an entry at another place.
func (s *shower) elsewhere(e *entry) bool {
	_, err := s.d.folder.Get(e.Node)
	return err == nil && s.d.folder.Path(e.Node) != e.path()
}

// renode makes a directory's entry that of another node: several of one name are
// shown as one, under the node of any.
func (s *shower) renode(e *entry, node crdt.NodeID) {
	s.d.table.unname(e)
	for _, c := range e.children {
		s.drop = append(s.drop, c.key())
		s.keep = append(s.keep, c)
	}
	e.Node = node
	s.d.table.name(e)
	s.keep = append(s.keep, e)
}

// isOurs reports whether a link that would not be made here was made here.
func (s *shower) isOurs(c *entry) bool {
	i, err := s.d.folder.Get(c.Node)
	return err == nil && i.Target == c.Target && i.Name == c.Name && leaves(c.path(), c.Target)
}
