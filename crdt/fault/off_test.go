//go:build !sheaffault

package fault

import "testing"

func TestOffWithoutTheTag(t *testing.T) {
	t.Setenv("SHEAF_FAULT", "some-fault")
	if Enabled || On("some-fault") {
		t.Error("an ordinary binary injects faults")
	}
}
