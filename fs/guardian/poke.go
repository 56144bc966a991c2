package guardian

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// Op is what a poke pretends that a local program did.
type Op uint8

const (
	// Touch is new content: watchers hear MODIFY, and OPEN and CLOSE_WRITE unless NoOpen.
	Touch Op = iota + 1
	// Create is a new name: watchers hear CREATE, for a file also what Touch gives.
	Create
	// Remove is a name that went: DELETE.
	Remove
	// Rename is a name that changed: MOVED_FROM and MOVED_TO.
	Rename
	// Attr is other permissions or times: ATTRIB.
	Attr
)

// Kind is the kind of node a poke is about.
type Kind uint8

// The zero Kind is a file.
const (
	File Kind = iota
	Dir
	Symlink
)

// Poke is one call to make through a mount. Paths are relative to the mount's root.
type Poke struct {
	Op     Op
	Kind   Kind
	Path   string
	To     string // Rename: the new path; Create of a symlink: its target
	Mode   uint32 // Create: permission bits
	Mtime  time.Time
	NoOpen bool // do not open the file: executables, and files without write permission
	// Done, if set, is called once with the outcome, from the mount's own goroutine or
	// from the caller of Poke, Stop or Close: it must not block and not call the Mount.
	// The handler that recognised the call may have run even if err is ErrTimeout.
	Done func(err error)
}

const (
	perSecond = 2 // touches of one path in any second
	maxQueue  = 4096
)

// Mount is one mount point that the guardian looks after.
type Mount struct {
	g      *Guardian
	id     int
	point  string
	device string        // under Guardian.mu
	tid    atomic.Uint32 // the child's thread; 0 while there is none
	armed  *child        // whose thread it is; under Guardian.mu

	stopOnce, closeOnce sync.Once
	stop                chan struct{}
	idle                chan struct{} // closed when the worker has ended

	mu      sync.Mutex
	stopped bool
	queue   []*waiting
	touches map[string]*waiting // path: the touch that waits for it
	late    map[string]*waiting // path: a touch put off, also in touches
	recent  map[string][]time.Time
	wake    chan struct{}
}

// waiting is a poke in the queue, with everybody who asked for it.
type waiting struct {
	Poke
	done []func(error)
	due  time.Time
}

func (w *waiting) finish(err error) {
	for _, f := range w.done {
		f(err)
	}
	w.done = nil
}

// Mount registers a mount point, before or after it is mounted. From then on the
// guardian detaches it if the daemon dies. It waits for the guardian's answer, two
// seconds at most, so that Is knows the thread before the first poke.
func (g *Guardian) Mount(point string) *Mount {
	m := &Mount{g: g, point: point,
		stop: make(chan struct{}), idle: make(chan struct{}), wake: make(chan struct{}, 1),
		touches: map[string]*waiting{}, late: map[string]*waiting{}, recent: map[string][]time.Time{}}
	g.mu.Lock()
	g.next++
	m.id = g.next
	g.mounts[m.id] = m
	c := g.child
	g.mu.Unlock()
	if c != nil {
		_ = c.out.send(message{Do: "mount", Mount: m.id, Point: []byte(point)})
	}
	if g.childOf(m, time.Now().Add(answerWithin)) == nil {
		g.log.Warn("guardian is slow to answer", "mount", point)
	}
	go m.work()
	return m
}

// Mounted tells the guardian what is mounted now, as mountinfo.DeviceAt names it. It follows
// that where a directory above the mount point is renamed, and leaves alone what is then
// mounted in its place.
func (m *Mount) Mounted(device string) {
	m.g.mu.Lock()
	m.device = device
	c := m.g.child
	m.g.mu.Unlock()
	if c != nil {
		_ = c.out.send(message{Do: "device", Mount: m.id, Device: device})
	}
}

// Is tells whether a FUSE request with this thread id in its header is one of the
// guardian's pokes of this mount.
func (m *Mount) Is(tid uint32) bool { return tid != 0 && tid == m.tid.Load() }

