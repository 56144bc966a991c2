package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

const (
	// goodAfter is how long a connection must have lasted for the next failure to count as
	// the first one.
	goodAfter = 3 * time.Second
	// forgivenAfter is the same for broken rules.
	forgivenAfter = time.Minute
)

// remote is another device of a folder: where it is, and the goroutine that calls it.
type remote struct {
	device crdt.Device
	wake   chan struct{}

	mu       sync.Mutex
	book     bookPage
	dirty    bool      // book is not stored
	failures int       // in a row
	next     time.Time // when it may be called again
	offences int       // broken rules in a row
	calling  bool      // by tend
	aside    bool      // by learn
	barred   time.Time // until then it is not talked to: it broke the rules
	lastErr  error
}

// remoteLocked returns the device's remote, and makes it if it is new.
func (n *Node) remoteLocked(d crdt.Device) *remote {
	if r := n.remotes[d]; r != nil {
		return r
	}
	r := &remote{device: d, wake: make(chan struct{}, 1)}
	n.load(bookKey(d), &r.book)
	n.remotes[d] = r
	n.spawnLocked(func() { n.tend(r) })
	return r
}

func (n *Node) remote(d crdt.Device) *remote {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.remoteLocked(d)
}

// retry makes tend call now, if it is not connected: something is better than it was.
func (r *remote) retry() {
	r.mu.Lock()
	r.failures, r.next = 0, time.Time{}
	r.mu.Unlock()
	r.poke()
}

// poke makes tend look at when to call.
func (r *remote) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// learn notes addresses from hearsay, and tries new ones at once: beside a call to the old
// ones that is going on, if need be, but not more than one such at a time.
func (n *Node) learn(r *remote, addrs ...string) {
	r.mu.Lock()
	changed := r.book.add(addrs...)
	r.dirty = r.dirty || changed
	aside := changed && r.calling && !r.aside
	r.aside = r.aside || aside
	all := r.book.addrs()
	r.mu.Unlock()
	switch {
	case aside:
		n.spawn(func() {
			_ = n.call(r, all) // the call that it stands beside tells how it went
			r.mu.Lock()
			r.aside = false
			r.mu.Unlock()
		})
	case changed:
		r.retry()
	}
}

// met notes that addr leads to the device.
func (r *remote) met(addr string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.book.proved(addr, now)
	r.book.Seen = now.Unix()
	r.dirty = true
}

// parted notes how a connection, or the attempt at one, ended.
func (r *remote) parted(err error, lasted time.Duration, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lasted > 0 {
		r.book.Seen, r.dirty = now.Unix(), true
	}
	switch {
	case lasted >= goodAfter:
		r.failures = 0
	default:
		r.failures++
	}
	r.next = now.Add(backoff(max(0, r.failures-1)))
	if errors.Is(err, ErrProtocol) {
		r.barred = now.Add(backoff(5 + 3*r.offences)) // from a second on, doubling
		r.offences++
	} else if lasted >= forgivenAfter {
		r.offences = 0
	}
	if err != nil {
		r.lastErr = err
	}
}

// well notes that the device and we agree: what went wrong before is over.
func (r *remote) well() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.offences == 0 {
		r.lastErr = nil
	}
}

// settled notes that a connection has lasted: old offences are forgiven.
func (r *remote) settled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.offences > 0 {
		r.offences, r.lastErr = 0, nil
	}
}

func (r *remote) isBarred(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.barred)
}

// store keeps the address book page for the next run.
func (r *remote) store(n *Node) {
	r.mu.Lock()
	page, dirty := r.book, r.dirty
	page.Addrs = append([]bookAddr(nil), page.Addrs...)
	r.dirty = false
	r.mu.Unlock()
	if dirty {
		n.save(bookKey(r.device), page)
	}
}

// tend calls the device whenever it is not connected, until the node closes.
func (n *Node) tend(r *remote) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-r.wake:
		case <-timer.C:
		}
		r.store(n)
		linked := n.linked(r.device)
		r.mu.Lock()
		addrs, wait := r.book.addrs(), max(time.Until(r.next), time.Until(r.barred))
		if linked || len(addrs) == 0 {
			wait = maxBackoff
		}
		r.calling = wait <= 0
		r.mu.Unlock()
		if wait > 0 {
			timer.Reset(wait)
			continue
		}
		if err := n.call(r, addrs); err != nil {
			n.log.Debug("device not reached", "device", r.device, "err", err)
		}
		r.mu.Lock()
		r.calling = false
		r.mu.Unlock()
		timer.Reset(0)
	}
}

// call connects to the device and returns once it is connected, or the attempt failed.
func (n *Node) call(r *remote, addrs []string) error {
	ctx, cancel := context.WithTimeout(n.ctx, 2*handshakeTimeout)
	defer cancel()
	c, err := n.dial(ctx, r.device, addrs)
	if err != nil {
		r.parted(err, 0, time.Now())
		n.announce()
		return err
	}
	if n.linked(r.device) {
		// It called meanwhile. Without a hello this connection is nothing to it yet.
		c.CloseWithError(codeDuplicate, "")
		return nil
	}
	l, err := n.greet(c, r.device, false)
	if err != nil {
		r.parted(err, 0, time.Now())
		n.announce()
		return err
	}
	if !n.register(l) {
		return nil
	}
	if !n.spawn(l.run) {
		l.close(codeDone, ErrClosed)
	}
	return nil
}

// linked reports whether the device is connected.
func (n *Node) linked(d crdt.Device) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[d] != nil
}

// networkChanged makes every device be tried again at once; addresses that led nowhere may
// lead somewhere now.
func (n *Node) networkChanged() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.remotes {
		r.retry()
	}
	n.movedLocked()
}
