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
	for fault, test := range map[string]string{"crdt-expire-heads": "^TestExpire$", "crdt-undo-blind": "^TestUndoAmongOthers$",
		"blob-trust-disk": "^TestRepairObject$", "crdt-any-key": "^TestRepairKey$", "crdt-drop-waiting": "^TestWaiting$"} {
		t.Run(fault, func(t *testing.T) { broken(t, fault, test) })
	}
	for _, fault := range []string{
		"crdt-current-base", "crdt-refuse-own", "crdt-forget-pending", "tree-delete-blind",
		"crdt-first-of-fork", "crdt-tell-once", "crdt-own-clock", "kv-skip-sync",
		"crdt-trust-checkpoint", "crdt-skip-newer",
	} {
		t.Run(fault, func(t *testing.T) { broken(t, fault, "^TestSimulate$") })
	}
}

// broken runs a test with a fault and wants it to fail.
func broken(t *testing.T, fault, test string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", test, "-test.failfast")
	cmd.Env = append(os.Environ(), "SHEAF_FAULT="+fault, "SHEAF_SEEDS=200")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("%s does not notice %s:\n%s", test, fault, out)
	}
}
