package daemon

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent is how much garbage may pile up beside what is in use, in percent of it. A
	// daemon that is there all day should be small rather than quick to allocate.
	gcPercent = 40

	hardPercent = 70 // while somebody waits for much to be done

	trimEvery = 5 * time.Second
	quiet     = 4 << 20  // bytes allocated between two looks by a daemon that rests
	worth     = 16 << 20 // bytes allocated since the last time that are worth a collection
)

// workHard lets more garbage pile up, until the function that it returns is called: opening a
// folder and importing one make much of it, and somebody waits.
func workHard() (done func()) {
	debug.SetGCPercent(hardPercent)
	return func() { debug.SetGCPercent(gcPercent) }
}

// keepSmall gives memory back to the system whenever the daemon rests after it was busy:
// opening a folder and importing one leave far more behind than they keep. It ends with ctx.
func keepSmall(ctx context.Context) {
	debug.SetGCPercent(gcPercent)
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
			debug.FreeOSMemory()
			trimmed = now
		}
		last = now
	}
}
