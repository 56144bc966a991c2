package fs

import "testing"

func TestLeaves(t *testing.T) {
	for _, c := range []struct {
		target string
		depth  int
		want   bool
	}{
		{"a", 0, false}, {"./a/b", 0, false}, {"a..b", 0, false}, {"../a", 1, false}, {".././../a", 2, false}, {"..", 1, false},
		{"/etc/passwd", 5, true}, {"..", 0, true}, {"../../a", 1, true}, {"a/../b", 3, true}, {"../a/../../b", 3, true}, {"a//..", 1, true},
	} {
		if got := leaves(c.target, c.depth); got != c.want {
			t.Errorf("%q from %d directories down: %v", c.target, c.depth, got)
		}
	}
}
