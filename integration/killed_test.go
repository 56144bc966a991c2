package integration

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// back waits until the device's folder is mounted again by another daemon than old.
func back(t *testing.T, d *rig.Device, old int) int {
	t.Helper()
	pid := 0
	rig.Until(t, "the mount comes back", func() error {
		s, err := d.Status()
		if err != nil {
			return err
		}
		if pid = s.PID; pid == 0 || pid == old || len(s.Folders) == 0 || !s.Folders[0].Mounted {
			return fmt.Errorf("%+v", s)
		}
		_, err = d.TryShell("", "ls")
		return err
	})
	return pid
}

// TestKilledDaemon: the daemon is killed again and again while a program writes. What a
// call returned for is in the folder or set aside, the mount comes back by itself, and
// there is no dead mount point.
func TestKilledDaemon(t *testing.T) {
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	a, b := rig.Pair(t, nil)
	rounds := 50
	if rig.Small() {
		rounds = 6
	}
	w := startLoad(t, a, "w", false)
	pid := a.PID()
	for r := range rounds {
		w.more(3 + rnd.Intn(40))
		a.Kill(pid)
		if r >= 3 { // by hand: the guardian waits longer after each death in a row
			rig.Until(t, "up", func() error {
				if res := a.Try("up"); res.Code != 0 {
					return fmt.Errorf("round %d: sheaf up: %v", r, res)
				}
				return nil
			})
		}
		start := time.Now()
		pid = back(t, a, pid)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("round %d: the mount came back after %v", r, took)
		}
		if r%10 == 2 || rig.Small() {
			if err := kept(a, w.snapshot()); err != nil {
				t.Fatalf("round %d: %v", r, err)
			}
		}
	}
	told := w.stop()
	t.Logf("%d writes were told as done", len(told))
	for _, d := range []*rig.Device{a, b} {
		rig.Until(t, "everything on "+d.Name, func() error { return kept(d, told) })
	}
	sameTrees(t, a, b)
}
