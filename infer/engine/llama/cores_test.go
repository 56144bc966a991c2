package llama

import (
	"runtime"
	"testing"
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

func TestShare(t *testing.T) {
	for _, x := range []struct {
		total  int
		others float64
		want   int
	}{{8, 0, 8}, {8, 0.2, 8}, {8, 1, 7}, {8, 3.6, 4}, {8, 8, 1}, {8, 30, 1}, {8, -1, 8}, {2, 0.1, 2}, {2, 0.9, 1}, {1, 1, 1}} {
		if got := share(x.total, x.others); got != x.want {
			t.Errorf("%v of %d cores busy: %d threads, want %d", x.others, x.total, got, x.want)
		}
	}
}
