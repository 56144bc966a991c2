package llama

import (
	"runtime"
	"testing"
	"time"
)

func TestCores(t *testing.T) {
	if n := newCores(7).threads(); n != 7 {
		t.Errorf("fixed: %d", n)
	}
	c := newCores(0)
	for range 3 {
		if n := c.threads(); n < 1 || n > runtime.GOMAXPROCS(0) {
			t.Errorf("%d threads of %d", n, runtime.GOMAXPROCS(0))
		}
	}
	if runnable() < 1 || machineTime() <= 0 || processTime() <= 0 {
		t.Errorf("runnable %d, machine %v, process %v", runnable(), machineTime(), processTime())
	}
}

// What others took since the last look decides.
func TestCoresFollowTheLoad(t *testing.T) {
	const window = time.Second
	for _, x := range []struct {
		total  int
		others float64 // cores
		want   int
	}{{8, 0, 8}, {8, 0.2, 8}, {8, 1, 7}, {8, 3.6, 4}, {8, 8, 1}, {2, 0.1, 2}, {2, 0.9, 1}, {1, 1, 1}} {
		c := newCores(0)
		c.total, c.last, c.at = x.total, 1, time.Now().Add(-window)
		c.busy = machineTime() - time.Duration(x.others*float64(window))
		c.own = processTime()
		if got := c.threads(); got != x.want {
			t.Errorf("%v of %d cores busy: %d threads, want %d", x.others, x.total, got, x.want)
		}
	}
}
