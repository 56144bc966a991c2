package crdt

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

func runes(s string) int { return utf8.RuneCountInString(s) }

// shown returns what the tree knows of a node, if it is in the tree for people
// to see. It runs with mu held.
func (f *Folder) shown(node NodeID) (*tree.Info, bool) {
	n := f.seen().Get(node)
	if n == nil || !n.Visible {
		return nil, false
	}
	return n, true
}

// Get describes a node that is shown in the tree.
func (f *Folder) Get(node NodeID) (Info, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	if !ok {
		return Info{}, fail("stat", node.String(), ErrNotExist, nil)
	}
	return f.infoOf(n, n.Shown)
}

// Shows tells whether a file is shown in the tree with this one version, at the cost of a
// look: false may also mean that only Get can tell.
func (f *Folder) Shows(node NodeID, v Version) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.seen().Shows(node, v)
}

// KindOf is the kind of a node, of one that was removed too; 0 where it is not known.
func (f *Folder) KindOf(node NodeID) Kind {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.seen().KindOf(node)
}

// GetAt is Get for a version that is shown beside the one under the name.
func (f *Folder) GetAt(node NodeID, beside Version) (Info, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	if ok {
		for _, a := range n.Alts {
			if a.Version.Equal(beside) {
				return f.entryInfo(tree.Dirent{Name: a.Name, Node: node, Kind: File, Alt: true, Version: a.Version})
			}
		}
	}
	return Info{}, fail("stat", node.String(), ErrNotExist, nil)
}

// Lookup describes the node of that name, as shown, in a directory.
func (f *Folder) Lookup(dir NodeID, name string) (Info, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.lookup(dir, name)
}

// Names tells whether a directory shows something of that name, at the cost of a look.
func (f *Folder) Names(dir NodeID, name string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, ok := f.seen().Entry(dir, name)
	return ok
}

func (f *Folder) lookup(dir NodeID, name string) (Info, error) {
	e, ok := f.seen().Entry(dir, name)
	if !ok {
		return Info{}, fail("stat", join(f.seen().Path(dir), name), ErrNotExist, nil)
	}
	return f.entryInfo(e)
}

