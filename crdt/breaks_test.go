//go:build sheaffault

package crdt_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestBreaks holds that the simulation is able to fail: with each of these
// faults it must.
func TestBreaks(t *testing.T) {
	for _, fault := range []string{"crdt-current-base", "crdt-refuse-own", "crdt-forget-pending", "tree-delete-blind"} {
		t.Run(fault, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestSimulate$")
			cmd.Env = append(os.Environ(), "SHEAF_FAULT="+fault)
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("the simulation does not notice %s:\n%s", fault, out)
			}
		})
	}
}
