package crdt

import (
	"fmt"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Folder is one shared tree on this device. Its tree is in memory, its texts
// are read when they are needed.
type Folder struct {
	home  *Home
	id    FolderID
	grant Grant
	*notices

	// mu guards what follows; it is held while something changes.
	mu       sync.RWMutex
	tree     *tree.Tree
	frontier feed.Frontier        // the entries held
	latest   map[feed.ID]latest   // of every feed the entry that is the latest in time
	forked   map[feed.ID]struct{} // feeds of which two entries of one number are held
	order    uint64               // of the newest entry
	heldHash heldHash
	members  map[Device]member // who was admitted, by entries held
	shelf    *shelf            // operations that wait for what they build on
	own      ownFeed
	pending  *pending // operations not yet in an entry; nil: none
	gather   *gather  // what they are for, if they are kept together
	notes    []Note
	expired  map[Hash]bool // objects that were freed on purpose
	unread   map[Device]unreadCount
	late     bool  // some of that could be read, had there been room
	began    int64 // unix ns: when the folder came to this device
	broken   error // the state in memory may be ahead of the disk
	closed   bool

	// appliedAt tells when an entry was applied first, while the folder is made anew; nil: now.
	appliedAt func(feed.Head) int64

	first      *first         // shown instead of the tree, until it is confirmed
	noFirst    bool           // none is shown any more
	confirming sync.WaitGroup // goroutines that confirm one

	texts    texts
	lenders  lenders
	unstored unstored
}

// ownFeed is the feed that this device writes.
type ownFeed struct {
	id   feed.ID
	head feed.Head     // zero before the first entry
	told feed.Frontier // what the feed's entries have said of the others
}

type member struct {
	name  string
	stamp tree.Stamp
}

// openFolder brings a folder's state to memory from its records.
func openFolder(h *Home, g Grant) (*Folder, error) {
	f := &Folder{home: h, id: g.Folder, grant: g, notices: startNotices()}
	err := f.load()
	if err == nil {
		err = f.readUnread()
	}
	if err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

// load makes the memory what the database says; it runs with mu held, or
// before anyone else knows the folder.
func (f *Folder) load() error {
	f.tree = tree.New()
	arrivals, err := f.loadArrivals()
	if err != nil {
		return err
	}
	here := f.here
	if err := f.loadExpired(); err != nil {
		return err
	}
	f.tree.SetReady(func(h Hash) bool { return arrivals[h] == 0 && here(h) || f.expired[h] && !here(h) })
	f.tree.SetDevices(f.nameInPaths)
	f.frontier, f.latest, f.forked = feed.Frontier{}, map[feed.ID]latest{}, map[feed.ID]struct{}{}
	f.order, f.heldHash, f.broken, f.pending = 0, heldHash{}, nil, nil
	f.began = now()
	f.members = map[Device]member{f.grant.Creator: {}}
	if f.shelf, err = newShelf(f); err != nil {
		return err
	}
	f.tree.SetShelf(f.shelf, maxWaiting)
	f.texts.reset()
	f.lenders.reset()
	if err := f.loadIndex(); err != nil {
		return err
	}
	if err := f.loadRecords(); err != nil {
		return err
	}
	for h, at := range arrivals {
		if here(h) {
			f.tree.ObjectReady(h, at)
		}
	}
	f.tree.SetReady(here)
	if err := f.loadUnread(); err != nil {
		return err
	}
	if err := f.loadNotes(); err != nil {
		return err
	}
	if err := f.loadSizes(); err != nil {
		return err
	}
	if err := f.loadOwn(); err != nil {
		return err
	}
	f.reconsiderFirst()
	return f.loadPending()
}

func (f *Folder) loadIndex() error {
	prefix := f.key('i')
	err := f.home.db.Scan(prefix, func(k, v []byte) error {
		k = k[len(prefix):]
		if len(k) != 32+8+8+32 || len(v) != 16 {
			return fmt.Errorf("an index key of %d bytes", len(k))
		}
		f.hold(headOfIndex(k), decodeLocated(v))
		return nil
	})
	return storage("open", f.grant.Name, err)
}

// here reports whether an object is on this device.
func (f *Folder) here(h Hash) bool { return f.home.objects.Has(blob.Hash(h)) }

// hold notes that an entry is held.
func (f *Folder) hold(h feed.Head, l located) {
	if !f.frontier.Advance(h) {
		f.forked[h.Feed] = struct{}{}
	}
	if l.lamport > f.latest[h.Feed].lamport {
		f.latest[h.Feed] = latest{h, l.lamport}
	}
	f.order = max(f.order, l.order)
}

func (f *Folder) replayRaw(o op, w when) {
	switch {
	case o.Text != nil:
		v, err := f.resolve(o.Text)
		if err != nil {
			f.wait(*o.Text, w)
			return
		}
		v.op.Time = w.made
		f.place(nil, w, v.op, 0)
	case o.Admit != nil:
		f.admit(*o.Admit, w.stamp)
	case o.Found != nil:
		f.foundBy(*o.Found, w.stamp)
	}
}

// admit makes a device a member; the latest operation names it.
func (f *Folder) admit(a admitOp, s tree.Stamp) {
	if a.Device.Check() != nil || !validName(a.Name) {
		return
	}
	if m, ok := f.members[a.Device]; !ok || m.stamp.Compare(s) < 0 {
		f.members[a.Device] = member{a.Name, s}
	}
}

// foundBy takes the founder's name from its own operation alone.
func (f *Folder) foundBy(o foundOp, s tree.Stamp) {
	if s.Feed.Device == f.grant.Creator {
		f.admit(admitOp{f.grant.Creator, o.Name}, s)
	}
}

// found writes the first operation of a new folder.
func (f *Folder) found() error {
	name := f.home.name
	if !validName(name) { // the home is from when there were fewer rules
		name = f.home.device.Short()
	}
	err := f.Update(func(tx *Tx) error {
		return tx.add(op{Found: &foundOp{Name: name}})
	})
	if err == nil {
		err = f.Sync()
	}
	return err
}

// ID names the folder.
func (f *Folder) ID() FolderID { return f.id }

// Name is what its founder called the folder.
func (f *Folder) Name() string { return f.grant.Name }

// Home is the device that the folder is on.
func (f *Folder) Home() *Home { return f.home }

// Subscribe calls fn for every change from now on, in order, from one
// goroutine. The caller ends it with the function that it gets.
func (f *Folder) Subscribe(fn func(Notice)) (cancel func()) { return f.subscribe(fn) }

// nameInPaths is what a device is called in the names of files that it made beside others.
// It depends on that device alone: who joins changes no name. It runs under mu.
func (f *Folder) nameInPaths(d Device) string {
	if m := f.members[d]; m.name != "" {
		return m.name
	}
	return d.Short()
}

// deviceName names a device to people; one of several that have a name gets its short id
// along. It runs under mu.
func (f *Folder) deviceName(d Device) string {
	name := f.nameInPaths(d)
	for o, m := range f.members {
		if o != d && m.name == name {
			return f.nameWithID(d)
		}
	}
	return name
}

// nameWithID names a device for who may have to look into it. It runs under mu.
func (f *Folder) nameWithID(d Device) string { return f.nameInPaths(d) + " (" + d.Short() + ")" }

// close seals what is pending and stops the notices.
func (f *Folder) close() error {
	f.mu.Lock()
	err := f.sealLocked()
	if err == nil {
		err = f.saveOwn()
	}
	f.closed = true
	if f.first != nil {
		f.first.giveUp.Stop()
	}
	f.mu.Unlock()
	f.confirming.Wait()
	f.stop()
	return err
}
