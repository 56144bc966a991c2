package crdt

import (
	"sync"
	"time"
)

// flushDelay is how long a change may wait before it is sealed and durable.
var flushDelay = 60 * time.Millisecond

const retryDelay = time.Second // after a flush that failed

// flusher seals and syncs soon after a change, once for a burst of them.
type flusher struct {
	home *Home
	wake chan struct{}
	quit chan struct{}
	done sync.WaitGroup
}

func startFlusher(h *Home) *flusher {
	fl := &flusher{home: h, wake: make(chan struct{}, 1), quit: make(chan struct{})}
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
	delay := flushDelay
	for {
		select {
		case <-fl.quit:
			return
		case <-fl.wake:
		}
		select {
		case <-fl.quit:
			return
		case <-time.After(delay):
		}
		delay = flushDelay
		for _, f := range fl.home.Folders() {
			if err := f.seal(); err != nil {
				fl.home.log.Error("sealing", "folder", f.Name(), "err", err)
				delay = retryDelay
			}
		}
		if err := fl.home.Sync(); err != nil {
			fl.home.log.Error("syncing", "home", fl.home.dir, "err", err)
			delay = retryDelay
		}
		if delay == retryDelay {
			fl.poke() // say a full disk: it may have room again
		}
	}
}
