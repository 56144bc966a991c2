package tree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of Resolve.
var (
	ErrNotExist = errors.New("no such file or directory")
	ErrNotDir   = errors.New("not a directory")
)

// Dirent is one name in a directory.
type Dirent struct {
	Name    string // as shown
	Node    NodeID
	Kind    Kind
	Alt     bool    // a version shown beside the node: read-only
	Version Version // of an Alt; nil otherwise
}

// Info is what the tree knows about a node.
type Info struct {
	Node     NodeID
	Kind     Kind
	Mode     uint32 // 07777 bits
	Mtime    int64  // unix ns: the time set last, or when the content became visible here if that is later
	MtimeSet bool   // Mtime was set by an operation
	Target   string // of a symlink
	Parent   NodeID
	Name     string // its own
	Shown    string // the name it is shown under
	Visible  bool
	Removed  bool     // and not brought back; it may be kept for history
	Version  Version  // under the name
	Object   *Object  // of Version; nil: text
	Text     [16]byte // the text that Version belongs to, if Object is nil
	Alts     []Alt    // versions shown beside it, latest first
	Dirs     int      // how many directories are shown in it
	Xattrs   int      // how many extended attributes it has
}

// Alt is a version that could not be merged with the one under the name.
type Alt struct {
	Name    string
	Version Version
	Object  *Object // nil: text
	Text    [16]byte
}

// Get returns what is known about a node, nil if it is not known. Nodes that were removed or
// are not shown yet are known.
func (t *Tree) Get(id NodeID) *Info {
	n := t.nodes.get(id)
	if n == nil {
		return nil
	}
	i := &Info{Node: id, Kind: n.kind, Mode: uint32(n.mode), Name: n.name, Visible: n.shown, Removed: !n.alive}
	if n.parent != nil {
		i.Parent, i.Shown = n.parent.id, n.shownName()
	}
	switch n.kind {
	case File:
		n.file.describe(i)
		for _, a := range n.parent.dir.splits[n] {
			e := n.file.find(a.version[0])
			out := Alt{Name: a.name, Version: a.version, Object: e.object}
			if e.text != nil {
				out.Text = *e.text
			}
			i.Alts = append(i.Alts, out)
		}
		slices.Reverse(i.Alts)
	case Dir:
		i.Mtime, i.Dirs = n.dir.created, n.dir.dirs
	case Symlink:
		i.Mtime, i.Target = n.rare.created, n.rare.target
	}
	if n.mtimeSet() {
		i.Mtime, i.MtimeSet = n.mtime, true
	}
	if n.rare != nil {
		for _, x := range n.rare.xattrs {
			if !x.deleted {
				i.Xattrs++
			}
		}
	}
	return i
}

// Shows reports whether a file is visible and has this one version, without making anything:
// false may also mean that only Get can tell.
func (t *Tree) Shows(id NodeID, v Version) bool {
	n := t.nodes.get(id)
	if n == nil || !n.shown || n.kind != File || len(v) != 1 {
		return false
	}
	visible := n.file.visible()
	return len(visible) == 1 && visible[0].id == v[0]
}

func (g *graph) describe(i *Info) {
	i.Mtime = g.created
	main := g.main()
	i.Version = versionOf(main)
	for k, e := range main {
		if k == 0 {
			i.Mtime = e.applied
			i.Object = e.object
			if e.text != nil {
				i.Text = *e.text
			}
		}
		i.Mtime = max(i.Mtime, e.applied)
	}
}

// mtimeSet reports whether the time that was set is later than the content.
func (n *node) mtimeSet() bool {
	if n.mtimeAt == nil {
		return false
	}
	if n.kind == File {
		for _, e := range n.file.main() {
			if e.at.after(n.mtimeAt) {
				return false
			}
		}
	}
	return true
}

// Xattrs returns the extended attributes of a node. The values must not be changed.
func (t *Tree) Xattrs(id NodeID) map[string][]byte {
	n := t.nodes.get(id)
	if n == nil || n.rare == nil {
		return nil
	}
	out := map[string][]byte{}
	for k, x := range n.rare.xattrs {
		if !x.deleted {
			out[k] = x.value
		}
	}
	return out
}

// Lookup returns the node shown under name in a directory. It does not find versions shown
// beside a file: see Entry.
func (t *Tree) Lookup(dir NodeID, name string) (NodeID, bool) {
	e, ok := t.Entry(dir, name)
	if !ok || e.Alt {
		return NodeID{}, false
	}
	return e.Node, true
}

// Entry returns what is shown under name in a directory.
func (t *Tree) Entry(dir NodeID, name string) (Dirent, bool) {
	n := t.nodes.get(dir)
	if n == nil || n.kind != Dir {
		return Dirent{}, false
	}
	return n.dir.entry(name)
}

// dirent is n under its own name.
func (n *node) dirent() Dirent { return Dirent{Name: n.name, Node: n.id, Kind: n.kind} }

func (d *dir) entry(name string) (Dirent, bool) {
	if o := d.owners.get(name); o != nil {
		return o.dirent(), o.shown
	}
	x, ok := d.extra[name]
	if !ok || !x.n.shown {
		return Dirent{}, false
	}
	return Dirent{Name: name, Node: x.n.id, Kind: x.n.kind, Alt: x.version != nil, Version: x.version}, true
}

