package daemon

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		name string
		live uint64
		hard bool
		want int
	}{
		{"nothing collected yet", 0, false, 1000},
		{"a small folder may have spare garbage", 4 << 20, false, 400},
		{"and a larger one less, in percent", 32 << 20, false, 50},
		{"a large one stays small", 200 << 20, false, gcPercent},
		{"but where somebody waits", 200 << 20, true, hardPercent},
		{"who is about to have more", 4 << 20, true, hardPercent},
	} {
		if got := percent(c.live, c.hard); got != c.want {
			t.Errorf("%s: %d %%, want %d", c.name, got, c.want)
		}
	}
}

// What comes into use is followed at once: not by the clock, within a tick of which a large text
// comes and goes.
func TestFollow(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var c collecting
	c.follow(ctx)
	told := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.told
	}
	until := func(what string, done func(percent int) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !done(told()); runtime.GC() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %%", what, told())
			}
		}
	}
	until("with little in use", func(p int) bool { return p > gcPercent })
	large := make([]byte, 200<<20)
	until("with much in use", func(p int) bool { return p == gcPercent })
	runtime.KeepAlive(large)
	until("with little again", func(p int) bool { return p > gcPercent })
}
