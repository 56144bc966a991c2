//go:build sheaffault

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestBreaks holds that the figures can be bad: with merging broken, they are.
func TestBreaks(t *testing.T) {
	for _, fault := range []string{"crdt-every-save-differs", "crdt-current-base"} {
		t.Run(fault, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestGenerated$")
			cmd.Env = append(os.Environ(), "SHEAF_FAULT="+fault)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "stale save: {verdicts") {
				t.Errorf("the figures do not show %s:\n%s", fault, out)
			}
		})
	}
}
