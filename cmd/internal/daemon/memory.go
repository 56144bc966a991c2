package daemon

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// gcPercent is how much garbage may pile up beside what is in use, in percent of it. A
	// daemon that is there all day should be small rather than quick to allocate.
	gcPercent = 40

	hardPercent = 70 // while somebody waits for much to be done

	// spare is how many bytes of garbage may always pile up. With gcPercent alone the daemon
	// of a small folder would collect every few thousand requests, on a processor that the
	// program which makes them wants too.
	spare = 16 << 20

	trimEvery = 5 * time.Second
	quiet     = 4 << 20  // bytes allocated between two looks by a daemon that rests
	worth     = 16 << 20 // bytes allocated since the last time that are worth a collection
)

// garbage is what the runtime is told of collecting, one for the process as that is.
var garbage collecting

type collecting struct {
	mu   sync.Mutex
	hard int // how many wait for much to be done
	told int // percent
}

// adjust tells the runtime how much garbage may pile up from now on; n more wait for much
// to be done.
func (c *collecting) adjust(n int) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hard += n
	// What changes by little is not worth stopping the world for.
	if p := percent(live[0].Value.Uint64(), c.hard > 0); p*10 < c.told*9 || p*9 > c.told*10 {
		debug.SetGCPercent(p)
		c.told = p
	}
}

// percent is how much garbage may pile up beside live bytes, in percent of them. Where much is
// being done they are about to be more, and what is spare beside the few of now would be many
// times too much.
func percent(live uint64, hard bool) int {
	if hard {
		return hardPercent
	}
	return max(gcPercent, int(100*spare/max(live, spare/10)))
}

// sampleAllocations keeps where memory was allocated, which takes some itself, for those only
// who asked for profiles. It is called before there is much.
func sampleAllocations() {
	if os.Getenv(profileEnv) == "" {
		runtime.MemProfileRate = 0
	}
}

// workHard lets more garbage pile up, until the function that it returns is called: opening a
// folder and importing one make much of it, and somebody waits.
func workHard() (done func()) {
	garbage.adjust(1)
	return func() { garbage.adjust(-1) }
}

// follow adjusts after each collection, until ctx ends: what is spare beside the little that is
// in use at rest would be far too much beside a text of 10 MB, which comes and goes within a tick.
func (c *collecting) follow(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	next := &struct{ ctx context.Context }{ctx} // nobody keeps it, so the next collection finds it
	runtime.AddCleanup(next, func(ctx context.Context) {
		c.adjust(0)
		c.follow(ctx)
	}, ctx)
}

// keepSmall gives memory back to the system whenever the daemon rests after it was busy:
// opening a folder and importing one leave far more behind than they keep. First it has rest let
// go of what is kept for who goes on. It ends with ctx.
func keepSmall(ctx context.Context, rest func(context.Context)) {
	garbage.follow(ctx)
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	allocs := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var last, trimmed uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(allocs)
		now := allocs[0].Value.Uint64()
		if now-last < quiet && now-trimmed > worth {
			rest(ctx)
			runtime.GC() // pools of buffers let go of what two collections have found in them
			debug.FreeOSMemory()
			dropProgram()
			metrics.Read(allocs)
			now = allocs[0].Value.Uint64()
			trimmed = now
		}
		last = now
	}
}
