package text

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// TestHours: two people save a file every few seconds while a model streams into it, for hours, each a moment behind the
// others: nearly every event is concurrent with one. What is replayed stays small, and an event costs the same at the
// end as at the start, in time and in memory.
func TestHours(t *testing.T) {
	hours := 1.0
	if underRace {
		hours = 0.1
	}
	const every = 200 * time.Millisecond // the model's pieces; each of them is an event
	d := NewDoc(testNode)
	v := save(t, d, nil, prose(10<<10))
	type writer struct {
		seen  []ID // the version it knows, which is behind
		own   int  // how many it made
		every int  // in steps
		lag   int  // steps until it sees what others made
	}
	writers := []*writer{{every: 1, lag: 1}, {every: 15, lag: 2}, {every: 22, lag: 3}}
	for _, w := range writers {
		w.seen = v
	}
	var memory []uint64
	var took []time.Duration
	longest := 0
	steps := int(hours * float64(time.Hour/every))
	begin := time.Now()
	for i := range steps {
		for k, w := range writers {
			if i%w.every != 0 {
				continue
			}
			n, _ := d.find(w.seen)
			at := d.view(n).runes / (k + 2)
			id := add(t, d, Event{Parents: w.seen, Hunks: []Hunk{{sp(at, min(k, 1), fmt.Sprintf("%c%d ", 'a'+k, i%100))}}})
			w.seen = SortIDs([]ID{id})
			w.own++
		}
		for _, w := range writers {
			if i%(w.lag*3) == 0 {
				w.seen = d.Heads()
			}
		}
		if q := d.engine.seq; q != nil {
			longest = max(longest, len(q.events))
		}
		if (i+1)%(steps/4) == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			memory, took = append(memory, m.HeapAlloc), append(took, time.Since(begin))
			begin = time.Now()
		}
	}
	events := len(d.ids)
	perEvent := int(memory[3]-memory[1]) / (events / 2)
	t.Logf("%d events, %d B of memory an event, at most %d replayed at once, quarters took %v", events, perEvent, longest, took)
	if longest > 4*coolAfter {
		t.Errorf("%d events are replayed at once", longest)
	}
	if perEvent > 700 {
		t.Errorf("an event takes %d B", perEvent)
	}
	if took[3] > 4*took[0]+time.Second {
		t.Errorf("the quarters took %v", took)
	}
	runtime.KeepAlive(d)
}
