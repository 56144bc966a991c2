package fs

import (
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// queue runs what must not run in a handler or under its locks: telling the
// kernel, showing what came from elsewhere, poking watchers. One goroutine, in
// order; timers only put things into it.
type queue struct {
	mu     sync.Mutex
	wake   *sync.Cond
	list   []func()
	timers map[*time.Timer]func()
	closed bool
	idle   sync.WaitGroup
}

func newQueue() *queue {
	q := &queue{timers: map[*time.Timer]func(){}}
	q.wake = sync.NewCond(&q.mu)
	q.idle.Go(q.run)
	return q
}

func (q *queue) put(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.list = append(q.list, f)
		q.wake.Signal()
	}
}

// later puts f into the queue after d.
func (q *queue) later(d time.Duration, f func()) {
	if d <= 0 {
		q.put(f)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		q.mu.Lock()
		delete(q.timers, t)
		q.mu.Unlock()
		q.put(f)
	})
	q.timers[t] = f
}

// close drops timers, finishes what is in the queue and ends the goroutine.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	for t := range q.timers {
		t.Stop()
	}
	clear(q.timers)
	q.wake.Signal()
	q.mu.Unlock()
	q.idle.Wait()
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		for len(q.list) == 0 && !q.closed {
			q.wake.Wait()
		}
		batch := q.list
		q.list = nil
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, f := range batch {
			f()
		}
	}
}

func (fs *filesystem) later(d time.Duration, f func()) { fs.queue.later(d, f) }

// notice takes up what changed in the folder. What this mount did itself the
// kernel knows, but for names that other names' changes brought.
func (fs *filesystem) notice(n crdt.Notice) {
	fs.turned(n)
	if slices.ContainsFunc(n.Changes, func(c crdt.Change) bool { return c.What&crdt.PlaceChanged != 0 }) {
		fs.nameChanged()
	}
	if o, ok := n.Origin.(*origin); ok && o.fs == fs {
		n.Changes = slices.DeleteFunc(slices.Clone(n.Changes), func(c crdt.Change) bool {
			return c.What&crdt.PlaceChanged == 0 || !c.Before.Visible || !c.After.Visible || slices.Contains(o.moved, c.Node)
		})
	}
	if len(n.Changes) == 0 {
		return
	}
	for _, c := range n.Changes {
		if c.After.Name == ignoreName {
			fs.ruled(c.After.Dir)
		}
	}
	fs.queue.put(func() {
		for _, c := range n.Changes {
			fs.changed(c)
		}
	})
}

// changed shows one change from elsewhere. It runs on the queue.
func (fs *filesystem) changed(c crdt.Change) {
	if c.What&crdt.PlaceChanged != 0 {
		fs.moved(c)
	}
	fs.mu.RLock()
	in := fs.nodes[key(c.Node, nil)]
	fs.mu.RUnlock()
	came := c.What&crdt.PlaceChanged != 0 && !c.Before.Visible
	switch {
	case came && in == nil: // watchers hear of all of it with the name
	case c.What&crdt.ContentChanged != 0 && in != nil:
		in.mu.Lock()
		in.stale = true
		in.mu.Unlock()
		if !fs.refresh(in) && c.What&crdt.AttrChanged != 0 {
			fs.reattr(in)
			fs.attrPoke(c.Node)
		}
	case c.What&crdt.ContentChanged != 0:
		fs.tell(c.Node)
	case c.What&crdt.AttrChanged != 0:
		if in != nil {
			fs.reattr(in)
		}
		fs.attrPoke(c.Node)
	}
}

// reattr shows changed attributes.
func (fs *filesystem) reattr(in *inode) {
	in.mu.Lock()
	if info, err := fs.folder.Get(in.node); err == nil && in.sess == nil && (!in.loaded && !in.cached || info.Version.Equal(in.shows())) {
		// What was saved here was published later, and keeps the time that its writer saw.
		saved := in.saved && in.savedVersion.Equal(info.Version)
		if t := fs.timeOf(in, info.Version, info.Mtime); info.MtimeSet || !saved && info.Mtime.After(t) {
			fs.ownTimes(in)
			in.saved, in.dated = false, nil
		}
		if in.loaded {
			in.mtime = fs.timeOf(in, info.Version, info.Mtime)
		}
	}
	fs.ownTimes(in)
	in.touch = time.Now()
	in.mu.Unlock()
	fs.server.InodeNotify(in.id, -1, 0)
}

// held tells how long the newer version must still wait, and false if it need
// not. The caller holds in.mu.
func (in *inode) held(now time.Time) (time.Duration, bool) {
	if s := in.sess; s != nil && s.dirty {
		return 0, true // publication asks again
	} else if s != nil && in.placed > 0 && now.Sub(s.last) < rests {
		return s.last.Add(rests).Sub(now), true
	}
	var until time.Time
	if in.holdUntil.After(now) {
		until = in.holdUntil
	}
	if in.readers > 0 {
		if t := in.lastRead.Add(holdRead); t.After(until) {
			until = t
		}
	}
	if in.heldSince.IsZero() {
		in.heldSince = now
	}
	if last := in.heldSince.Add(holdAtMost); until.After(last) {
		until = last
	}
	return until.Sub(now), until.After(now)
}

