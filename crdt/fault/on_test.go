//go:build sheaffault

package fault

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for s, want := range map[string][]string{"": nil, "a": {"a"}, "a,b-c": {"a", "b-c"}, ",a,, b ,": {"a", "b"}} {
		if got := parse(s); !slices.Equal(got, want) {
			t.Errorf("%q: %q", s, got)
		}
	}
}

// The variable is read once, when a process first asks: so this is a process of its own.
func TestOn(t *testing.T) {
	if os.Getenv("SHEAF_FAULT_TEST") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOn$", "-test.v")
		cmd.Env = append(os.Environ(), "SHEAF_FAULT_TEST=1", "SHEAF_FAULT=one,two")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestOn") {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	if !Enabled || !On("one") || !On("two") || On("three") || On("") {
		t.Error("the wrong faults are on")
	}
}
