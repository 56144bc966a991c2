package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestDiverged: a device that makes something else of the same changes is noticed, and both
// say so; devices that agree say nothing.
func TestDiverged(t *testing.T) {
	if os.Getenv("SHEAF_FAULT_BIN") == "" {
		rig.Skip(t, "no binary with faults")
	}
	faults := []string{"crdt-deaf-to-modes"}
	if broken := os.Getenv("SHEAF_FAULT"); broken != "" {
		faults = append(faults, broken)
	}
	a, b := rig.Pair(t, nil, func(d *rig.Device) {
		if d.Name == "b" {
			d.Faulty(faults...)
		}
	})
	a.Write("script.sh", "#!/bin/sh\n")
	rig.Sees(t, "script.sh", "#!/bin/sh\n", b)
	for _, d := range []*rig.Device{a, b} {
		if since, err := diverged(d); err != nil || since != "" {
			t.Fatalf("%s: diverged since %q: %v", d.Name, since, err)
		}
	}
	a.Shell(`chmod 0755 script.sh`)
	for _, d := range []*rig.Device{a, b} {
		other := map[string]string{"a": "b", "b": "a"}[d.Name]
		rig.Until(t, other+" is known to have diverged", func() error {
			since, err := diverged(d)
			if err == nil && since == "" {
				err = fmt.Errorf("%s is not known to have diverged on %s", other, d.Name)
			}
			return err
		})
	}
	out := a.Sheaf("status")
	for _, want := range []string{"b has the same changes and another state", "sheaf doctor --deep"} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not say %q:\n%s", want, out)
		}
	}
}

// diverged is since when the one other device is known to have another state.
func diverged(d *rig.Device) (string, error) {
	s, err := d.Status()
	if err != nil {
		return "", err
	}
	if len(s.Folders) != 1 || len(s.Folders[0].Devices) != 1 {
		return "", errors.New("not one folder with one other device")
	}
	return s.Folders[0].Devices[0].Diverged, nil
}
