package peer

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// retryObject is how long an object is left alone after this device failed to store it.
const retryObject = 5 * time.Second

// fetcher decides which part of which object is asked for next, and of whom. An object is
// taken from any device that has it, from several at once; small ones go first. What has
// arrived is kept by the blob store, so nothing that is cut begins again.
type fetcher struct {
	n *Node

	mu      sync.Mutex
	objects map[crdt.Object]*object
	queues  [lanes][]*object // those with something left to ask for, smallest first
	denied  map[*link]map[crdt.Object]struct{}
	lanes   map[*lane]struct{}
	fetched int64 // bytes of content that arrived, ever
}

// object is one that is wanted.
type object struct {
	crdt.Object
	folders map[*shared]struct{} // that want it
	in      *blob.Incoming       // nil until it is begun
	todo    []int64              // offsets of slices that nobody was asked for
	flying  int                  // slices asked for
	left    int64                // bytes
	queued  bool
	spoilt  bool      // it could not be stored: begin again once nothing flies
	retry   time.Time // not before
}

// lane returns which lane the object takes.
func (o *object) lane() int {
	if o.Size <= wire.SliceSize {
		return laneSmall
	}
	return laneLarge
}

// job is one slice that was asked for.
type job struct {
	o   *object
	f   *shared
	off int64
	n   int64
}

func newFetcher(n *Node) *fetcher {
	return &fetcher{
		n: n, objects: map[crdt.Object]*object{}, denied: map[*link]map[crdt.Object]struct{}{},
		lanes: map[*lane]struct{}{},
	}
}

// refresh brings what is wanted in line with what a folder says.
func (x *fetcher) refresh(f *shared) {
	wanted := f.Wanted()
	var here []crdt.Hash
	x.mu.Lock()
	if len(wanted) == 0 && len(x.objects) == 0 {
		x.mu.Unlock()
		return
	}
	now := make(map[crdt.Object]struct{}, len(wanted))
	news := false
	for _, w := range wanted {
		now[w] = struct{}{}
		o := x.objects[w]
		if o == nil {
			if x.n.has(w.Hash) {
				here = append(here, w.Hash)
				continue
			}
			o = &object{Object: w, folders: map[*shared]struct{}{}, left: w.Size}
			x.objects[w] = o
			x.enqueue(o)
			news = true
		}
		o.folders[f] = struct{}{}
	}
	for w, o := range x.objects {
		if _, ok := now[w]; !ok {
			delete(o.folders, f)
			if len(o.folders) == 0 && o.flying == 0 {
				x.drop(o)
			}
		}
	}
	x.mu.Unlock()
	for _, h := range here {
		f.ObjectArrived(h)
	}
	if news {
		x.wake()
	}
}

// enqueue puts o where take finds it.
func (x *fetcher) enqueue(o *object) {
	if o.queued || o.spoilt {
		return
	}
	o.queued = true
	q := &x.queues[o.lane()]
	i, _ := slices.BinarySearchFunc(*q, o, bySize)
	*q = slices.Insert(*q, i, o)
}

func (x *fetcher) dequeue(o *object) {
	if !o.queued {
		return
	}
	o.queued = false
	q := &x.queues[o.lane()]
	*q = slices.DeleteFunc(*q, func(p *object) bool { return p == o })
}

func bySize(a, b *object) int {
	return cmp.Or(cmp.Compare(a.Size, b.Size), a.Hash.Compare(b.Hash))
}

// drop forgets an object of which nothing flies.
func (x *fetcher) drop(o *object) {
	x.dequeue(o)
	delete(x.objects, o.Object)
	if o.in != nil {
		if err := o.in.Close(); err != nil {
			x.n.log.Warn("object", "hash", o.Hash, "err", err)
		}
		o.in = nil
	}
}

// take returns the next slice to ask for on a lane; nil if there is none now, and then when
// to look again.
func (x *fetcher) take(l *lane) (*job, time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	again := time.Hour
	now := time.Now()
	q := x.queues[l.kind]
	for i := 0; i < len(q); i++ {
		o := q[i]
		if wait := o.retry.Sub(now); wait > 0 {
			again = min(again, wait)
			continue
		}
		if _, ok := x.denied[l.link][o.Object]; ok {
			continue
		}
		f := x.via(o, l.link)
		if f == nil {
			continue
		}
		if o.in == nil && !x.begin(o, now) {
			again = min(again, retryObject)
			continue
		}
		if len(o.todo) == 0 { // all of it had arrived before
			o.flying++
			return &job{o: o, f: f, off: -1}, 0
		}
		off := o.todo[0]
		o.todo = o.todo[1:]
		o.flying++
		if len(o.todo) == 0 {
			x.dequeue(o)
		}
		return &job{o: o, f: f, off: off, n: min(wire.SliceSize, o.Size-off)}, 0
	}
	return nil, again
}

