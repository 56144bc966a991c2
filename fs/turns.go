package fs

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// Two devices may each run a program that rewrites a file as soon as it changes, such as
// a formatter, and disagree: each then undoes what the other did, for ever. What gives it
// away is that they take turns, each replacing what the other has just put there. People
// who type at once do not: they write at different places, or leave what they find. Such
// a file is slowed: watchers hear of its changes later and later. What it holds is shown
// at once all the same.
const (
	turnWithin  = 3 * time.Second // an answer to a change comes so soon after it
	turnsBefore = 6               // so many replacements in a row before a file is slowed
	firstDelay  = time.Second     // of the first event after that; then it doubles
	longest     = 30 * time.Second
)

// turns finds the files that devices rewrite by turns. Its methods may be called from
// any goroutine.
type turns struct {
	mu    sync.Mutex
	files map[crdt.NodeID]*turn
}

// turn is what the last change of a file did.
type turn struct {
	by     crdt.Device
	at     time.Time
	text   *string // after it; nil where nobody has looked
	lo, hi int     // the part of text that it put there
	row    int     // so many changes in a row replaced what another device had put there
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
func (t *turn) over(now time.Time) bool { return now.Sub(t.at) > turnWithin+2*t.delay() }

func newTurns() *turns { return &turns{files: map[crdt.NodeID]*turn{}} }

// knows tells whether a file changed a moment ago.
func (ts *turns) knows(node crdt.NodeID) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.files[node] != nil
}

// see takes up that a device changed a file; text gives what it holds now, which may take a
// while. It is for one caller at a time.
func (ts *turns) see(node crdt.NodeID, by crdt.Device, now time.Time, text func() string) {
	if ts.first(node, by, now) {
		return
	}
	s := text()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.files[node]
	if t.text == nil {
		t.by, t.at, t.text = by, now, &s
		return
	}
	old := *t.text
	if s == old {
		return
	}
	from, oldTo, to := changedPart(old, s)
	switch {
	case by == t.by: // goes on
		from, to = min(from, t.lo), min(max(to, t.hi+len(s)-len(old)), len(s))
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
	t.by, t.at, t.text, t.lo, t.hi = by, now, &s, from, to
}

// first takes up a change that answers none. Most files change once: nobody looks at what
// such a file holds.
func (ts *turns) first(node crdt.NodeID, by crdt.Device, now time.Time) bool {
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
func changedPart(a, b string) (from, toA, toB int) {
	for from < min(len(a), len(b)) && a[from] == b[from] {
		from++
	}
	toA, toB = len(a), len(b)
	for toA > from && toB > from && a[toA-1] == b[toB-1] {
		toA, toB = toA-1, toB-1
	}
	return from, toA, toB
}

// sweep forgets what is over, the texts above all, and tells whether something is left.
func (ts *turns) sweep(now time.Time) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for node, t := range ts.files {
		if t.over(now) && !t.told {
			delete(ts.files, node)
		}
	}
	return len(ts.files) > 0
}

// sweepTurns sweeps, again and again while something is left. It runs on the queue.
func (fs *filesystem) sweepTurns() {
	if fs.sweeping = fs.turns.sweep(time.Now()); fs.sweeping {
		fs.later(turnWithin, fs.sweepTurns)
	}
}

// wait is how long watchers of a file are to wait for the event that is due, and whether
// they are already waiting for one.
func (ts *turns) wait(node crdt.NodeID) (d time.Duration, waiting bool) {
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

// due ends what wait began, and tells whether nobody has told watchers meanwhile.
func (ts *turns) due(node crdt.NodeID) bool {
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
func (ts *turns) slowed(now time.Time) map[crdt.NodeID]turn {
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

// turned takes up the contents that a notice is about.
func (fs *filesystem) turned(n crdt.Notice) {
	var nodes []crdt.NodeID
	for _, c := range n.Changes {
		if c.What&crdt.ContentChanged != 0 && (!n.Local || fs.turns.knows(c.Node)) {
			nodes = append(nodes, c.Node)
		}
	}
	if nodes == nil {
		return
	}
	now := time.Now()
	fs.queue.put(func() {
		for _, node := range nodes {
			fs.turns.see(node, n.By, now, func() string { return fs.holds(node) })
		}
		if !fs.sweeping {
			fs.sweepTurns()
		}
	})
}

// holds is the text of a file, or what names its object.
func (fs *filesystem) holds(node crdt.NodeID) string {
	c, err := fs.folder.Content(node)
	switch {
	case err != nil:
		return ""
	case c.Object != nil:
		return string(c.Object.Hash[:])
	}
	return c.Text
}

// tell makes watchers hear of new content, later if devices rewrite the file by turns.
func (fs *filesystem) tell(node crdt.NodeID) {
	d, waiting := fs.turns.wait(node)
	switch {
	case waiting:
	case d > 0:
		fs.later(d, func() {
			if fs.turns.due(node) {
				fs.touchPoke(node)
			}
		})
	default:
		fs.touchPoke(node)
	}
}

// Notes lists what a person should know of as long as it lasts: files that programs on
// several devices rewrite by turns.
func (s *Server) Notes() []crdt.Note {
	slowed := s.fs.turns.slowed(time.Now())
	if len(slowed) == 0 {
		return nil
	}
	names := map[crdt.Device]string{}
	for _, d := range s.fs.folder.Devices() {
		names[d.Device] = d.Name
	}
	var notes []crdt.Note
	for node, t := range slowed {
		var who []string
		for _, d := range t.others {
			who = append(who, names[d])
		}
		slices.Sort(who)
		notes = append(notes, crdt.Note{Time: t.at, Kind: "by-turns", Path: s.fs.folder.Path(node),
			Text: fmt.Sprintf("programs on %s undo each other's changes, so programs that watch it hear of them %v late; give them the same settings, or stop one",
				strings.Join(who, " and "), t.delay())})
	}
	slices.SortFunc(notes, func(a, b crdt.Note) int { return strings.Compare(a.Path, b.Path) })
	return notes
}
