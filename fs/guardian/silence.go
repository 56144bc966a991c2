package guardian

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

const (
	// lookEvery is how often a daemon is looked at, and the most that one look counts.
	lookEvery = 250 * time.Millisecond
	maxLook   = 2 * lookEvery
	// stoppedAfter is how long a daemon may be stopped before it is told to go on.
	stoppedAfter = 2 * time.Second
	// idleCPU is the processor time in one look below which a daemon counts as idle.
	idleCPU = 20 * time.Millisecond
)

// verdict is what is to be done about a silent daemon.
type verdict int

const (
	wait   verdict = iota
	goOn           // it is stopped: continue it
	giveUp         // it hangs: end it
)

// silence counts how long a daemon has not been heard of. What counts is time in which
// this process ran too: a machine that was suspended, a virtual machine or container that
// was frozen, makes one look late, and one look never counts for more than maxLook.
type silence struct {
	limit time.Duration // however busy it is
	idle  time.Duration // when it does nothing

	silent  time.Duration // since the last beat
	unused  time.Duration // the part of it in which the daemon did nothing
	stopped time.Duration // the part of it since it was found stopped
	last    usage
}

// heard starts anew.
func (s *silence) heard() { s.silent, s.unused, s.stopped = 0, 0, 0 }

// look counts one look at the daemon, passed after the one before. It asks for the usage,
// which is in a file of every thread, only when a beat is overdue: the daemon counts as
// unused and stopped until then, if it is when it is looked at first.
func (s *silence) look(passed time.Duration, ask func() usage) verdict {
	passed = min(passed, maxLook)
	if s.silent+passed <= beatEvery {
		s.silent += passed
		s.unused, s.stopped = s.silent, s.silent
		return wait
	}
	now := ask()
	used := now.cpu - s.last.cpu
	s.last = now
	if now.traced { // a person is looking at it with a debugger
		s.heard()
		return wait
	}
	s.silent += passed
	if !now.waits && used < idleCPU {
		s.unused += passed
	}
	if fault.On("guardian-patient") {
		return wait
	}
	if s.silent >= s.limit || s.unused >= s.idle {
		return giveUp
	}
	if !now.stopped {
		s.stopped = 0
	} else if s.stopped += passed; s.stopped >= stoppedAfter {
		s.stopped = 0
		return goOn
	}
	return wait
}

// usage is what the kernel says of a daemon.
type usage struct {
	cpu     time.Duration // used by all its threads so far
	waits   bool          // a thread runs, wants to, or waits for a disk (or swap)
	stopped bool          // by a signal
	traced  bool          // by a debugger
}

// tick is the unit of processor time in /proc, 1/100 s on every Linux.
const tick = 10 * time.Millisecond

// usageOf reads what a process does. A thread that cannot be read counts as one that
// does something: the process may be ending.
func usageOf(pid int) usage {
	u := usage{traced: traced(pid)}
	dir := fmt.Sprintf("/proc/%d", pid)
	if state, cpu, ok := readStat(dir + "/stat"); ok {
		u.cpu, u.stopped = cpu, state == 'T'
	}
	threads, err := os.ReadDir(dir + "/task")
	if err != nil {
		u.waits = true
	}
	for _, t := range threads {
		state, _, ok := readStat(dir + "/task/" + t.Name() + "/stat")
		if !ok || state == 'R' || state == 'D' {
			u.waits = true
		}
	}
	return u
}

// readStat reads the state and the processor time of a process or thread.
func readStat(path string) (state byte, cpu time.Duration, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // a name may hold anything
	if len(f) < 13 {
		return 0, 0, false
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	return f[0][0], time.Duration(user+system) * tick, err1 == nil && err2 == nil
}

// look acts on a daemon that is not heard of. It reports whether the daemon was given up.
func (r *runner) look(passed time.Duration) bool {
	if r.hello.Silence <= 0 {
		return false
	}
	switch r.silence.look(passed, func() usage { return usageOf(r.hello.Daemon) }) {
	case goOn:
		fmt.Fprintf(os.Stderr, "guardian: the daemon (process %d) is stopped while programs may wait for its mounts; it is continued\n", r.hello.Daemon)
		if r.daemonFD >= 0 {
			_ = unix.PidfdSendSignal(r.daemonFD, unix.SIGCONT, nil, 0)
		}
	case giveUp:
		r.kill()
		return true
	}
	return false
}
