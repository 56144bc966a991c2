package tree

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// What a tree shows can be written down without its past: the living nodes with their places,
// attributes and newest versions. It is the same bytes for the same operations, on every
// device and in whatever order they came; from them a tree is made that shows the same and
// knows nothing else.
//
//	shown     = flags (1 byte) | mode | time and attributes, of the root | directory
//	directory = its nodes, by name and order of placing, a 0 behind the last
//	node      = flags (1 byte) | id (16) | name | mode | place's device
//	            | mtime, how many of its versions are older | attributes | what its kind has
//	            (directory; symlink: target; file: versions)
//	version   = event (32) | what (1) | device | time | text (16) or object (32) and size
//
// Numbers are varints, strings and lists have their length in front; a device is named in full
// the first time and by its number then.
const (
	flagKind  = 3 // the kind; 0 ends a directory
	flagDead  = 1 << 2
	flagMtime = 1 << 3
	flagAttrs = 1 << 4
	flagAll   = 1<<5 - 1

	ownText     = 0 // a version of the text that the file began with
	otherText   = 1
	wholeObject = 2
)

// What DecodeShown makes of some bytes at most. Of a file that has more newest versions than
// MaxHeads, the latest are written down, so that nobody keeps a folder from being shown. A tree that has directories deeper in each other
// is not written down: others decide how deep it is, and writing takes a stack as deep.
const (
	MaxShownDepth    = 1 << 14
	MaxShownNodes    = 1 << 20
	MaxShownVersions = 1 << 21
	MaxShownAttrs    = 1 << 20
)

// ErrShown is wrapped by the errors of DecodeShown.
var ErrShown = errors.New("not what a tree shows")

// Shown is what a tree shows at one moment. Later operations do not change it, so that it is
// written down while they go on.
type Shown struct {
	nodes    []shownNode // the root first, the others in no order
	versions []shownVersion
}

// shownNode is a copy of what may change of a node. Nodes are known by their addresses.
type shownNode struct {
	self, parent *node
	id           NodeID
	name         string
	place        *stamp
	mtime        int64
	mtimeAt      *stamp
	rest         *shownRest // nil: nothing
	from, to     uint32     // its versions
	mode         uint16
	kind         Kind
	removed      bool // a directory, unless something in it lives; anything else for good
}

// shownRest is what few nodes have.
type shownRest struct {
	target string
	keys   []string // of its attributes, sorted
	values [][]byte
}

type shownVersion struct {
	id     EventID
	at     *stamp
	time   int64
	object *Object
	text   *[16]byte
}

// Shown returns what the tree shows now. It takes about as long as looking at each node once.
func (t *Tree) Shown() *Shown {
	s := &Shown{nodes: make([]shownNode, 1, max(1, t.nodes.len())), versions: make([]shownVersion, 0, t.nodes.len())}
	for n := range t.nodes.all() {
		if n.parent == nil {
			s.nodes[0] = s.of(n)
		} else {
			s.nodes = append(s.nodes, s.of(n))
		}
	}
	return s
}

func (s *Shown) of(n *node) shownNode {
	out := shownNode{
		self: n, parent: n.parent, id: n.id, name: n.name, place: n.place, mtime: n.mtime, mtimeAt: n.mtimeAt,
		mode: n.mode, kind: n.kind, from: uint32(len(s.versions)),
	}
	if n.kind == File {
		for _, h := range n.file.tops() {
			s.versions = append(s.versions, shownVersion{h.id, h.at, h.time, h.object, h.text})
		}
	}
	out.to = uint32(len(s.versions))
	if n.rare == nil {
		return out
	}
	out.removed = len(n.rare.removals) > 0 && (n.kind != File || !n.file.beyond(n.rare.removals))
	rest := &shownRest{target: n.rare.target}
	for _, k := range slices.Sorted(maps.Keys(n.rare.xattrs)) {
		if x := n.rare.xattrs[k]; !x.deleted {
			rest.keys, rest.values = append(rest.keys, k), append(rest.values, x.value)
		}
	}
	if rest.target != "" || len(rest.keys) > 0 {
		out.rest = rest
	}
	return out
}

// EncodeShown is Shown and Encode.
func (t *Tree) EncodeShown() []byte { return t.Shown().Encode() }

// Encode returns what is shown, whether the objects are here or not; nil if it is too deep.
func (s *Shown) Encode() []byte {
	e := &shownEncoder{Shown: s, devices: map[feed.Device]uint64{}, children: map[*node][]*shownNode{}, alive: map[*shownNode]bool{}}
	for i := range s.nodes[1:] {
		n := &s.nodes[1+i]
		e.children[n.parent] = append(e.children[n.parent], n)
	}
	root := &s.nodes[0]
	e.b = append(e.b, byte(root.kind)|e.flags(root))
	e.uint(uint64(root.mode))
	e.attributes(root, nil)
	e.directory(root)
	if e.tooDeep {
		return nil
	}
	return e.b
}