// ReadDir returns what a directory shows, sorted by name. The result is shared: it must not be
// changed, and stays as it is when the directory changes.
func (t *Tree) ReadDir(dir NodeID) []Dirent {
	n := t.nodes.get(dir)
	if n == nil || n.kind != Dir {
		return nil
	}
	t.cache.Lock()
	defer t.cache.Unlock()
	if n.dir.list == nil {
		defer t.keepListed(n.dir)
	}
	return n.dir.listing()
}

// maxListed is how many names are kept in listings, those of the last directory excepted: they
// are made anew in little time, and who lists all directories lists each of them once.
const maxListed = 16 << 10

// listed is a directory with a listing, of so many names when it was made.
type listed struct {
	dir   *dir
	names int
}

// keepListed notes that a directory has a listing, and drops the oldest of others.
func (t *Tree) keepListed(d *dir) {
	t.listed = append(t.listed, listed{d, len(d.list)})
	t.names += len(d.list)
	for t.names > maxListed && len(t.listed) > 1 {
		old := t.listed[0]
		old.dir.list, old.dir.changed = nil, nil
		t.names -= old.names
		t.listed = t.listed[1:]
	}
}

func (d *dir) listing() []Dirent {
	if d.list == nil || len(d.changed) > 32+len(d.list)/16 {
		d.list = make([]Dirent, 0, d.owners.len()+len(d.extra))
		for n := range d.owners.all() {
			if n.shown {
				d.list = append(d.list, n.dirent())
			}
		}
		for name := range d.extra {
			if e, ok := d.entry(name); ok {
				d.list = append(d.list, e)
			}
		}
		slices.SortFunc(d.list, func(a, b Dirent) int { return cmp.Compare(a.Name, b.Name) })
		d.changed = nil
	}
	if len(d.changed) == 0 {
		return d.list
	}
	// A few names changed: copy the rest in runs.
	slices.Sort(d.changed)
	list := make([]Dirent, 0, len(d.list)+len(d.changed))
	old := d.list
	for _, name := range slices.Compact(d.changed) {
		i, found := slices.BinarySearchFunc(old, name, func(e Dirent, name string) int { return cmp.Compare(e.Name, name) })
		list = append(list, old[:i]...)
		if found {
			i++
		}
		old = old[i:]
		if e, ok := d.entry(name); ok {
			list = append(list, e)
		}
	}
	d.list, d.changed = append(list, old...), nil
	return d.list
}

// relist notes that a name of a listing changed.
func (t *Tree) relist(p Place) {
	if !p.Visible || t.flaw == staleListing {
		return
	}
	if d := t.nodes.get(p.Dir).dir; d.list != nil {
		d.changed = append(d.changed, p.Name)
	}
}

// Place returns where a node is shown, and whether it is.
func (t *Tree) Place(id NodeID) (dir NodeID, name string, visible bool) {
	n := t.nodes.get(id)
	if n == nil {
		return
	}
	if n == t.root {
		return Root, "", true
	}
	p := n.where()
	return p.Dir, p.Name, p.Visible
}

// Path returns the path of a node from the root as it is shown, without a slash in front; ""
// for the root and for what is not shown.
func (t *Tree) Path(id NodeID) string {
	n := t.nodes.get(id)
	if n == nil || !n.shown {
		return ""
	}
	var parts []string
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.shownName())
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// Resolve returns the node at a path as Path returns them. Empty parts are ignored, symlinks
// not followed. It wraps ErrNotExist and ErrNotDir.
func (t *Tree) Resolve(path string) (NodeID, error) {
	n := t.root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if n.kind != Dir {
			return NodeID{}, fmt.Errorf("%s: %w", path, ErrNotDir)
		}
		e, ok := n.dir.entry(name)
		if !ok || e.Alt {
			return NodeID{}, fmt.Errorf("%s: %w", path, ErrNotExist)
		}
		n = t.nodes.get(e.Node)
	}
	return n.id, nil
}

// Known reports whether a node is known, shown or not.
func (t *Tree) Known(id NodeID) bool { return t.nodes.get(id) != nil }

// Len returns the number of known nodes, the root included.
func (t *Tree) Len() int { return t.nodes.len() }

// FreshID returns an id for a new node, and its generation. Files get an id that is not known
// yet; a directory or symlink that was removed may come back under its own.
func (t *Tree) FreshID(kind Kind, parent NodeID, name string, first []byte) (NodeID, uint32) {
	free := func(gen uint32) (NodeID, bool) {
		id := NodeIDFor(kind, parent, name, first, gen)
		n := t.nodes.get(id)
		return id, n == nil || kind != File && !n.alive
	}
	// Generations are used from 0 up: find where they end by doubling, then halving.
	id, ok := free(0)
	if ok {
		return id, 0
	}
	low, high := uint32(0), uint32(1)
	for id, ok = free(high); !ok; id, ok = free(high) {
		low, high = high, high*2
	}
	for high-low > 1 {
		middle := low + (high-low)/2
		if at, ok := free(middle); ok {
			id, high = at, middle
		} else {
			low = middle
		}
	}
	return id, high
}

// FilesEver returns the ids of all files that are known, removed ones included, in no order.
func (t *Tree) FilesEver() []NodeID {
	var out []NodeID
	for n := range t.nodes.all() {
		if n.kind == File {
			out = append(out, n.id)
		}
	}
	return out
}
