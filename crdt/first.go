package crdt

import (
	"errors"
	"slices"
	"time"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// A newcomer's first view of a folder is a checkpoint of somebody who has it. While it stands,
// reading is of the view; what the entries have brought so far is read where the view
// has no text. Nothing is changed on this device meanwhile. Once the entries have come to where
// the checkpoint was made, what they made of the folder is held against it, and takes its
// place. The view is in memory only.

// stalled is how long none of the entries that a view lacks may come until it is given up.
var stalled = 30 * time.Second

// first is a first view.
type first struct {
	*opened
	maker    Device
	frontier feed.Frontier
	at       int64                 // unix ns: when it came; what came with it counts as applied then
	lack     map[feed.ID]feed.Head // heads of the frontier that are not held yet
	nearer   bool                  // entries of lack came since the last look
	made     *tree.Shown           // what the entries came to at that very frontier; nil if they never stood there
	giveUp   *time.Timer
}

// FirstView says that a folder shows what another device says of it.
type FirstView struct {
	Maker   Device    `json:"maker"`
	Name    string    `json:"name"` // of the maker
	Since   time.Time `json:"since"`
	Entries uint64    `json:"entries"` // to come until it is confirmed
}

// ErrComing is the kind of error of reading a text that has not arrived yet.
var ErrComing = errors.New("content has not arrived yet")

// FirstView returns what is known of the first view; nil if there is none: what is shown is
// what the entries say.
func (f *Folder) FirstView() *FirstView {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.firstView()
}

func (f *Folder) firstView() *FirstView {
	v := f.first
	if v == nil {
		return nil
	}
	out := &FirstView{Maker: v.maker, Name: f.deviceName(v.maker), Since: time.Unix(0, v.at)}
	for id, h := range v.lack {
		out.Entries += h.Seq - f.frontier[id].Seq
	}
	return out
}

// Unconfirmed reports whether the folder shows a first view, and so takes no changes.
func (f *Folder) Unconfirmed() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.first != nil
}

// WantsCheckpoint reports whether this device is new to the folder: it has made nothing, and
// lacks most of what another device has.
func (f *Folder) WantsCheckpoint(theirs feed.Frontier) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if !f.mayShow() {
		return false
	}
	var all, lacking uint64
	for id, h := range theirs {
		all += h.Seq
		lacking += h.Seq - min(h.Seq, f.frontier[id].Seq)
	}
	return 2*lacking > all
}

// mayShow reports whether a first view may be shown. It runs with mu held.
func (f *Folder) mayShow() bool {
	if f.first != nil || f.noFirst || f.closed || f.broken != nil || f.pending != nil {
		return false
	}
	for id := range f.frontier {
		if id.Device == f.home.device {
			return false
		}
	}
	return true
}

// ShowFirst shows a checkpoint. One that comes too late changes nothing. Errors wrap
// ErrCheckpoint; no other is asked for then.
func (f *Folder) ShowFirst(c *Checkpoint, body []byte) error {
	at := now()
	o, err := c.open(body, at)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.noFirst = true
		return err
	}
	lack, ok := f.lacking(c.Frontier)
	if !ok || len(lack) == 0 || !f.mayShow() {
		return nil
	}
	v := &first{opened: o, maker: c.Maker, frontier: c.Frontier, at: at, lack: lack}
	v.tree.SetDevices(f.nameInPaths)
	v.tree.SetReady(f.here)
	f.first = v
	v.giveUp = time.AfterFunc(stalled, func() { f.giveUp(v) })
	f.home.log.Info("showing a checkpoint until it is confirmed", "folder", f.grant.Name, "maker", v.maker, "nodes", v.tree.Len())
	f.post(Notice{By: v.maker, Changes: treeChanges(f.tree, v.tree)})
	return nil
}

// lacking returns the heads that are not held; false where a feed was forked, so that nobody
// can tell when they are.
func (f *Folder) lacking(fr feed.Frontier) (map[feed.ID]feed.Head, bool) {
	lack := map[feed.ID]feed.Head{}
	for id, h := range fr {
		if !f.frontier.Covers(id, h.Seq) {
			lack[id] = h
		} else if held, err := f.holds(h); err != nil || !held {
			return nil, false
		}
	}
	return lack, true
}

// NoFirst has the folder never show a first view: it ends one that is shown.
func (f *Folder) NoFirst() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noFirst = true
	f.endFirst()
}

// reconsiderFirst finds out anew what a first view lacks, after entries that had counted could not
// be stored. It runs with mu held.
func (f *Folder) reconsiderFirst() {
	if f.first == nil {
		return
	}
	f.first.made = nil
	lack, ok := f.lacking(f.first.frontier)
	if f.first.lack = lack; !ok {
		f.endFirst()
	}
}

