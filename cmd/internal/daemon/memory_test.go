package daemon

import "testing"

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
