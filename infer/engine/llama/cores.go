package llama

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// cores says how many threads to compute with. libllama's threads wait for each
// other in busy loops after every operation: one thread too many on a busy
// machine costs a factor of ten, one too few a core.
type cores struct {
	fixed int // if not 0, the answer
	total int
	at    time.Time
	busy  time.Duration // of all cores since boot, at that time
	own   time.Duration // of this process
	last  int
}

const (
	sampleAge  = 200 * time.Millisecond // the shortest time that says something
	sampleOld  = 2 * time.Second        // after which it says nothing
	clockTicks = 10 * time.Millisecond  // the unit of /proc/stat
)

func newCores(fixed int) *cores { return &cores{fixed: fixed, total: runtime.GOMAXPROCS(0)} }

// threads is asked before a prompt and between tokens; it reads the machine's
// clocks at most every sampleAge.
func (c *cores) threads() int {
	if c.fixed > 0 {
		return c.fixed
	}
	age := time.Since(c.at)
	if age < sampleAge && c.last > 0 {
		return c.last
	}
	busy, own := machineTime(), processTime()
	others := 0.0
	if age < sampleOld && !c.at.IsZero() && c.last > 0 {
		others = float64((busy-c.busy)-(own-c.own)) / float64(age)
	} else {
		// Nothing measured lately: what wants to run at this moment, less us.
		others = float64(runnable() - 1)
	}
	c.at, c.busy, c.own = time.Now(), busy, own
	c.last = share(c.total, others)
	return c.last
}

// share is how many of all cores are ours when others use so many. A third of a
// core is what editors, a browser and we ourselves take.
func share(total int, others float64) int {
	return min(max(total-int(others+0.66), 1), total)
}

// machineTime is what all cores together have worked since boot.
func machineTime() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	var ticks int64
	for i, f := range bytes.Fields(line) {
		// cpu user nice system idle iowait irq softirq steal; what a virtual
		// machine was not given is as good as busy.
		if n, err := strconv.ParseInt(string(f), 10, 64); err == nil && i >= 1 && i <= 8 && i != 4 && i != 5 {
			ticks += n
		}
	}
	return time.Duration(ticks) * clockTicks
}

func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// runnable is how many threads of the machine run or want to.
func runnable() int {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 1
	}
	f := bytes.Fields(b) // 0.20 0.18 0.12 1/80 11206
	if len(f) < 4 {
		return 1
	}
	now, _, _ := bytes.Cut(f[3], []byte("/"))
	n, err := strconv.Atoi(string(now))
	if err != nil {
		return 1
	}
	return n
}
