package tree

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// DecodeShown makes a tree of what EncodeShown wrote. Everything in it counts as applied at a
// time of this device (unix ns). The bytes may come from anybody: names, limits and places are
// checked as those of operations are, and errors wrap ErrShown.
func DecodeShown(b []byte, applied int64) (*Tree, error) {
	d := &shownDecoder{t: New(), b: b, applied: applied}
	d.root()
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
	set := d.attributes(flags)
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
	d.setXattrs(n, at, set.xattrs)
	if kind == File {
		d.file(n, set)
	}
	if set.older >= 0 && n.mtimeAt == nil {
		d.mtime(n, set.mtime)
	}
	if flags&flagDead != 0 {
		d.dead = append(d.dead, n)
	}
	return n
}

// shownAttributes is what attributes wrote.
type shownAttributes struct {
	mtime  int64
	older  int // versions when the time was set; -1: it was not
	xattrs map[string]string
}

func (d *shownDecoder) attributes(flags byte) shownAttributes {
	a := shownAttributes{older: -1}
	if flags&flagMtime != 0 {
		a.mtime, a.older = d.int(), int(d.uint(MaxHeads))
	}
	if flags&flagAttrs == 0 {
		return a
	}
	a.xattrs = map[string]string{}
	for range d.uint(uint64(len(d.b))) {
		if d.attrs++; d.attrs > MaxShownAttrs {
			d.fail("more than %d attributes", MaxShownAttrs)
		}
		if d.err != nil {
			return a
		}
		key := d.text(MaxKey)
		a.xattrs[key] = d.text(MaxValue)
	}
	return a
}

func (d *shownDecoder) setXattrs(n *node, at int, xattrs map[string]string) {
	for key, value := range xattrs {
		o := Op{Do: OpXattr, Node: n.id, Key: key, Value: []byte(value)}
		if !o.valid() {
			d.fail("an attribute that cannot be")
			return
		}
		d.t.setXattr(n, &Stamped{Stamp: d.stamp(at), Op: o})
	}
}

// root reads what was set of the root.
func (d *shownDecoder) root() {
	flags := d.byte()
	mode := uint32(d.uint(0o7777))
	set := d.attributes(flags)
	if d.err == nil && (flags&^(flagKind|flagMtime|flagAttrs) != 0 || Kind(flags&flagKind) != Dir || set.older > 0) {
		d.fail("a root that cannot be")
	}
	if d.err != nil {
		return
	}
	d.t.setMode(d.t.root, mode, d.t.stamp(d.stamp(0)))
	d.setXattrs(d.t.root, 0, set.xattrs)
	if set.older == 0 {
		d.mtime(d.t.root, set.mtime)
	}
}

func (d *shownDecoder) mtime(n *node, mtime int64) {
	d.t.setMtime(n, &Stamped{Stamp: d.stamp(0), Op: Op{Mtime: mtime}})
}

// file reads the versions of a file; its time was set when so many of them were there.
func (d *shownDecoder) file(n *node, set shownAttributes) {
	for i := range int(d.uint(MaxHeads)) {
		if i == set.older {
			d.mtime(n, set.mtime)
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
			op.Object.Size = int64(d.uint(math.MaxInt64))
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
