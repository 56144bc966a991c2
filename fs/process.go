package fs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// process names a process for as long as this machine runs: numbers are used
// again, a number with its start time is not.
type process struct {
	pid   int
	start uint64 // clock ticks since boot; 0: it was gone before we could look
}

// caller is who made a request. A request carries the number of a thread; which
// process that is, is found out off the request's path. The fields are valid
// once done is closed.
type caller struct {
	tid  uint32
	seen time.Time
	deep bool // ancestors are wanted
	done chan struct{}

	process
	program        string // the first 15 bytes of its name
	group, session int
	ancestors      []process // nearest first, without init
}

// wait blocks until the caller is known, which takes microseconds.
func (c *caller) wait() *caller {
	if c != nil {
		<-c.done
	}
	return c
}

// related tells whether two callers belong to one job: the same process, the
// same process group, or the same session of a terminal or script.
func (c *caller) related(o *caller) bool {
	if c == nil || o == nil {
		return false
	}
	c.wait()
	o.wait()
	return c.process == o.process || c.group != 0 && c.group == o.group || c.session != 0 && c.session == o.session
}

// copies tells whether a program writes what it has from elsewhere, though it may open
// the file that it writes to before.
func (c *caller) copies() bool { return c.program == "rsync" && !fault.On("fs-trust-opens") }

// resolver finds the processes of threads, in the order asked.
type resolver struct {
	mu     sync.Mutex
	wake   *sync.Cond
	queue  []func()
	recent map[uint32]*caller
	busy   bool // the goroutine runs what was in the queue
	closed bool
	idle   sync.WaitGroup
}

// atOnce is how many notes about known callers wait for company: waking a goroutine
// costs more than making one. Who looks at what they note calls flush.
const atOnce = 256

// fresh is how long a thread's number surely means the same process.
const fresh = 100 * time.Millisecond

func newResolver() *resolver {
	r := &resolver{recent: map[uint32]*caller{}}
	r.wake = sync.NewCond(&r.mu)
	r.idle.Go(r.run)
	return r
}

// see returns the caller of a request with this thread id at once; then, if not
// nil, runs on the resolver's goroutine when the caller is known, in the order
// of the calls, and before flush returns. It must be called before the request is
// answered.
func (r *resolver) see(tid uint32, deep bool, then func(*caller)) *caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	c := r.recent[tid]
	if c == nil || now.Sub(c.seen) > fresh || deep && !c.deep {
		c = &caller{tid: tid, seen: now, deep: deep, done: make(chan struct{})}
		if len(r.recent) > 1024 {
			clear(r.recent)
		}
		r.recent[tid] = c
		r.queue = append(r.queue, c.resolve)
		r.wake.Signal()
	}
	if then != nil {
		if r.queue = append(r.queue, func() { then(c) }); len(r.queue) >= atOnce {
			r.wake.Signal()
		}
	}
	return c
}

// flush waits until everything asked before it is known and recorded.
func (r *resolver) flush() {
	r.mu.Lock()
	if r.closed || len(r.queue) == 0 && !r.busy {
		r.mu.Unlock()
		return
	}
	ch := make(chan struct{})
	r.queue = append(r.queue, func() { close(ch) })
	r.wake.Signal()
	r.mu.Unlock()
	<-ch
}

// close finishes what was asked and ends the goroutine.
func (r *resolver) close() {
	r.mu.Lock()
	r.closed = true
	r.wake.Signal()
	r.mu.Unlock()
	r.idle.Wait()
}

func (r *resolver) run() {
	for {
		r.mu.Lock()
		r.busy = false
		for len(r.queue) == 0 && !r.closed {
			r.wake.Wait()
		}
		batch := r.queue
		r.queue, r.busy = nil, true
		r.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, f := range batch {
			f()
		}
	}
}

func (c *caller) resolve() {
	defer close(c.done)
	c.pid = int(c.tid)
	if c.tid == 0 {
		return
	}
	st, ok := readStat(c.pid)
	if !ok {
		return
	}
	if tgid := threadGroup(c.pid); tgid != 0 && tgid != c.pid {
		if st, ok = readStat(tgid); !ok {
			return
		}
		c.pid = tgid
	}
	c.start, c.program, c.group, c.session = st.start, st.program, st.group, st.session
	if !c.deep {
		return
	}
	for parent := st.parent; parent > 1 && len(c.ancestors) < 16; {
		p, ok := readStat(parent)
		if !ok {
			return
		}
		c.ancestors = append(c.ancestors, process{parent, p.start})
		parent = p.parent
	}
}

type procStat struct {
	program                string
	parent, group, session int
	start                  uint64
	flags                  uint64
}

// killedBySignal is the kernel's PF_SIGNALED.
const killedBySignal = 0x400

// killedThread tells whether a thread is on its way out because of a signal.
func killedThread(tid int) bool {
	s, ok := readStat(tid)
	return ok && s.flags&killedBySignal != 0
}

// readStat reads /proc/PID/stat with raw calls: Go's poller has no business
// there, and this runs for every program that opens a file.
func readStat(pid int) (s procStat, ok bool) {
	var buf [1024]byte
	n := readProc(fmt.Sprintf("/proc/%d/stat", pid), buf[:])
	// The name of the program, in parentheses, may hold anything.
	i := bytes.LastIndexByte(buf[:n], ')')
	if i < 0 {
		return s, false
	}
	f := bytes.Fields(buf[i+1 : n])
	if len(f) < 20 {
		return s, false
	}
	s.program = string(buf[bytes.IndexByte(buf[:i], '(')+1 : i])
	s.parent, _ = strconv.Atoi(string(f[1]))
	s.group, _ = strconv.Atoi(string(f[2]))
	s.session, _ = strconv.Atoi(string(f[3]))
	s.flags, _ = strconv.ParseUint(string(f[6]), 10, 64)
	s.start, _ = strconv.ParseUint(string(f[19]), 10, 64)
	return s, s.start != 0
}

// threadGroup is the process that a thread belongs to, 0 if unknown.
func threadGroup(tid int) int {
	var buf [512]byte
	n := readProc(fmt.Sprintf("/proc/%d/status", tid), buf[:])
	_, rest, ok := bytes.Cut(buf[:n], []byte("\nTgid:\t"))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	tgid, _ := strconv.Atoi(string(line))
	return tgid
}

func readProc(path string, buf []byte) int {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	n, err := syscall.Read(fd, buf)
	if err != nil {
		return 0
	}
	return n
}

// arguments is the command line of a process that still runs, as far as it is short.
func (p process) arguments() []string {
	buf := make([]byte, 64<<10)
	n := readProc(fmt.Sprintf("/proc/%d/cmdline", p.pid), buf)
	if !p.alive() { // it is another one's
		return nil
	}
	return strings.Split(string(buf[:n]), "\x00")
}

// alive tells whether the process still runs.
func (p process) alive() bool {
	s, ok := readStat(p.pid)
	return ok && s.start == p.start
}