// refresh shows the folder's version if nothing holds it back, and tells whether it told
// the kernel. It runs on the queue.
func (fs *filesystem) refresh(in *inode) bool {
	fs.resolver.flush() // who reads what is shown now is known
	told := fs.flip(in, fs.undone(in))
	if told {
		fs.server.InodeNotify(in.id, 0, 0)
	}
	in.mu.Lock()
	if told {
		in.before, in.flipping, in.flipped, in.told = nil, false, time.Now(), unknown
	}
	if in.idle() {
		in.unload()
	}
	in.mu.Unlock()
	if told {
		fs.tell(in.node)
	}
	return told
}

// span is two versions of a file.
type span struct{ from, to crdt.Version }

// undone finds out whether what the kernel may show of a file is the same text as the folder's
// newer version, such as after what was done and undone again elsewhere: then there is nothing
// to tell anybody. Old versions of a long history take a while to make, and whoever asks for the
// file waits for in.mu: they are compared without it. Of what is not the same the span is empty.
func (fs *filesystem) undone(in *inode) (again span) {
	in.mu.Lock()
	ask := in.stale && in.bound && !in.gone && !in.loaded && in.cached && !fs.underway(in)
	if ask {
		_, held := in.held(time.Now())
		info, err := fs.folder.Get(in.node)
		ask = !held && err == nil && info.Size == in.shownLast.size && !info.MtimeSet
		again = span{in.shownLast.version, info.Version}
	}
	node := in.node
	in.mu.Unlock()
	if !ask || !fs.equal(node, again.from, again.to) {
		return span{}
	}
	return again
}

// flip makes the view show the folder's version, and tells whether the kernel is
// to be told. Until it is, what is opened may show either version. again is what undone found.
func (fs *filesystem) flip(in *inode, again span) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.due = time.Time{}
	if in.gone || !in.bound || !in.stale {
		return false
	}
	if fs.underway(in) {
		fs.refreshIn(in, quiet)
		return false
	}
	if wait, held := in.held(time.Now()); held {
		if wait > 0 {
			fs.refreshIn(in, wait)
		}
		return false
	}
	if !in.loaded {
		info, err := fs.folder.Get(in.node)
		if err != nil {
			return false
		}
		news := in.announce(info.Version)
		if in.cached && !(news && info.Version.Equal(in.shownLast.version)) && !info.MtimeSet &&
			again.to != nil && again.from.Equal(in.shownLast.version) && again.to.Equal(info.Version) {
			in.stale, in.heldSince = false, time.Time{}
			last := *in.shownLast
			last.version = slices.Clone(info.Version)
			in.shownLast, in.dated = &last, &last
			return false
		}
		fs.guard(in, info.Version)
		if in.cached {
			in.before, in.cached = in.shownLast.version, false
		}
		fs.date(in, info)
		in.stale, in.flipping = false, true
		return true
	}
	c, err := fs.folder.Holding(in.node)
	if err != nil {
		in.stale, in.heldSince = false, time.Time{}
		return false
	}
	news := in.announce(c.Version)
	if c.Version.Equal(in.version) {
		in.stale, in.heldSince = false, time.Time{}
		in.flipping = news
		return news
	}
	fs.guard(in, c.Version)
	if in.sess != nil {
		fs.endSession(in) // clean, and nobody writes at offsets of their own
	}
	info, err := fs.folder.Get(in.node)
	if in.object.Object == nil && !info.MtimeSet && !fault.On("fs-tell-always") && c.Same(crdt.Holding{Body: in.text}) {
		in.version, in.stale, in.heldSince = c.Version, false, time.Time{}
		in.dated = &shown{c.Version, int64(c.Body.Len()), in.mtime, true}
		return false
	}
	before := in.version
	if err := fs.show(in, c); err != nil {
		fs.log.Warn("show what came", "err", err)
		return false
	}
	if err == nil && info.Version.Equal(in.version) {
		fs.date(in, info)
	}
	in.before, in.flipping = before, true
	return true
}

// announce notes that the kernel and watchers hear of a version, and tells whether they had
// not. Who opened a file in the moment between a version's coming and its turn in the queue
// was given that version, and nobody was told. The caller holds in.mu.
func (in *inode) announce(v crdt.Version) bool {
	h := fnv.New64a()
	for _, id := range v {
		h.Write(id[:])
	}
	was := in.announced
	in.announced = h.Sum64()
	return was != in.announced
}

// equalTexts tells whether two versions of a text are the same.
func (fs *filesystem) equalTexts(node crdt.NodeID, a, b crdt.Version) bool {
	was, err := fs.folder.HoldingAt(node, a)
	if err != nil || was.Object != nil || fault.On("fs-tell-always") {
		return false
	}
	now, err := fs.folder.HoldingAt(node, b)
	return err == nil && now.Same(was)
}