type shownEncoder struct {
	*Shown
	b        []byte
	devices  map[feed.Device]uint64
	children map[*node][]*shownNode
	alive    map[*shownNode]bool // of directories, once it is known
	depth    int
	tooDeep  bool
}

// inside calls fn for what is in a directory, unless that is too deep.
func (e *shownEncoder) inside(fn func()) {
	if e.depth++; e.depth > MaxShownDepth {
		e.tooDeep = true
	} else {
		fn()
	}
	e.depth--
}

// living reports whether a node counts, whatever of it is on this device.
func (e *shownEncoder) living(n *shownNode) bool {
	if !n.removed || n.kind != Dir {
		return !n.removed
	}
	alive, known := e.alive[n]
	if !known {
		e.inside(func() { alive = slices.ContainsFunc(e.children[n.self], e.living) })
		e.alive[n] = alive
	}
	return alive
}

func (e *shownEncoder) directory(d *shownNode) {
	list := e.children[d.self]
	slices.SortFunc(list, func(a, b *shownNode) int {
		return cmp.Or(strings.Compare(a.name, b.name), a.place.compare(b.place), bytes.Compare(a.id[:], b.id[:]))
	})
	for len(list) > 0 {
		k := 1
		for k < len(list) && list[k].name == list[0].name {
			k++
		}
		// A removed node may own the name of a living one, which is shown under another then; and
		// it keeps others from a name that could be made for them.
		if slices.ContainsFunc(list[:k], e.living) || strings.Contains(list[0].name, " (") {
			for _, n := range list[:k] {
				e.node(n)
			}
		}
		list = list[k:]
	}
	e.b = append(e.b, 0)
}

func (e *shownEncoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *shownEncoder) text(s string) { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *shownEncoder) device(s *stamp) {
	d := s.feed.Device
	i, ok := e.devices[d]
	if !ok {
		i = uint64(len(e.devices))
		e.devices[d] = i
	}
	if e.uint(i); !ok {
		e.b = append(e.b, d[:]...)
	}
}

// flags are those of what attributes writes.
func (e *shownEncoder) flags(n *shownNode) (flags byte) {
	if n.mtimeAt != nil {
		flags |= flagMtime
	}
	if n.rest != nil && len(n.rest.keys) > 0 {
		flags |= flagAttrs
	}
	return flags
}

// attributes writes the time that was set, with how many of the versions are older, and the
// extended attributes.
func (e *shownEncoder) attributes(n *shownNode, heads []shownVersion) {
	if n.mtimeAt != nil {
		e.b = binary.AppendVarint(e.b, n.mtime)
		older := slices.IndexFunc(heads, func(h shownVersion) bool { return h.at.after(n.mtimeAt) })
		if older < 0 {
			older = len(heads)
		}
		e.uint(uint64(older))
	}
	if n.rest != nil && len(n.rest.keys) > 0 {
		e.uint(uint64(len(n.rest.keys)))
		for i, k := range n.rest.keys {
			e.text(k)
			e.text(string(n.rest.values[i]))
		}
	}
}

func (e *shownEncoder) node(n *shownNode) {
	flags, living := byte(n.kind)|e.flags(n), e.living(n)
	if !living {
		flags |= flagDead
	}
	e.b = append(append(e.b, flags), n.id[:]...)
	e.text(n.name)
	e.uint(uint64(n.mode))
	e.device(n.place)
	heads := e.versions[n.from:n.to]
	slices.SortFunc(heads, func(a, b shownVersion) int { return a.at.compare(b.at) })
	heads = heads[max(0, len(heads)-MaxHeads):]
	e.attributes(n, heads)
	switch n.kind {
	case Dir:
		if living {
			e.inside(func() { e.directory(n) })
		} else {
			e.b = append(e.b, 0)
		}
	case Symlink:
		e.text(n.rest.target)
	case File:
		e.uint(uint64(len(heads)))
		for i := range heads {
			e.version(n, &heads[i])
		}
	}
}

func (e *shownEncoder) version(n *shownNode, h *shownVersion) {
	what := byte(otherText)
	switch {
	case h.object != nil:
		what = wholeObject
	case *h.text == [16]byte(n.id):
		what = ownText
	}
	e.b = append(append(e.b, h.id[:]...), what)
	e.device(h.at)
	e.b = binary.AppendVarint(e.b, h.time)
	switch what {
	case otherText:
		e.b = append(e.b, h.text[:]...)
	case wholeObject:
		e.b = append(e.b, h.object.Hash[:]...)
		e.uint(uint64(h.object.Size))
	}
}