// via returns a folder that wants o and is shared with the link's device.
func (x *fetcher) via(o *object, l *link) *shared {
	for f := range o.folders {
		if s := l.session(f.ID()); s != nil && s.shares() {
			return f
		}
	}
	return nil
}

// begin opens the store for o.
func (x *fetcher) begin(o *object, now time.Time) bool {
	in, err := x.n.home.Objects().Receive(blob.Hash(o.Hash), o.Size)
	if err != nil {
		x.n.log.Warn("an object cannot be received", "hash", o.Hash, "bytes", o.Size, "err", err)
		o.retry = now.Add(retryObject)
		return false
	}
	o.in, o.todo, o.left = in, nil, 0
	for _, r := range in.Missing() {
		o.left += r.Len
		for off := r.Off; off < r.Off+r.Len; off += wire.SliceSize {
			o.todo = append(o.todo, off)
		}
	}
	return true
}

// arrived takes in the answer to a job. An error is the peer's fault.
func (x *fetcher) arrived(l *link, j *job, m *wire.Slice) error {
	if m.Status != wire.StatusHere {
		x.mu.Lock()
		if x.denied[l] == nil {
			x.denied[l] = map[crdt.Object]struct{}{}
		}
		x.denied[l][j.o.Object] = struct{}{}
		x.back(j)
		x.mu.Unlock()
		x.tell(j.o)
		x.wake()
		return nil
	}
	err := j.o.in.Write(j.off, m.Data)
	x.mu.Lock()
	switch {
	case errors.Is(err, blob.ErrRefused):
		x.back(j)
		x.mu.Unlock()
		return err
	case err != nil:
		if !errors.Is(err, fs.ErrClosed) {
			x.n.log.Warn("an object could not be stored", "hash", j.o.Hash, "err", err)
		}
		j.o.spoilt = true
		j.o.retry = time.Now().Add(retryObject)
		x.back(j)
		x.mu.Unlock()
		x.wake()
		return nil
	}
	x.fetched += j.n
	j.o.left -= j.n
	j.o.flying--
	x.mu.Unlock()
	x.finish(j.o)
	return nil
}

// finish hands an object over once it is complete.
func (x *fetcher) finish(o *object) {
	x.mu.Lock()
	if x.objects[o.Object] != o || o.in == nil || !o.in.Done() || o.flying > 0 {
		x.mu.Unlock()
		return
	}
	folders := o.folders
	x.drop(o)
	x.mu.Unlock()
	for f := range folders {
		f.ObjectArrived(o.Hash)
	}
	x.tell(o)
}

// back returns a job that came to nothing. mu is held.
func (x *fetcher) back(j *job) {
	o := j.o
	o.flying--
	if j.off >= 0 {
		o.todo = append([]int64{j.off}, o.todo...)
	}
	if o.spoilt {
		x.dequeue(o)
		if o.flying > 0 {
			return
		}
		if o.in != nil {
			o.in.Close()
			o.in = nil
		}
		o.spoilt = false
	}
	if len(o.folders) == 0 && o.flying == 0 {
		x.drop(o)
		return
	}
	x.enqueue(o)
}

// left forgets a link that ended, and what was asked of it.
func (x *fetcher) left(l *link) {
	x.mu.Lock()
	for _, lane := range l.lanes {
		delete(x.lanes, lane)
		for _, j := range lane.flying {
			x.back(j)
		}
		lane.flying = nil
	}
	delete(x.denied, l)
	x.mu.Unlock()
	x.wake()
}

// close ends what is being received; the store keeps it.
func (x *fetcher) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, o := range x.objects {
		x.drop(o)
	}
}

// undeny takes back that a device lacks these objects.
func (x *fetcher) undeny(l *link, hs []crdt.Hash) {
	x.mu.Lock()
	for o := range x.denied[l] {
		if slices.Contains(hs, o.Hash) {
			delete(x.denied[l], o)
		}
	}
	x.mu.Unlock()
	x.wake()
}

// wants returns what a folder wants that the link's device has not said it lacks.
func (x *fetcher) wants(l *link, f *shared) (objects, bytes uint64) {
	x.refresh(f)
	x.mu.Lock()
	defer x.mu.Unlock()
	for w, o := range x.objects {
		if _, ok := o.folders[f]; !ok {
			continue
		}
		if _, ok := x.denied[l][w]; !ok {
			objects++
			bytes += uint64(o.left)
		}
	}
	return objects, bytes
}

// tell lets the sessions of the folders that want o say what changed.
func (x *fetcher) tell(o *object) {
	x.mu.Lock()
	var fs []*shared
	for f := range o.folders {
		fs = append(fs, f)
	}
	x.mu.Unlock()
	for _, f := range fs {
		f.each(func(s *session) { s.kick(dirtyHave | dirtyPush) })
	}
	x.n.announce()
}

// wake makes every lane look for work.
func (x *fetcher) wake() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for l := range x.lanes {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}
