package crdt

import (
	"sync"
	"time"
)

// flushDelay is how long a change may wait before it is sealed and durable.
const flushDelay = 60 * time.Millisecond

// flusher seals and syncs soon after a change, once for a burst of them.
type flusher struct {
	home  *Home
	wake  chan struct{}
	quit  chan struct{}
	done  sync.WaitGroup
	after func(time.Duration) <-chan time.Time
}

func startFlusher(h *Home) *flusher {
	fl := &flusher{home: h, wake: make(chan struct{}, 1), quit: make(chan struct{}), after: time.After}
	fl.done.Go(fl.run)
	return fl
}

// poke says that something changed; it never blocks.
func (fl *flusher) poke() {
	select {
	case fl.wake <- struct{}{}:
	default:
	}
}

func (fl *flusher) stop() {
	close(fl.quit)
	fl.done.Wait()
}

func (fl *flusher) run() {
	for {
		select {
		case <-fl.quit:
			return
		case <-fl.wake:
		}
		select {
		case <-fl.quit:
			return
		case <-fl.after(flushDelay):
		}
		for _, f := range fl.home.Folders() {
			if err := f.seal(); err != nil {
				fl.home.log.Error("sealing", "folder", f.Name(), "err", err)
			}
		}
		if err := fl.home.Sync(); err != nil {
			fl.home.log.Error("syncing", "home", fl.home.dir, "err", err)
		}
	}
}
