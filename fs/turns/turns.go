// Package turns finds the files that devices rewrite by turns.
//
// Two devices may each run a program that rewrites a file as soon as it changes, such as
// a formatter, and disagree: each then undoes what the other did, for ever. What gives it
// away is that they take turns, each replacing what the other has just put there. People
// who type at once do not: they write at different places, or leave what they find. Such
// a file is slowed: watchers hear of its changes later and later, on a mount, which shows
// what it holds at once all the same; in an ordinary directory the changes come later.
package turns

import (
	"slices"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// Within is how soon an answer to a change comes after it, at the latest.
const Within = 3 * time.Second

const (
	turnsBefore = 6           // so many replacements in a row before a file is slowed
	firstDelay  = time.Second // of the first event after that; then it doubles
	longest     = 30 * time.Second
)

// Table is of a folder's files that changed a moment ago. Its methods may be called from
// any goroutine.
type Table struct {
	clock func() time.Time

	mu    sync.Mutex
	files map[crdt.NodeID]*turn
}

// turn is what the last change of a file did.
type turn struct {
	by     crdt.Device
	at     time.Time
	text   *crdt.Body // after it; nil where nobody has looked
	lo, hi int        // the part of text that it put there
	row    int        // so many changes in a row replaced what another device had put there
	others []crdt.Device
	told   bool // watchers are going to be told
}

// delay is how long watchers wait for an event.
func (t *turn) delay() time.Duration {
	if t.row < turnsBefore || fault.On("fs-never-slow") {
		return 0
	}
	return min(firstDelay<<min(t.row-turnsBefore, 10), longest)
}

// over tells whether no answer to the last change is to be expected any more: its event
// waited on this device, and maybe on the other one.
func (t *turn) over(now time.Time) bool { return now.Sub(t.at) > Within+2*t.delay() }

// New makes a table of no files, by a clock.
func New(clock func() time.Time) *Table {
	return &Table{clock: clock, files: map[crdt.NodeID]*turn{}}
}

// Knows tells whether a file changed a moment ago.
func (ts *Table) Knows(node crdt.NodeID) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.files[node] != nil
}

// see takes up that a device changed a file; text gives what it holds now, which may take a
// while. It is for one caller at a time.
func (ts *Table) see(node crdt.NodeID, by crdt.Device, now time.Time, text func() *crdt.Body) {
	if ts.first(node, by, now) {
		return
	}
	s := text()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.files[node]
	if t.text == nil {
		t.by, t.at, t.text = by, now, s
		return
	}
	old := t.text
	if s.Equal(old) {
		return
	}
	from, oldTo, to := changedPart(old, s)
	switch {
	case by == t.by: // goes on
		from, to = min(from, t.lo), min(max(to, t.hi+s.Len()-old.Len()), s.Len())
	case from < t.hi && oldTo > t.lo && from < oldTo:
		t.row++
		if !slices.Contains(t.others, by) {
			t.others = append(t.others, by)
		}
		if !slices.Contains(t.others, t.by) {
			t.others = append(t.others, t.by)
		}
	default:
		t.row, t.others = 0, nil
	}
	t.by, t.at, t.text, t.lo, t.hi = by, now, s, from, to
}

// first takes up a change that answers none. Most files change once: nobody looks at what
// such a file holds.
func (ts *Table) first(node crdt.NodeID, by crdt.Device, now time.Time) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.files[node]
	if t != nil && !t.over(now) {
		return false
	}
	ts.files[node] = &turn{by: by, at: now, told: t != nil && t.told}
	return true
}

// changedPart is what is left of two texts without their common ends: from is where it
// begins in both.
func changedPart(a, b *crdt.Body) (from, toA, toB int) {
	e := a.Ends(b)
	return e.Start, a.Len() - e.End, b.Len() - e.End
}

// Sweep forgets what is over, the texts above all, and tells whether something is left.
func (ts *Table) Sweep() bool {
	now := ts.clock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for node, t := range ts.files {
		if t.over(now) && !t.told {
			delete(ts.files, node)
		}
	}
	return len(ts.files) > 0
}

// Delay is how long a change of a file that is due now should wait.
func (ts *Table) Delay(node crdt.NodeID) time.Duration {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.files[node]; t != nil {
		return t.delay()
	}
	return 0
}

// Wait is how long watchers of a file are to wait for the event that is due, and whether
// they are already waiting for one.
func (ts *Table) Wait(node crdt.NodeID) (d time.Duration, waiting bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.files[node]
	if t == nil {
		return 0, false
	}
	if d = t.delay(); d == 0 {
		t.told = false
		return 0, false
	}
	waiting, t.told = t.told, true
	return d, waiting
}

// Due ends what Wait began, and tells whether nobody has told watchers meanwhile.
func (ts *Table) Due(node crdt.NodeID) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.files[node]
	if t == nil || !t.told {
		return false
	}
	t.told = false
	return true
}

// slowed lists the files that are rewritten by turns now, and by whom.
func (ts *Table) slowed(now time.Time) map[crdt.NodeID]turn {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	out := map[crdt.NodeID]turn{}
	for node, t := range ts.files {
		if t.delay() > 0 && !t.over(now) {
			c := *t
			c.others = slices.Clone(t.others)
			out[node] = c
		}
	}
	return out
}
