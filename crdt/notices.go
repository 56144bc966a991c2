package crdt

import (
	"slices"
	"sync"
)

// notices hands Notices to subscribers in order, from one goroutine, so that
// nobody is called under the folder's lock and nobody who is slow delays a
// writer.
type notices struct {
	mu     sync.Mutex
	cond   *sync.Cond
	queue  []Notice // one with a fence is for nobody
	subs   []*subscriber
	closed bool
	done   sync.WaitGroup
}

type subscriber struct{ fn func(Notice) }

func startNotices() *notices {
	n := &notices{}
	n.cond = sync.NewCond(&n.mu)
	n.done.Go(n.run)
	return n
}

func (n *notices) post(x Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.subs) == 0 || n.closed {
		return
	}
	n.queue = append(n.queue, x)
	n.cond.Signal()
}

// Told calls fn once all subscribers have heard of what happened until now, from the goroutine
// that tells them. fn must not wait.
func (n *notices) Told(fn func()) {
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.queue = append(n.queue, Notice{fence: fn})
		n.cond.Signal()
	}
	n.mu.Unlock()
	if closed {
		fn()
	}
}

func (n *notices) subscribe(fn func(Notice)) func() {
	s := &subscriber{fn}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subs = append(n.subs, s)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.subs = slices.DeleteFunc(slices.Clone(n.subs), func(o *subscriber) bool { return o == s })
	}
}

func (n *notices) stop() {
	n.mu.Lock()
	n.closed = true
	n.cond.Signal()
	n.mu.Unlock()
	n.done.Wait()
}

func (n *notices) run() {
	for {
		n.mu.Lock()
		for len(n.queue) == 0 && !n.closed {
			n.cond.Wait()
		}
		batch, subs := n.queue, n.subs
		n.queue = nil
		if len(batch) == 0 {
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		for _, x := range batch {
			if x.fence != nil {
				x.fence()
				continue
			}
			for _, s := range subs {
				s.fn(x)
			}
		}
	}
}