// Poke queues a poke and returns at once. Pokes are made in the order given, but for
// touches: those of one path are merged while they wait, and at most two are made in
// any second. A create, removal or rename is preceded by the touch that waits for its
// path, or replaces it.
//
// No watcher can exist in a directory whose inode the kernel does not hold, so the
// caller need not poke there.
func (m *Mount) Poke(p Poke) {
	w := &waiting{Poke: p}
	if p.Done != nil {
		w.done = append(w.done, p.Done)
	}
	if fault.On("guardian-silent") {
		w.finish(ErrGone)
		return
	}
	m.mu.Lock()
	switch {
	case m.stopped:
		m.mu.Unlock()
		w.finish(ErrClosed)
		return
	case p.Op == Touch && m.touches[p.Path] != nil:
		old := m.touches[p.Path]
		old.Mtime, old.NoOpen = p.Mtime, p.NoOpen
		old.done = append(old.done, w.done...)
		m.mu.Unlock()
		return
	case len(m.queue) >= maxQueue:
		m.mu.Unlock()
		w.finish(ErrFull)
		return
	}
	var dropped []*waiting
	if p.Op == Touch {
		m.touches[p.Path] = w
		if due := m.dueLocked(p.Path, time.Now()); !due.IsZero() {
			w.due = due
			m.late[p.Path] = w
		} else {
			m.queue = append(m.queue, w)
		}
	} else {
		dropped = m.settleLocked(p)
		m.queue = append(m.queue, w)
	}
	m.mu.Unlock()
	for _, d := range dropped {
		d.finish(nil) // the removal says more than the touch would have
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// dueLocked is when a touch of path may be made: zero for now.
func (m *Mount) dueLocked(path string, now time.Time) time.Time {
	r := m.recent[path]
	if len(r) < perSecond || fault.On("guardian-hasty") {
		return time.Time{}
	}
	if due := r[len(r)-perSecond].Add(time.Second); due.After(now) {
		return due
	}
	return time.Time{}
}

// settleLocked moves the touches put off for the paths of p, or below them, into the
// queue, where they come before p; a removal drops them and returns them.
func (m *Mount) settleLocked(p Poke) (dropped []*waiting) {
	for path, w := range m.late {
		if path != p.Path && !strings.HasPrefix(path, p.Path+"/") &&
			(p.Op != Rename || path != p.To) {
			continue
		}
		delete(m.late, path)
		if p.Op == Remove {
			delete(m.touches, path)
			dropped = append(dropped, w)
			continue
		}
		m.queue = append(m.queue, w)
	}
	// A touch asked for from here on belongs after p, so nothing may merge into those before it.
	if p.Op != Create {
		for path := range m.touches {
			if path == p.Path || path == p.To || strings.HasPrefix(path, p.Path+"/") {
				delete(m.touches, path)
			}
		}
	}
	return dropped
}

// nextLocked takes the next poke, or says how long there is none.
func (m *Mount) nextLocked(now time.Time) (*waiting, time.Duration) {
	wait := time.Hour
	for path, w := range m.late {
		if d := w.due.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		delete(m.late, path)
		m.queue = append(m.queue, w)
	}
	if len(m.queue) == 0 {
		return nil, wait
	}
	w := m.queue[0]
	m.queue[0] = nil
	m.queue = m.queue[1:]
	if m.touches[w.Path] == w {
		delete(m.touches, w.Path)
	}
	if w.Op == Touch || w.Op == Create {
		m.rememberLocked(w.Path, now)
	}
	return w, 0
}

func (m *Mount) rememberLocked(path string, now time.Time) {
	if len(m.recent) > maxQueue {
		for p, r := range m.recent {
			if now.Sub(r[len(r)-1]) > time.Second {
				delete(m.recent, p)
			}
		}
	}
	r := append(m.recent[path], now)
	m.recent[path] = r[max(0, len(r)-perSecond):]
}

func (m *Mount) work() {
	defer close(m.idle)
	for {
		m.mu.Lock()
		w, wait := m.nextLocked(time.Now())
		m.mu.Unlock()
		if w == nil {
			timer := time.NewTimer(wait)
			select {
			case <-m.stop:
				timer.Stop()
				return
			case <-m.wake:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		select {
		case <-m.stop:
			w.finish(ErrClosed)
			return
		default:
		}
		w.finish(m.carryOut(w.Poke))
	}
}

// carryOut makes a poke. Where the guardian dies, the one that takes its place makes it, once
// more perhaps: watchers rather hear of a change twice than never.
func (m *Mount) carryOut(p Poke) error {
	err := error(ErrGone)
	for try := 0; try < 2 && errors.Is(err, ErrGone); try++ {
		c := m.g.childOf(m, m.g.awaited())
		if c == nil {
			break
		}
		err = c.do(message{Do: "poke", Mount: m.id, Op: p.Op, Kind: p.Kind, Path: []byte(p.Path), To: []byte(p.To),
			Mode: p.Mode, Mtime: p.Mtime.UnixNano(), NoOpen: p.NoOpen})
	}
	if err != nil {
		m.g.log.Debug("poke failed", "op", p.Op, "path", p.Path, "err", err)
		return fmt.Errorf("poke %s: %w", p.Path, err)
	}
	return nil
}

// Stop ends the pokes: what is queued reports ErrClosed, and none is under way when
// it returns. The mount is still detached if the daemon dies. To be called before
// unmounting, since a poke under way keeps the mount busy.
func (m *Mount) Stop() {
	m.stopOnce.Do(func() {
		m.mu.Lock()
		m.stopped = true
		rest := m.queue
		for _, w := range m.late {
			rest = append(rest, w)
		}
		m.queue, m.late = nil, nil
		m.mu.Unlock()
		close(m.stop)
		for _, w := range rest {
			w.finish(ErrClosed)
		}
	})
	<-m.idle
}

// Close stops the pokes and makes the guardian forget the mount. To be called once
// it is unmounted.
func (m *Mount) Close() {
	m.Stop()
	m.closeOnce.Do(func() {
		m.g.mu.Lock()
		delete(m.g.mounts, m.id)
		c := m.g.child
		m.g.mu.Unlock()
		if c != nil {
			_ = c.out.send(message{Do: "forget", Mount: m.id})
		}
	})
}
