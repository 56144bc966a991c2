package fs

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

func version(b byte) crdt.Version { return crdt.Version{{b}} }

func versions(list []reading) string {
	s := ""
	for _, r := range list {
		s += string('a' + rune(r.version[0][0]))
		if r.saved {
			s += "!"
		}
	}
	return s
}

func TestReadTable(t *testing.T) {
	tab, node, now := newReadTable(), crdt.NodeID{1}, time.Now()
	p := &caller{process: process{1, 1}, group: 7}
	q := &caller{process: process{2, 1}, group: 7}
	tab.read(p, node, version(0), now, nil)
	tab.read(q, node, version(1), now, nil)
	tab.read(p, node, version(1), now, nil)
	equal(t, "reads", versions(tab.of(p.process, node)), "ab")
	tab.read(p, node, version(0), now, nil)
	equal(t, "read again", versions(tab.of(p.process, node)), "ba")
	tab.saved(p, node, version(2), now, nil)
	equal(t, "after a save", versions(tab.of(p.process, node)), "c!")
	tab.read(p, node, version(3), now.Add(time.Second), nil)
	equal(t, "read after a save", versions(tab.of(p.process, node)), "c!d")
	equal(t, "before the session", versions(until(tab.of(p.process, node), now)), "c!")
	equal(t, "group", versions(tab.ofGroup(7, node)), "bc!d")
	equal(t, "no group", versions(tab.ofGroup(0, node)), "")
	equal(t, "another start time", versions(tab.of(process{1, 2}, node)), "")
	equal(t, "another file", versions(tab.of(p.process, crdt.NodeID{2})), "")

	for i := range byte(100) {
		tab.read(q, node, version(i), now, nil)
	}
	if n := len(tab.served(node)); n > readsPerNode {
		t.Errorf("%d readings of one file are kept", n)
	}
}

// TestReadTableKeepsTheLiving: a file that many programs read is remembered of those that
// still run, and each that has ended is looked for once.
func TestReadTableKeepsTheLiving(t *testing.T) {
	tab, node, now := newReadTable(), crdt.NodeID{1}, time.Now()
	st, _ := readStat(os.Getpid())
	me := &caller{process: process{os.Getpid(), st.start}}
	tab.read(me, node, version(0), now, nil)
	for i := range 4 * readsPerNode {
		tab.read(&caller{process: process{1<<30 + i, 1}}, node, version(1), now, nil)
	}
	if got := versions(tab.of(me.process, node)); got != "a" {
		t.Errorf("of a process that runs: %q", got)
	}
	if n := len(tab.served(node)); n != readsPerNode {
		t.Errorf("%d readings are kept", n)
	}
	if want := 3*readsPerNode + 1; len(tab.ended) != want {
		t.Errorf("%d ended processes are known, want %d", len(tab.ended), want)
	}
	for i := range 2 * endedAtMost {
		tab.alive(process{1<<30 + i, 2})
	}
	if len(tab.ended) > endedAtMost {
		t.Errorf("%d ended processes are known", len(tab.ended))
	}
}

// TestReadTableForgets: ended processes are forgotten after a while, living
// ones never.
func TestReadTableForgets(t *testing.T) {
	tab, now := newReadTable(), time.Now()
	st, _ := readStat(os.Getpid())
	me := &caller{process: process{os.Getpid(), st.start}}
	gone := &caller{process: process{1 << 30, 1}}
	tab.read(me, crdt.NodeID{}, version(0), now.Add(-afterlife), nil)
	for i := range firstSweep + 1 {
		tab.read(gone, crdt.NodeID{1, byte(i), byte(i >> 8)}, version(0), now.Add(-2*afterlife), nil)
	}
	tab.read(gone, crdt.NodeID{2}, version(0), now, nil)
	tab.mu.Lock()
	tab.sweepLocked(now)
	tab.mu.Unlock()
	if len(tab.nodes) != 2 || tab.count != 2 {
		t.Errorf("%d files, %d readings", len(tab.nodes), tab.count)
	}
}

func TestResolver(t *testing.T) {
	r := newResolver()
	defer r.close()
	c := r.see(uint32(os.Getpid()), true, nil).wait()
	if c.pid != os.Getpid() || c.start == 0 || !c.alive() || len(c.ancestors) == 0 {
		t.Errorf("this process: %+v", c)
	}
	child := exec.Command("sleep", "10")
	if err := child.Start(); err != nil {
		t.Skip(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	d := r.see(uint32(child.Process.Pid), true, nil).wait()
	if len(d.ancestors) == 0 || d.ancestors[0] != c.process {
		t.Errorf("ancestors of a child: %+v", d.ancestors)
	}
	if !d.related(c) {
		t.Error("a child is not of the same job")
	}
	if e := r.see(1<<30, false, nil).wait(); e.start != 0 {
		t.Errorf("a thread that is not there: %+v", e)
	}
	done := 0
	for range 10 {
		r.see(uint32(os.Getpid()), false, func(*caller) { done++ })
	}
	r.flush()
	if done != 10 {
		t.Errorf("%d of 10 were told", done)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		d    int
		kin  bool
	}{
		{"", "", 0, true},
		{"a\n", "a\n", 0, true},
		{"a\nb\n", "b\na\n", 0, true},
		{"a\nb\n", "a\nc\n", 4, true},
		{"a\n", "b\n", 4, false},
		{"a\na\nb\n", "a\n", 4, false},
	} {
		if d, k := distance(crdt.NewBody(c.a), crdt.NewBody(c.b)), kin(c.a, c.b); d != c.d || k != c.kin {
			t.Errorf("%q, %q: %d, %v", c.a, c.b, d, k)
		}
	}
}

// TestReadTableKeepsThePatient: a process that has read a file once is remembered, however
// often another one that runs reads it meanwhile.
func TestReadTableKeepsThePatient(t *testing.T) {
	tab, node, now := newReadTable(), crdt.NodeID{1}, time.Now()
	living := func(pid int) *caller {
		st, _ := readStat(pid)
		return &caller{process: process{pid, st.start}}
	}
	patient, watcher := living(os.Getpid()), living(os.Getppid())
	tab.read(patient, node, version(0), now, nil)
	for i := range byte(3 * readsPerNode) {
		tab.read(watcher, node, version(i+1), now, nil)
	}
	equal(t, "what the patient one read", versions(tab.of(patient.process, node)), "a")
	last := tab.of(watcher.process, node)
	if n := len(last); n != readsPerNode-1 || !last[n-1].version.Equal(version(3*readsPerNode)) {
		t.Errorf("of the watcher %d readings are kept, the last of %v", n, last[n-1].version)
	}
}
