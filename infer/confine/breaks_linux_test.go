//go:build sheaffault

package confine

import "testing"

// TestBreaks holds that TestConfined fails for a process that is not confined.
func TestBreaks(t *testing.T) {
	if err := confined(t, "SHEAF_FAULT=infer-unconfined"); err == nil {
		t.Error("a process that is not confined was taken for one that is")
	}
}