// seen is the tree that is shown. It runs with mu held.
func (f *Folder) seen() *tree.Tree {
	if f.first != nil {
		return f.first.tree
	}
	return f.tree
}

// firstContent is what the view has at a version of its own; false if that is to be read where
// it always is. It runs with mu held.
func (f *Folder) firstContent(node NodeID, v Version) (Content, bool, error) {
	if f.first == nil {
		return Content{}, false, nil
	}
	known := true
	for _, id := range v {
		if _, ok := f.tree.Event(node, id); !ok {
			known = false
		}
	}
	e, ok := f.first.tree.Event(node, v[0])
	if known || !ok {
		return Content{}, false, nil
	}
	c := Content{Version: slices.Clone(v)}
	if e.Object != nil {
		o := fromTree(e.Object)
		c.Object = &o
		return c, true, nil
	}
	if n := f.first.tree.Get(node); n != nil && n.Version.Equal(v) {
		size, told := f.first.sizes[node]
		if c.Text, ok = f.first.texts[node]; ok || told && size == 0 {
			return c, true, nil
		}
	}
	return Content{}, true, f.coming("read", node)
}

func (f *Folder) coming(op string, node NodeID) error {
	return &Error{Op: op, Path: f.seen().Path(node), Kind: ErrComing,
		Hint: "it comes with the folder's entries; sheaf sync --wait waits for them"}
}

// allHere fails while a first view shows a version of which not every event is here: what they
// tell of it would be less than it shows. It runs with mu held.
func (f *Folder) allHere(op string, node NodeID, v Version) error {
	if f.first == nil {
		return nil
	}
	for _, id := range v {
		if _, ok := f.tree.Event(node, id); !ok {
			return f.coming(op, node)
		}
	}
	return nil
}

// firstSize is the size of a text in the view; false if there is no view.
func (f *Folder) firstSize(node NodeID, v Version) (int64, bool) {
	if f.first == nil {
		return 0, false
	}
	if n := f.first.tree.Get(node); n == nil || !n.Version.Equal(v) {
		return 0, true // a version beside it, which nobody has told the size of
	}
	return f.first.sizes[node], true
}

// refuseChange fails while a first view is shown: what it is based on is not known yet.
func (f *Folder) refuseChange(op string) error {
	if f.first == nil {
		return nil
	}
	return &Error{Op: op, Path: f.grant.Name, Kind: ErrReadOnly, Err: errors.New("the folder is new here, and not all of it has arrived"),
		Hint: "sheaf sync --wait waits for it"}
}

// arrived counts an entry that is held now. It runs with mu held.
func (v *first) arrived(f *Folder, h feed.Head) {
	w, ok := v.lack[h.Feed]
	if !ok {
		return
	}
	v.nearer = true
	if w.Seq > h.Seq {
		return
	}
	delete(v.lack, h.Feed)
	if len(v.lack) == 0 && len(f.frontier) == len(v.frontier) && f.frontier.Hash() == v.frontier.Hash() {
		v.made = f.tree.Shown()
	}
}

// afterReceive goes on with a first view once entries are stored. Those that it does not lack
// give it no more time: who names entries that nobody has could keep it up for as long as
// others work in the folder. It runs with mu held.
func (f *Folder) afterReceive() {
	v := f.first
	if v == nil || !v.nearer && len(v.lack) > 0 {
		return
	}
	v.nearer = false
	if !v.giveUp.Stop() {
		return // it is being given up, or confirmed
	}
	if len(v.lack) > 0 {
		v.giveUp.Reset(stalled)
		return
	}
	f.confirming.Go(func() { f.confirm(v) })
}

// confirm holds a first view against what the entries made of the folder, which then takes its
// place.
func (f *Folder) confirm(v *first) {
	differs, err := f.compareFirst(v)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first != v || f.closed {
		return
	}
	took := time.Since(time.Unix(0, v.at))
	switch {
	case err != nil:
		f.home.log.Error("a checkpoint could not be held against the entries", "folder", f.grant.Name, "maker", v.maker, "err", err)
	case differs != "" && f.forkedSince(v):
		f.accuse(v, "the checkpoint that "+f.nameWithID(v.maker)+" sent could not be confirmed, and is discarded: a feed is forked, and there may be others of its entries here")
	case differs != "":
		f.accuse(v, "the checkpoint that "+f.nameWithID(v.maker)+" sent was false, and is discarded: "+differs)
	default:
		f.home.log.Info("the checkpoint is confirmed", "folder", f.grant.Name, "maker", v.maker, "after", took)
	}
	f.endFirst()
}

