package integration

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestAppendFromBoth: both devices append to a file with cat >> at the same time; then B
// goes on while an editor on A has it open with unsaved changes, and saves. Every line is
// there, once.
func TestAppendFromBoth(t *testing.T) {
	need(t, "vim")
	a, b := rig.Pair(t, nil)
	a.Write("log.txt", "first\n")
	rig.Sees(t, "log.txt", "first\n", b)

	rounds := 25
	if rig.Small() {
		rounds = 8
	}
	lines := []string{"first"}
	appends := func(round string, ds ...*rig.Device) *sync.WaitGroup {
		var wg sync.WaitGroup
		for _, d := range ds {
			for i := range rounds {
				lines = append(lines, fmt.Sprintf("%s %s %d", round, d.Name, i))
			}
			wg.Go(func() {
				for i := range rounds {
					if _, err := d.TryShell(fmt.Sprintf("%s %s %d\n", round, d.Name, i), `cat >> log.txt`); err != nil {
						t.Error(err)
					}
				}
			})
		}
		return &wg
	}
	everywhere := func() {
		t.Helper()
		for _, d := range []*rig.Device{a, b} {
			rig.Until(t, "every line on "+d.Name, func() error {
				got, err := d.Read("log.txt")
				if err != nil {
					return err
				}
				return everyLine(got, lines...)
			})
		}
	}
	appends("both", a, b).Wait()
	everywhere()

	e := a.Edit("vim auto", "log.txt", "first")
	for i := range 3 {
		line := fmt.Sprintf("typed in vim, %d", i)
		lines = append(lines, line)
		e.InsertUnder(1, line)
		wg := appends(fmt.Sprintf("save %d", i), b)
		e.Save()
		wg.Wait()
	}
	e.Quit()
	everywhere()
	sameTrees(t, a, b)
}