// date gives what is shown from now on the time of now, unless a program set it: what
// was made of the text before, while this one waited to be shown, is older than it (make
// goes by that). The caller holds in.mu.
func (fs *filesystem) date(in *inode, info crdt.Info) {
	fs.ownTimes(in)
	in.dated = nil
	if info.MtimeSet || fault.On("fs-date-arrival") {
		return
	}
	in.dated = &shown{slices.Clone(info.Version), info.Size, time.Now(), info.Object == nil}
	if in.loaded {
		in.mtime = in.dated.mtime
	}
}

// hold keeps what the folder merged from being shown for a moment after a save.
// The caller holds in.mu.
func (fs *filesystem) hold(in *inode, v crdt.Version) {
	now := time.Now()
	if in.holdUntil.Before(now) {
		in.heldSince = now
	}
	in.holdUntil = now.Add(holdSave)
	if info, err := fs.folder.Get(in.node); err == nil && !info.Version.Equal(v) {
		in.stale = true
		fs.refreshIn(in, holdSave)
	}
}

// refreshIn has refresh called after d, or when it is to be anyway if that is
// sooner. The caller holds in.mu.
func (fs *filesystem) refreshIn(in *inode, d time.Duration) {
	due := time.Now().Add(d)
	if in.due.IsZero() || due.Before(in.due) {
		in.due = due
		fs.later(d, func() { fs.refresh(in) })
	}
}

// moved tells the kernel of a name that came, went or changed. It runs on the
// queue.
func (fs *filesystem) moved(c crdt.Change) {
	if c.After.Visible {
		fs.comesBack(c)
	} else if fs.remain(c.Node) {
		return
	}
	fs.mu.Lock()
	before, after := fs.nodes[key(c.Before.Dir, nil)], fs.nodes[key(c.After.Dir, nil)]
	in := fs.nodes[key(c.Node, nil)]
	if in != nil && !c.After.Visible {
		if _, err := fs.folder.Get(c.Node); err == nil {
			in = nil // what went is the name of a version beside it, or it is back by now
		}
	}
	var id uint64
	if in != nil {
		id = in.id
		if !c.After.Visible && !fs.written(in) {
			fs.detach(in)
			fs.unbindGone(in)
		} else if in.gone {
			in.mu.Lock()
			in.gone = false
			in.mu.Unlock()
		}
	}
	fs.mu.Unlock()
	if c.Before.Visible && fault.On("fs-keep-names") {
		return
	}
	for _, dir := range []*inode{before, after} {
		if dir != nil {
			fs.touched(dir)
			fs.server.InodeNotify(dir.id, -1, 0)
		}
	}
	// What a name of this device hides is nothing the kernel knows of.
	went := c.Before.Visible && before != nil && !fs.hides(c.Before)
	came := c.After.Visible && after != nil && !fs.hides(c.After)
	switch {
	case went && c.After.Visible && !fs.hides(c.After):
		fs.renamePoke(c, before, after)
	case went && !c.After.Visible:
		fs.removePoke(c, before, id)
	default:
		if went {
			fs.server.EntryNotify(before.id, c.Before.Name)
		}
		if came {
			fs.createPoke(c.Node, after, c.After.Name)
		}
	}
}

// hides tells whether a name of this device stands before the folder's.
func (fs *filesystem) hides(p crdt.Place) bool {
	return IsLocal(p.Name) || fs.locals.get(p.Dir, p.Name) != nil
}

// written tells whether somebody writes a file: if it was removed elsewhere, the
// save brings it back.
func (fs *filesystem) written(in *inode) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.writers > 0 || in.sess != nil && in.sess.dirty
}

// returned tells the kernel that a save brought a removed file back.
func (fs *filesystem) returned(node crdt.NodeID) {
	if info, err := fs.folder.Get(node); err == nil {
		fs.moved(crdt.Change{Node: node, What: crdt.PlaceChanged, After: crdt.Place{Dir: info.Parent, Name: info.Name, Visible: true}})
	}
}

// Saved tells whether a notice of a folder is of what a program did in a mount, by the
// notice's origin, and when it did that. Of new files, which reach the folder many at
// once, it is when the last of them was closed; the zero time where it was just now.
func Saved(o any) (at time.Time, ok bool) {
	by, ok := o.(*origin)
	if !ok {
		return time.Time{}, false
	}
	return by.at, true
}

// Blind tells whether a notice of a folder is of a save that took the place of what
// its writer had not read, by the notice's origin.
func Blind(o any) bool {
	by, ok := o.(*origin)
	return ok && by.blind
}

// origin marks the folder's notices of changes made by this mount.
type origin struct {
	fs    *filesystem
	moved []crdt.NodeID // the kernel knows of these renames
	at    time.Time     // when it was made, zero for now
	blind bool          // a save in place of what its writer had not read
}

func (fs *filesystem) update(f func(*crdt.Tx) error) error { return fs.updateNames(f) }

func (fs *filesystem) updateNames(f func(*crdt.Tx) error, moved ...crdt.NodeID) error {
	fs.gitChanged()
	return fs.folder.UpdateAs(&origin{fs: fs, moved: moved}, f)
}

// shown is what a view showed, for processes that go on seeing it.
type shown struct {
	version crdt.Version
	size    int64
	mtime   time.Time
	text    bool // not an object
}

var _ fuse.RawFileSystem = (*filesystem)(nil)