// ReadDir describes what is in a directory, in the order of the names.
func (f *Folder) ReadDir(dir NodeID) ([]Info, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(dir)
	if !ok {
		return nil, fail("read directory", dir.String(), ErrNotExist, nil)
	}
	if n.Kind != Dir {
		return nil, fail("read directory", f.seen().Path(dir), ErrNotDir, nil)
	}
	es := f.seen().ReadDir(dir)
	out := make([]Info, 0, len(es))
	for _, e := range es {
		i, err := f.entryInfo(e)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

func (f *Folder) entryInfo(e tree.Dirent) (Info, error) {
	n, ok := f.shown(e.Node)
	if !ok {
		return Info{}, fail("stat", e.Name, ErrNotExist, nil)
	}
	if !e.Alt {
		return f.infoOf(n, e.Name)
	}
	alt := *n
	alt.Version, alt.Object = e.Version, nil
	if ev, ok := f.seen().Event(e.Node, e.Version[0]); ok {
		alt.Object = ev.Object
	}
	i, err := f.infoOf(&alt, e.Name)
	i.Alt, i.Beside = true, false
	i.Mode &^= 0o222
	return i, err
}

func (f *Folder) infoOf(n *tree.Info, name string) (Info, error) {
	i := Info{
		Node: n.Node, Kind: n.Kind, Parent: n.Parent, Name: name, Mode: n.Mode,
		Mtime: time.Unix(0, n.Mtime), MtimeSet: n.MtimeSet, Target: n.Target, Version: n.Version, Dirs: n.Dirs, Beside: len(n.Alts) > 0,
	}
	if n.Node == Root && n.Mtime == 0 {
		i.Mtime = time.Unix(0, f.began)
	}
	switch {
	case n.Kind == Symlink:
		i.Size = int64(len(n.Target))
	case n.Kind != File:
	case n.Object != nil:
		o := fromTree(n.Object)
		i.Object, i.Size = &o, o.Size
	default:
		size, err := f.textSize(n.Node, n.Version)
		if err != nil {
			return Info{}, err
		}
		i.Size = size
	}
	return i, nil
}

// Content returns what a file holds now.
func (f *Folder) Content(node NodeID) (Content, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.contentShown(node)
}

// contentShown is Content for who holds mu.
func (f *Folder) contentShown(node NodeID) (Content, error) {
	n, ok := f.shown(node)
	if !ok {
		return Content{}, fail("read", node.String(), ErrNotExist, nil)
	}
	if n.Kind != File {
		return Content{}, fail("read", f.seen().Path(node), ErrIsDir, nil)
	}
	return f.contentOf(n)
}

// Holding is Content with the text in pieces: nothing is copied.
func (f *Folder) Holding(node NodeID) (Holding, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	if !ok {
		return Holding{}, fail("read", node.String(), ErrNotExist, nil)
	}
	if n.Kind != File {
		return Holding{}, fail("read", f.seen().Path(node), ErrIsDir, nil)
	}
	return f.heldAt(node, n.Version)
}

// HoldingAt is ContentAt with the text in pieces.
func (f *Folder) HoldingAt(node NodeID, v Version) (Holding, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.heldAt(node, v)
}

func (f *Folder) contentOf(n *tree.Info) (Content, error) {
	return f.contentAt(n.Node, n.Version)
}

// ContentAt returns what a file held at a version, also of a file that was
// removed. The version must be of one text, or one object.
func (f *Folder) ContentAt(node NodeID, v Version) (Content, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.contentAt(node, v)
}

func (f *Folder) contentAt(node NodeID, v Version) (Content, error) {
	c := Content{Version: slices.Clone(v)}
	if len(v) == 0 {
		return c, nil
	}
	if c, ok, err := f.firstContent(node, v); ok {
		return c, err
	}
	var err error
	if c.Object, err = f.objectAt(node, v); err == nil && c.Object == nil {
		c.Text, err = f.textAt(node, v)
	}
	return c, err
}

func (f *Folder) heldAt(node NodeID, v Version) (Holding, error) {
	h := Holding{Version: slices.Clone(v)}
	if len(v) == 0 {
		return h, nil
	}
	if c, ok, err := f.firstContent(node, v); ok {
		return Holding{c.Version, NewBody(c.Text), c.Object}, err
	}
	var err error
	if h.Object, err = f.objectAt(node, v); err == nil && h.Object == nil {
		h.Body, err = f.bodyAt(node, v)
	}
	return h, err
}

// objectAt is the object that a version holds; nil where it is a text.
func (f *Folder) objectAt(node NodeID, v Version) (*Object, error) {
	e, ok := f.tree.Event(node, v[0])
	if !ok {
		return nil, fail("read", f.tree.Path(node), ErrInvalid, errors.New("not a version of this file"))
	}
	if e.Object == nil {
		return nil, nil
	}
	o := fromTree(e.Object)
	return &o, nil
}

// Covers reports whether every event of b is in the past of a, or is of it.
func (f *Folder) Covers(node NodeID, a, b Version) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.seen().Covers(node, a, b)
}

// Xattrs returns a node's extended attributes.
func (f *Folder) Xattrs(node NodeID) (map[string][]byte, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, ok := f.shown(node)
	if !ok {
		return nil, fail("getxattr", node.String(), ErrNotExist, nil)
	}
	return maps.Clone(f.seen().Xattrs(n.Node)), nil
}

// Local returns what Tx.SetLocal kept; nil if nothing.
func (f *Folder) Local(name string) ([]byte, error) {
	v, _, err := f.home.db.Get(f.key('k', []byte(name)))
	return v, storage("read", name, err)
}

// Locals calls fn with everything that Tx.SetLocal kept under names that begin
// with prefix, in the order of the names, until it fails.
func (f *Folder) Locals(prefix string, fn func(name string, value []byte) error) error {
	n := len(f.key('k'))
	return storage("read", prefix, f.home.db.Scan(f.key('k', []byte(prefix)), func(k, v []byte) error {
		return fn(string(k[n:]), v)
	}))
}

// Path is where a node is shown, relative to the folder's root; "" for it.
func (f *Folder) Path(node NodeID) string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.seen().Path(node)
}

// Resolve describes the node at a slash-separated path.
func (f *Folder) Resolve(path string) (Info, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	root, _ := f.shown(Root)
	info, err := f.infoOf(root, "")
	for name := range strings.SplitSeq(path, "/") {
		if err != nil {
			return Info{}, err
		}
		if name == "" || name == "." {
			continue
		}
		if info.Kind != Dir {
			return Info{}, fail("resolve", path, ErrNotDir, nil)
		}
		info, err = f.lookup(info.Node, name)
	}
	return info, err
}

// Named lists the directories that hold something of that name, as shown.
func (f *Folder) Named(name string) []NodeID {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var out []NodeID
	f.seen().Each(func(e tree.Dirent) bool {
		if e.Name == name && !e.Alt {
			if n := f.seen().Get(e.Node); n != nil {
				out = append(out, n.Parent)
			}
		}
		return true
	})
	return out
}

// LastPlace is where a node is, or was when it was removed. It reports false for a
// node that this device does not know.
func (f *Folder) LastPlace(node NodeID) (Place, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.seen().Get(node)
	if n == nil {
		return Place{}, false
	}
	name := n.Shown
	if !n.Visible {
		name = n.Name
	}
	return Place{Dir: n.Parent, Name: name, Visible: n.Visible}, true
}

// LastMode is the mode of a node, also of one that was removed. It reports false for a node
// that this device does not know.
func (f *Folder) LastMode(node NodeID) (uint32, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.seen().Get(node)
	if n == nil {
		return 0, false
	}
	return n.Mode, true
}
