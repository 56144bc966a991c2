package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestNewer: one device has a newer sheaf than the other, and makes a change that the other cannot
// read. That one says so and goes on; updated, it has everything, and there is no way back.
func TestNewer(t *testing.T) {
	if os.Getenv("SHEAF_FAULT_BIN") == "" {
		rig.Skip(t, "no binary with faults")
	}
	newer := []string{"crdt-newer-sheaf"}
	if broken := os.Getenv("SHEAF_FAULT"); broken != "" {
		newer = append(newer, broken)
	}
	a, b := rig.Pair(t, nil, func(d *rig.Device) {
		if d.Name == "b" {
			d.Faulty(newer...)
		}
	})
	a.Write("run.sh", "#!/bin/sh\n")
	rig.Sees(t, "run.sh", "#!/bin/sh\n", b)
	b.Shell(`chmod 0755 run.sh`)
	b.Sheaf("sync")
	b.Write("other.txt", "by b\n")
	rig.Sees(t, "other.txt", "by b\n", a)
	a.Write("run.sh", "#!/bin/sh\necho by a\n")
	rig.Sees(t, "run.sh", "#!/bin/sh\necho by a\n", b)

	rig.Until(t, "a says what it cannot read", func() error {
		out := a.Sheaf("status")
		if !strings.Contains(out, "b made changes with a newer sheaf (1 since") || !strings.Contains(out, "hint: update sheaf on this device") {
			return fmt.Errorf("status says\n%s", out)
		}
		return nil
	})
	if r := a.Try("doctor"); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "take a newer sheaf than this one") {
		t.Errorf("doctor: %v", r)
	}
	if mode := a.Shell(`stat -c %a run.sh`); mode != "644\n" {
		t.Errorf("a shows the mode %s", mode)
	}
	if out := b.Sheaf("status"); strings.Contains(out, "newer sheaf") {
		t.Errorf("b, which reads everything, says\n%s", out)
	}

	a.Sheaf("down")
	a.Faulty(newer...)
	a.Sheaf("up")
	rig.Until(t, "a, updated, shows the mode", func() error {
		if mode := a.Shell(`stat -c %a run.sh`); mode != "755\n" {
			return fmt.Errorf("it is %s", mode)
		}
		return nil
	})
	if out := a.Sheaf("status"); strings.Contains(out, "newer sheaf") {
		t.Errorf("a, updated, says\n%s", out)
	}
	rig.Sees(t, "run.sh", "#!/bin/sh\necho by a\n", a, b)

	a.Sheaf("down")
	a.Behaves()
	if r := a.Try("up"); r.Code != 1 || !strings.Contains(r.Stderr, "newer sheaf") || !strings.Contains(r.Stderr, "hint: ") {
		t.Errorf("the older sheaf again: %v", r)
	}
}
