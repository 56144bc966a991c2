package crdt_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

const (
	simDevices = 3
	simActions = 90
	simShrink  = 2 * time.Minute // at most, for a shorter trace
)

// TestSimulate plays many small worlds. SHEAF_SEEDS says how many, SHEAF_FIRST from which
// seed on; make simulate sets them.
func TestSimulate(t *testing.T) {
	seeds, first := number("SHEAF_SEEDS", 10), number("SHEAF_FIRST", 1)
	t.Cleanup(crdt.SetFlushDelay(time.Hour)) // what is sealed and synced when is the plan's to say
	t.Cleanup(crdt.SetStalled(time.Hour))    // and so is what comes
	t.Cleanup(crdt.SetWorth(0))
	t.Cleanup(crdt.SetMaxWaiting(2))
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			acts := plan(seed, simActions)
			err, trace := play(t, seed, acts)
			if err == "" {
				return
			}
			if os.Getenv("SHEAF_FAULT") == "" { // a break is to be seen, not to be understood
				acts, err, trace = shorten(t, seed, acts, err, trace)
			}
			t.Errorf("%s\n\n%d actions:\n%s", err, len(acts), strings.Join(trace, "\n"))
		})
	}
}

func number(name string, or uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return or
}

// play returns what is wrong with the world that these actions make, and what happened in it.
func play(t *testing.T, seed uint64, acts []action) (wrong string, trace []string) {
	t.Run("play", func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed) // keys, nonces and runs
		var w *world
		defer func() {
			switch r := recover().(type) {
			case nil:
			case failure:
				wrong = string(r)
			default:
				wrong = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
			}
			if w != nil {
				trace = w.trace
				w.close()
			}
		}()
		w = newWorld(t, simDevices)
		for _, act := range acts {
			w.do(act)
		}
		w.settle()
		w.agree()
		for _, a := range w.devices {
			w.update(a)
		}
		w.settle()
		w.check()
		if seed%4 == 0 {
			w.empty()
		}
	})
	return wrong, trace
}

// shorten leaves out actions for as long as something stays wrong: half of them, then
// quarters, and so on.
func shorten(t *testing.T, seed uint64, acts []action, err string, trace []string) ([]action, string, []string) {
	until := time.Now().Add(simShrink)
	for size := len(acts) / 2; size > 0; {
		shorter := false
		for at := 0; at < len(acts) && time.Now().Before(until); {
			try := slices.Concat(acts[:at], acts[min(at+size, len(acts)):])
			if e, tr := play(t, seed, try); e != "" {
				acts, err, trace, shorter = try, e, tr, true
			} else {
				at += size
			}
		}
		if !shorter || size > 1 {
			size /= 2
		}
	}
	return acts, err, trace
}
