package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
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
//	shown     = the nodes in a directory, by name and order of placing, a 0 behind the last
//	node      = flags (1 byte) | id (16) | name | mode | place's device
//	            | mtime, how many of its versions are older | attributes | what its kind has
//	directory = shown; symlink = target; file = versions
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

// What DecodeShown makes of some bytes at most. A tree that has directories deeper in each other
// is not written down: others decide how deep it is, and writing takes a stack as deep.
const (
	MaxShownDepth    = 1 << 14
	MaxShownNodes    = 1 << 20
	MaxShownVersions = 1 << 21
	MaxShownAttrs    = 1 << 20
)

// ErrShown is wrapped by the errors of DecodeShown.
var ErrShown = errors.New("not what a tree shows")

// EncodeShown returns what the tree shows, whether the objects are here or not; nil if it is too
// deep.
func (t *Tree) EncodeShown() []byte {
	e := &shownEncoder{devices: map[feed.Device]uint64{}, children: map[*node][]*node{}, alive: map[*node]bool{}}
	for n := range t.nodes.all() {
		if n.parent != nil {
			e.children[n.parent] = append(e.children[n.parent], n)
		}
	}
	e.directory(t.root)
	if e.tooDeep {
		return nil
	}
	return e.b
}

type shownEncoder struct {
	b        []byte
	devices  map[feed.Device]uint64
	children map[*node][]*node
	alive    map[*node]bool // of directories, once it is known
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
func (e *shownEncoder) living(n *node) bool {
	removed := n.rare != nil && len(n.rare.removals) > 0
	switch {
	case !removed:
		return true
	case n.kind == File:
		return n.file.beyond(n.rare.removals)
	case n.kind == Symlink:
		return false
	}
	alive, known := e.alive[n]
	if !known {
		e.inside(func() { alive = slices.ContainsFunc(e.children[n], e.living) })
		e.alive[n] = alive
	}
	return alive
}

func (e *shownEncoder) directory(d *node) {
	list := e.children[d]
	slices.SortFunc(list, func(a, b *node) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return comparePlaces(a, b)
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

func (e *shownEncoder) node(n *node) {
	flags, living := byte(n.kind), e.living(n)
	if !living {
		flags |= flagDead
	}
	if n.mtimeAt != nil {
		flags |= flagMtime
	}
	var keys []string
	if n.rare != nil {
		for _, k := range slices.Sorted(maps.Keys(n.rare.xattrs)) {
			if !n.rare.xattrs[k].deleted {
				keys = append(keys, k)
			}
		}
	}
	if len(keys) > 0 {
		flags |= flagAttrs
	}
	e.b = append(append(e.b, flags), n.id[:]...)
	e.text(n.name)
	e.uint(uint64(n.mode))
	e.device(n.place)
	var heads []*event
	if n.kind == File {
		heads = slices.Clone(n.file.tops())
		slices.SortFunc(heads, func(a, b *event) int { return a.at.compare(b.at) })
	}
	if n.mtimeAt != nil {
		e.b = binary.AppendVarint(e.b, n.mtime)
		older := slices.IndexFunc(heads, func(h *event) bool { return h.at.after(n.mtimeAt) })
		if older < 0 {
			older = len(heads)
		}
		e.uint(uint64(older))
	}
	if len(keys) > 0 {
		e.uint(uint64(len(keys)))
		for _, k := range keys {
			e.text(k)
			e.text(string(n.rare.xattrs[k].value))
		}
	}
	switch n.kind {
	case Dir:
		if living {
			e.inside(func() { e.directory(n) })
		} else {
			e.b = append(e.b, 0)
		}
	case Symlink:
		e.text(n.rare.target)
	case File:
		e.uint(uint64(len(heads)))
		for _, h := range heads {
			e.version(n, h)
		}
	}
}

func (e *shownEncoder) version(n *node, h *event) {
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

// DecodeShown makes a tree of what EncodeShown wrote. Everything in it counts as applied at a
// time of this device (unix ns). The bytes may come from anybody: names, limits and places are
// checked as those of operations are, and errors wrap ErrShown.
func DecodeShown(b []byte, applied int64) (*Tree, error) {
	d := &shownDecoder{t: New(), b: b, applied: applied}
	stack := []*node{d.t.root}
	for d.err == nil && len(stack) > 0 {
		n := d.node(stack[len(stack)-1])
		switch {
		case n == nil:
			stack = stack[:len(stack)-1]
		case n.kind == Dir:
			if stack = append(stack, n); len(stack) > MaxShownDepth+1 {
				d.fail("more than %d directories in each other", MaxShownDepth)
			}
		}
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("bytes behind the end")
	}
	if d.err != nil {
		return nil, d.err
	}
	for _, n := range d.dead {
		d.t.remove(n, &Stamped{Stamp: d.stamp(0), Op: Op{Seen: d.t.headsOf(n)}})
	}
	d.t.settle()
	return d.t, nil
}

func (t *Tree) headsOf(n *node) Version {
	if n.kind != File {
		return nil
	}
	return versionOf(n.file.tops())
}

type shownDecoder struct {
	t        *Tree
	b        []byte
	applied  int64
	devices  []feed.Device
	dead     []*node
	count    uint64 // of stamps
	versions int
	attrs    int
	err      error
}

func (d *shownDecoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrShown, fmt.Sprintf(format, args...))
	}
	d.b = nil
}

func (d *shownDecoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("cut off")
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *shownDecoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *shownDecoder) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.fail("a number that cannot be")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *shownDecoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("a number that cannot be")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *shownDecoder) text(limit int) string { return string(d.bytes(d.uint(uint64(limit)))) }

// device returns the number of a device.
func (d *shownDecoder) device() int {
	i := int(d.uint(uint64(len(d.devices))))
	if i == len(d.devices) && d.err == nil {
		var dev feed.Device
		copy(dev[:], d.bytes(uint64(len(dev))))
		d.devices = append(d.devices, dev)
	}
	return i
}

// stamp is later than all before it. Of the real one only the device and the order stay.
func (d *shownDecoder) stamp(device int) Stamp {
	d.count++
	s := Stamp{Lamport: d.count, Seq: 1}
	if device < len(d.devices) {
		s.Feed.Device = d.devices[device]
	}
	return s
}

// node reads a node in a directory; nil at the directory's end, or after an error.
func (d *shownDecoder) node(parent *node) *node {
	flags := d.byte()
	kind := Kind(flags & flagKind)
	if flags == 0 || d.err != nil {
		return nil
	}
	op := Op{Do: OpCreate, Kind: kind, Parent: parent.id}
	copy(op.Node[:], d.bytes(uint64(len(op.Node))))
	op.Name = d.text(MaxName)
	op.Mode = uint32(d.uint(0o7777))
	at := d.device()
	var mtime int64
	older := -1
	if flags&flagMtime != 0 {
		mtime, older = d.int(), int(d.uint(MaxHeads))
	}
	attrs := map[string]string{}
	if flags&flagAttrs != 0 {
		for range d.uint(uint64(len(d.b))) {
			if d.err != nil {
				return nil
			}
			if d.attrs++; d.attrs > MaxShownAttrs {
				d.fail("more than %d attributes", MaxShownAttrs)
				return nil
			}
			key := d.text(MaxKey)
			attrs[key] = d.text(MaxValue)
		}
	}
	if kind == Symlink {
		op.Target = d.text(MaxTarget)
	}
	switch {
	case d.err != nil:
		return nil
	case flags&^flagAll != 0 || kind < File || !ValidName(op.Name) || op.Node == Root || d.t.nodes.get(op.Node) != nil:
		d.fail("a node that cannot be")
	case kind == Symlink && (op.Target == "" || strings.Contains(op.Target, "\x00")):
		d.fail("a target that cannot be")
	case d.t.nodes.len() >= MaxShownNodes:
		d.fail("more than %d nodes", MaxShownNodes)
	}
	if d.err != nil {
		return nil
	}
	d.t.create(&Stamped{Stamp: d.stamp(at), Op: op, Applied: d.applied})
	n := d.t.nodes.get(op.Node)
	for key, value := range attrs {
		o := Op{Do: OpXattr, Node: n.id, Key: key, Value: []byte(value)}
		if !o.valid() {
			d.fail("an attribute that cannot be")
			return nil
		}
		d.t.setXattr(n, &Stamped{Stamp: d.stamp(at), Op: o})
	}
	if kind == File {
		d.file(n, older, mtime)
	}
	if older >= 0 && n.mtimeAt == nil {
		d.mtime(n, mtime)
	}
	if flags&flagDead != 0 {
		d.dead = append(d.dead, n)
	}
	return n
}

func (d *shownDecoder) mtime(n *node, mtime int64) {
	d.t.setMtime(n, &Stamped{Stamp: d.stamp(0), Op: Op{Mtime: mtime}})
}

// file reads the versions of a file; its time was set when so many of them were there.
func (d *shownDecoder) file(n *node, older int, mtime int64) {
	for i := range int(d.uint(MaxHeads)) {
		if i == older {
			d.mtime(n, mtime)
		}
		op := Op{Do: OpContent, Node: n.id}
		copy(op.Event[:], d.bytes(uint64(len(op.Event))))
		what := d.byte()
		at := d.device()
		op.Time = d.int()
		switch what {
		case ownText:
			op.Text = [16]byte(n.id)
		case otherText:
			copy(op.Text[:], d.bytes(uint64(len(op.Text))))
		case wholeObject:
			op.Object = new(Object)
			copy(op.Object.Hash[:], d.bytes(uint64(len(op.Object.Hash))))
			op.Object.Size = int64(d.uint(1 << 62))
		default:
			d.fail("a version of no kind")
		}
		if d.versions++; d.versions > MaxShownVersions || n.file.find(op.Event) != nil {
			d.fail("a version too many")
		}
		if d.err != nil {
			return
		}
		d.t.content(n, &Stamped{Stamp: d.stamp(at), Op: op, Applied: d.applied})
	}
}
