package tree

import (
	"bytes"
	"slices"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Tree is the namespace and the version graphs of one folder. See the package's comment.
type Tree struct {
	nodes nodesByID
	root  *node

	log   []move // of the directories, in stamp order
	moves []move // of this batch, not in the log yet

	waiting waiting // operations on what has not arrived

	have   func(feed.Hash) bool     // is an object here; nil: all are
	absent map[feed.Hash][]eventRef // events whose object is not here
	device func(feed.Device) string // names devices in suffixes

	// Of the batch that is being applied.
	queue   []*Stamped // operations that no longer wait
	touched []touched  // nodes that may look different after it
	unnamed []*node    // directories whose extra names are to be assigned again

	feeds   map[feed.ID]*feed.ID
	authors map[string]*string
	entry   *entry // of the last stamp
	room    room

	cache  sync.Mutex // guards the listings that ReadDir keeps
	listed []listed   // directories that have one, in the order in which they got it
	names  int        // in all of these

	held bool // settling waits for Release

	flaw flaw // what tests have it get wrong
}

// flaw is a deliberate mistake: tests show that they would find it.
type flaw uint8

const (
	noFlaw          flaw = iota
	allowCycles          // moves are never skipped
	neverUndo            // late moves are done last
	removalWins          // whatever the removal had not seen
	emptyDirsStay        // a revived directory outlives its last child
	silentNeighbour      // no change for a node whose shown name another took
	firstOwns            // a name belongs to the node that arrived first
	firstHeard           // an event has the stamp that arrived first
	staleListing         // listings are kept though names changed
	numFlaws
)

// room is where what lives as long as the tree is kept.
type room struct {
	entries slab[entry]
	stamps  slab[stamp]
	events  slab[event]
	nodes   slab[node] // but files
	files   slab[fileNode]
	names   arena
}

// node is a file, directory or symlink. What most nodes lack is behind a pointer.
type node struct {
	id      NodeID
	name    string // its own, at its place
	parent  *node  // nil for the root only
	place   *stamp // of the operation that put it there
	modeAt  *stamp
	mtime   int64  // unix ns, set at mtimeAt
	mtimeAt *stamp // nil: never
	mark    uint32 // 1 + index in Tree.touched
	mode    uint16
	kind    Kind
	alive   bool // not removed; a directory: or with a shown child
	shown   bool // alive, and a file has a version to show
	loser   bool // alive, but its name belongs to another: its parent's losers name it
	lifted  bool // out of its parent's names and counts, for the time being
	dir     *dir
	file    *graph
	rare    *rare
}

// fileNode is a file with its versions.
type fileNode struct {
	node
	graph
}

// rare is what few nodes have.
type rare struct {
	target   string
	created  int64     // applied at; symlinks
	removals []removal // later than the last placing
	xattrs   map[string]xattr
}

type removal struct {
	at   *stamp
	seen Version
}

type xattr struct {
	at      *stamp
	value   []byte
	deleted bool
}

// New returns a tree that has only its root.
func New() *Tree {
	t := &Tree{
		absent: map[feed.Hash][]eventRef{},
		feeds:  map[feed.ID]*feed.ID{},
		device: feed.Device.Short,
	}
	t.root = &node{id: Root, kind: Dir, mode: 0o755, alive: true, shown: true, dir: &dir{}}
	t.nodes.set(t.root)
	return t
}

// Apply applies operations, in any order, and returns what is different afterwards, each node
// once. Operations that were applied before change nothing.
func (t *Tree) Apply(batch []Stamped) []Change {
	for i := range batch {
		t.apply(&batch[i])
		for len(t.queue) > 0 {
			s := t.queue[0]
			t.queue = t.queue[1:]
			t.apply(s)
		}
	}
	if t.held {
		return nil
	}
	return t.settle()
}

// Hold has everything until Release be one batch: what Apply is given is applied, but for moves of
// directories, and nothing is told. To find the names and versions that are shown takes as long as
// there are many, so that who applies much in pieces holds the tree.
func (t *Tree) Hold() { t.held = true }

// Release ends Hold and returns what is different since then.
func (t *Tree) Release() []Change {
	t.held = false
	return t.settle()
}

// Touched is how many nodes may be different since Hold.
func (t *Tree) Touched() int { return len(t.touched) }

func (t *Tree) apply(s *Stamped) {
	op := &s.Op
	if !op.valid() {
		return
	}
	if op.Do == OpCreate {
		t.create(s)
		return
	}
	n := t.nodes.get(op.Node)
	if n == nil {
		t.waiting.put(Need{Node: op.Node}, s)
		return
	}
	switch op.Do {
	case OpPlace:
		t.move(n, s)
	case OpRemove:
		t.remove(n, s)
	case OpContent:
		t.content(n, s)
	case OpMode:
		t.setMode(n, op.Mode, t.stamp(s.Stamp))
	case OpMtime:
		t.setMtime(n, s)
	case OpXattr:
		t.setXattr(n, s)
	}
}

func (t *Tree) create(s *Stamped) {
	op := &s.Op
	p := t.nodes.get(op.Parent)
	if p == nil {
		t.waiting.put(Need{Node: op.Parent}, s)
		return
	}
	if p.kind != Dir {
		return
	}
	at := t.stamp(s.Stamp)
	n := t.nodes.get(op.Node)
	if n != nil {
		t.createAgain(n, p, op, at)
		return
	}
	if op.Kind == File {
		both := t.room.files.new()
		n, both.graph.created = &both.node, s.Applied
		n.file = &both.graph
	} else {
		n = t.room.nodes.new()
	}
	n.id, n.kind, n.name, n.parent = op.Node, op.Kind, t.room.names.keep(op.Name), p
	n.place, n.modeAt, n.mode, n.lifted = at, at, uint16(op.Mode&0o7777), true
	switch n.kind {
	case Dir:
		n.dir = &dir{created: s.Applied, creates: []*stamp{at}, keep: at, spot: spot{p, n.name, at}}
	case Symlink:
		n.rare = &rare{target: op.Target, created: s.Applied}
	}
	t.nodes.set(n)
	t.touch(n).created = true
	t.put(n)
	t.arrived(Need{Node: n.id})
}

// createAgain is a create of a node that is there: it puts the node back where it was born.
func (t *Tree) createAgain(n, birth *node, op *Op, at *stamp) {
	if n.kind != Dir {
		t.placeAt(n, birth, op.Name, at)
	} else if i, known := slices.BinarySearchFunc(n.dir.creates, at, (*stamp).compare); !known {
		n.dir.creates = slices.Insert(n.dir.creates, i, at)
		if n.dir.logged {
			t.moves = append(t.moves, move{at: at, node: n, to: birth, name: t.room.names.keep(op.Name)})
		} else if at.after(n.place) {
			t.lift(n)
			n.place, n.dir.spot.at = at, at
			t.put(n)
		}
		t.keep(n, at)
	}
	t.setMode(n, op.Mode, at)
}

func (t *Tree) move(n *node, s *Stamped) {
	op := &s.Op
	to := t.nodes.get(op.Parent)
	if to == nil {
		t.waiting.put(Need{Node: op.Parent}, s)
		return
	}
	if to.kind != Dir {
		return
	}
	at := t.stamp(s.Stamp)
	if n.kind != Dir {
		t.placeAt(n, to, op.Name, at)
		return
	}
	t.startLog(n)
	t.moves = append(t.moves, move{at: at, node: n, to: to, name: t.room.names.keep(op.Name)})
	t.keep(n, at)
}

// placeAt is the register that holds where a file or symlink lives.
func (t *Tree) placeAt(n, to *node, name string, at *stamp) {
	if !at.after(n.place) {
		return
	}
	t.lift(n)
	n.parent, n.name, n.place = to, t.room.names.keep(name), at
	t.forget(n, at)
	t.put(n)
}

func (t *Tree) remove(n *node, s *Stamped) {
	at := t.stamp(s.Stamp)
	if !at.after(n.kept()) {
		return
	}
	r := n.more()
	i, known := slices.BinarySearchFunc(r.removals, at, func(r removal, at *stamp) int { return r.at.compare(at) })
	if known {
		return
	}
	r.removals = slices.Insert(r.removals, i, removal{at: at, seen: s.Op.Seen})
	t.refresh(n)
}

// kept returns the last placing of n, including moves that had no effect.
func (n *node) kept() *stamp {
	if n.kind == Dir {
		return n.dir.keep
	}
	return n.place
}

// keep notes that a directory was placed, which outdoes earlier removals.
func (t *Tree) keep(n *node, at *stamp) {
	if at.after(n.dir.keep) {
		n.dir.keep = at
		t.forget(n, at)
		t.refresh(n)
	}
}

// forget drops the removals before at.
func (t *Tree) forget(n *node, at *stamp) {
	if n.rare == nil || len(n.rare.removals) == 0 {
		return
	}
	n.rare.removals = slices.DeleteFunc(n.rare.removals, func(r removal) bool { return !r.at.after(at) })
}

func (n *node) more() *rare {
	if n.rare == nil {
		n.rare = &rare{}
	}
	return n.rare
}

func (t *Tree) setMode(n *node, mode uint32, at *stamp) {
	if !at.after(n.modeAt) {
		return
	}
	if w, m := t.touch(n), uint16(mode&0o7777); m != n.mode {
		w.attr, n.mode = true, m
	}
	n.modeAt = at
}

func (t *Tree) setMtime(n *node, s *Stamped) {
	at := t.stamp(s.Stamp)
	if !at.after(n.mtimeAt) {
		return
	}
	if w := t.touch(n); n.mtime != s.Op.Mtime || !n.mtimeSet() {
		w.attr = true
	}
	n.mtime, n.mtimeAt = s.Op.Mtime, at
}

func (t *Tree) setXattr(n *node, s *Stamped) {
	at := t.stamp(s.Stamp)
	r := n.more()
	old := r.xattrs[s.Op.Key]
	if !at.after(old.at) {
		return
	}
	if w := t.touch(n); old.at == nil || old.deleted != s.Op.Delete || !bytes.Equal(old.value, s.Op.Value) {
		w.attr = true
	}
	if r.xattrs == nil {
		r.xattrs = map[string]xattr{}
	}
	x := xattr{at: at, deleted: s.Op.Delete}
	if !x.deleted {
		x.value = slices.Clone(s.Op.Value)
	}
	r.xattrs[s.Op.Key] = x
}

// stamp keeps s. The operations of an entry come one after the other.
func (t *Tree) stamp(s Stamp) *stamp {
	f := t.feeds[s.Feed]
	if f == nil {
		f = new(feed.ID)
		*f = s.Feed
		t.feeds[s.Feed] = f
	}
	if e := (entry{lamport: s.Lamport, seq: s.Seq, feed: f}); t.entry == nil || *t.entry != e {
		t.entry = t.room.entries.new()
		*t.entry = e
	}
	at := t.room.stamps.new()
	*at = stamp{entry: t.entry, index: s.Index, op: s.Op}
	return at
}
