package fs

import (
	"slices"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// reading is one process having been given one version of a file.
type reading struct {
	process
	group   int
	version crdt.Version
	saved   bool // its own save: what it read before does not matter any more
	beside  bool // it is of a version shown beside the file
	at      time.Time
	shown   *shown // what it was told of that version's size and time; nil if nothing

	// Of a save:
	ancestors []process // of the saver
	informed  bool      // the saver had read the file at some time
}

// readTable remembers which process was given which version of which file,
// until the process ends and a while beyond: a temporary file may be renamed
// over its target when its writer is gone.
type readTable struct {
	mu    sync.Mutex
	nodes map[crdt.NodeID][]reading // oldest first
	count int
	sweep int                  // the count at which dead processes are looked for
	ended map[process]struct{} // some that are known to have ended, which stays so

	editors editorsSeen
}

const (
	readsPerNode = 32
	afterlife    = 10 * time.Minute // how long the reads of an ended process count
	firstSweep   = 4096
	endedAtMost  = 1024
)

func newReadTable() *readTable {
	return &readTable{nodes: map[crdt.NodeID][]reading{}, sweep: firstSweep, ended: map[process]struct{}{}}
}

// read records that a process was given a version.
func (t *readTable) read(c *caller, node crdt.NodeID, v crdt.Version, at time.Time, as *shown) {
	t.editors.note(c)
	t.add(node, reading{process: c.process, group: c.group, version: v, at: at, shown: as})
}

// beside records that a process was given a version that is shown beside the file.
func (t *readTable) beside(c *caller, node crdt.NodeID, v crdt.Version, at time.Time) {
	t.add(node, reading{process: c.process, group: c.group, version: v, beside: true, at: at})
}

// saved records that a process left a version.
func (t *readTable) saved(c *caller, node crdt.NodeID, v crdt.Version, at time.Time, as *shown) {
	t.add(node, reading{process: c.process, group: c.group, version: v, saved: true, at: at, shown: as, ancestors: c.ancestors})
}

func (t *readTable) add(node crdt.NodeID, r reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.nodes[node]
	before := len(list)
	// A process's own save ends what it knew before; a second read of one
	// version keeps the first one's place but not its age.
	list = slices.DeleteFunc(list, func(o reading) bool {
		if o.process != r.process {
			return false
		}
		r.informed = r.informed || r.saved && (!o.saved || o.informed)
		return r.saved || o.version.Equal(r.version) && !o.saved && o.beside == r.beside
	})
	list = append(list, r)
	if len(list) > readsPerNode {
		list = t.dropOldest(list)
	}
	t.nodes[node] = list
	t.count += len(list) - before
	if t.count > t.sweep {
		t.sweepLocked(r.at)
	}
}

// dropOldest takes out the oldest reading of an ended process, else of the one that has most:
// who reads at every change must not push out who has read once and saves hours later.
func (t *readTable) dropOldest(list []reading) []reading {
	for i, r := range list[:len(list)-1] {
		if !t.alive(r.process) {
			return slices.Delete(list, i, i+1)
		}
	}
	most, count := list[0].process, map[process]int{}
	for _, r := range list {
		if count[r.process]++; count[r.process] > count[most] {
			most = r.process
		}
	}
	i := slices.IndexFunc(list, func(r reading) bool { return r.process == most })
	return slices.Delete(list, i, i+1)
}

// alive tells whether a process runs. It looks only once at one that has ended: who searches
// a tree leaves a reading with every file.
func (t *readTable) alive(p process) bool {
	if _, ok := t.ended[p]; ok {
		return false
	}
	if p.alive() {
		return true
	}
	if len(t.ended) >= endedAtMost {
		clear(t.ended)
	}
	t.ended[p] = struct{}{}
	return false
}

func (t *readTable) sweepLocked(now time.Time) {
	alive := map[process]bool{}
	t.count = 0
	for node, list := range t.nodes {
		list = slices.DeleteFunc(list, func(r reading) bool {
			if now.Sub(r.at) < afterlife {
				return false
			}
			a, ok := alive[r.process]
			if !ok {
				a = r.alive()
				alive[r.process] = a
			}
			return !a
		})
		if t.count += len(list); len(list) == 0 {
			delete(t.nodes, node)
		} else {
			t.nodes[node] = list
		}
	}
	t.sweep = max(firstSweep, 2*t.count)
}

// of lists what a process was given of a node since its last save (included),
// oldest first.
func (t *readTable) of(p process, node crdt.NodeID) []reading {
	return t.pick(node, func(r reading) bool { return r.process == p })
}

// ofGroup is the same for a whole process group, such as a pipeline.
func (t *readTable) ofGroup(group int, node crdt.NodeID) []reading {
	if group == 0 {
		return nil
	}
	return t.pick(node, func(r reading) bool { return r.group == group })
}

// served lists the versions of a node that anybody was given, oldest first.
func (t *readTable) served(node crdt.NodeID) []reading {
	return t.pick(node, func(reading) bool { return true })
}

// latest lists what each process was given of a node, or saved, last.
func (t *readTable) latest(node crdt.NodeID) (out []reading) {
	for _, r := range slices.Backward(t.served(node)) {
		if !slices.ContainsFunc(out, func(o reading) bool { return o.process == r.process }) {
			out = append(out, r)
		}
	}
	return out
}

// lastSave is the newest save by a process of one job: of a group, or begun by p.
func (t *readTable) lastSave(p process, group int, node crdt.NodeID, until time.Time) (last reading, ok bool) {
	for _, r := range t.served(node) {
		if r.saved && !r.at.After(until) && (group != 0 && r.group == group || slices.Contains(r.ancestors, p)) {
			last, ok = r, true
		}
	}
	return last, ok
}

func (t *readTable) pick(node crdt.NodeID, want func(reading) bool) (out []reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.nodes[node] {
		if !r.beside && want(r) {
			out = append(out, r)
		}
	}
	return out
}

// besides lists the versions shown beside a file that a process was given, if it was given no
// other file.
func (t *readTable) besides(p process, node crdt.NodeID, until time.Time) (out []crdt.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.nodes[node] {
		if r.beside && r.process == p && !r.at.After(until) {
			out = append(out, r.version)
		}
	}
	if len(out) == 0 {
		return nil
	}
	for other, list := range t.nodes {
		if other != node && slices.ContainsFunc(list, func(r reading) bool { return r.process == p }) {
			return nil
		}
	}
	return out
}