// forkedSince reports whether the frontier of a view does not tell which entries its maker had: of
// a forked feed it names one branch. It runs with mu held.
func (f *Folder) forkedSince(v *first) bool {
	_, held := f.lacking(v.frontier)
	return !held || len(f.forked) > 0
}

// compareFirst says in what the view differs from what the entries say; "" if in nothing.
func (f *Folder) compareFirst(v *first) (string, error) {
	if fault.On("crdt-trust-checkpoint") {
		return "", nil
	}
	f.mu.RLock()
	made := v.made
	f.mu.RUnlock()
	if made == nil {
		p, err := f.past(func(d *dated) bool { return v.frontier.Covers(d.Feed, d.Seq) })
		if err != nil {
			return "", err
		}
		made = p.tree.Shown()
	}
	atLength()
	if blake3.Sum256(made.Encode()) != v.shown {
		return "the entries make another tree", nil
	}
	for node, size := range v.sizes {
		f.mu.RLock()
		n, closed := v.tree.Get(node), f.closed // an object that arrives changes the tree
		f.mu.RUnlock()
		if closed {
			return "", fail("checkpoint", f.grant.Name, ErrClosed, nil)
		}
		real, text, err := f.sizeAndText(n, 0)
		if err != nil {
			return "", err
		}
		carried, ok := v.texts[node]
		if real != size || ok && carried != text {
			return f.Path(node) + " has another text", nil
		}
	}
	return "", nil
}

// accuse tells people of a checkpoint that was not what it said. It runs with mu held.
func (f *Folder) accuse(v *first, what string) {
	f.home.log.Error("a checkpoint is discarded", "folder", f.grant.Name, "maker", v.maker, "why", what)
	b := f.home.db.Batch()
	f.note(b, Note{Time: nowTime(), Kind: "checkpoint", Text: what})
	if err := f.home.db.Commit(b); err != nil {
		f.home.log.Error("keeping a note", "folder", f.grant.Name, "err", err)
	}
}

// giveUp ends a view whose entries do not come.
func (f *Folder) giveUp(v *first) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first != v {
		return
	}
	f.noFirst = true
	f.accuse(v, "the checkpoint that "+f.nameWithID(v.maker)+" sent could not be confirmed: none of the entries that it names came for "+stalled.String())
	f.endFirst()
}

// endFirst shows what the entries say. It runs with mu held.
func (f *Folder) endFirst() {
	v := f.first
	if v == nil {
		return
	}
	f.first = nil
	v.giveUp.Stop()
	f.post(Notice{By: v.maker, Changes: treeChanges(v.tree, f.tree)})
}

// look is what a person sees of a node.
type look struct {
	place   Place
	mode    uint32
	mtime   int64
	version string
}

// treeChanges tells what is different in a tree that takes the place of another one.
func treeChanges(from, to *tree.Tree) []Change {
	before, beside := looksOf(from)
	after, besideNow := looksOf(to)
	var out []Change
	for id, b := range before {
		a := after[id]
		c := Change{Node: id, Before: b.place, After: a.place}
		if a.place != b.place {
			c.What |= PlaceChanged
		}
		if a.place.Visible {
			if a.version != b.version {
				c.What |= ContentChanged
			}
			if a.mode != b.mode || a.mtime != b.mtime {
				c.What |= AttrChanged
			}
		}
		if c.What != 0 {
			out = append(out, c)
		}
	}
	for id, a := range after {
		if _, ok := before[id]; !ok {
			out = append(out, Change{Node: id, What: PlaceChanged | ContentChanged, After: a.place})
		}
	}
	for p, id := range beside {
		if besideNow[p] != id {
			out = append(out, Change{Node: id, What: PlaceChanged, Before: p, Alt: true})
		}
	}
	for p, id := range besideNow {
		if beside[p] != id {
			out = append(out, Change{Node: id, What: PlaceChanged, After: p, Alt: true})
		} else {
			out = append(out, Change{Node: id, What: ContentChanged, Before: p, After: p, Alt: true})
		}
	}
	return out
}

// looksOf lists what a tree shows: its nodes, and the places of versions beside them.
func looksOf(t *tree.Tree) (map[NodeID]look, map[Place]NodeID) {
	nodes, beside := make(map[NodeID]look, t.Len()), map[Place]NodeID{}
	root := t.Get(Root)
	nodes[Root] = look{place: Place{Visible: true}, mode: root.Mode, mtime: root.Mtime}
	t.Each(func(e tree.Dirent) bool {
		n := t.Get(e.Node)
		p := Place{Dir: n.Parent, Name: e.Name, Visible: true}
		if e.Alt {
			beside[p] = e.Node
			return true
		}
		nodes[e.Node] = look{place: p, mode: n.Mode, mtime: n.Mtime, version: n.Version.String()}
		return true
	})
	return nodes, beside
}
