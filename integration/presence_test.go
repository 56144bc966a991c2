package integration

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// seesOpen waits until exactly these lines of sheaf status tell what others have open.
func seesOpen(t *testing.T, d *rig.Device, limit time.Duration, what string, want ...string) {
	t.Helper()
	began := time.Now()
	rig.UntilIn(t, min(limit, rig.Deadline()), d.Name+" knows: "+what, func() error {
		r := d.Try("status")
		var got []string
		for l := range strings.Lines(r.Stdout) {
			if strings.Contains(l, ": editing ") || strings.Contains(l, ": reading ") {
				got = append(got, strings.TrimSpace(l))
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			return fmt.Errorf("open elsewhere: %q, not %q", got, want)
		}
		return nil
	})
	t.Logf("%s: after %v", what, time.Since(began).Round(time.Millisecond))
}

// TestPresence: sheaf status tells what programs of the other device have open, and
// forgets it when they do, end, or cannot be heard any more.
func TestPresence(t *testing.T) {
	need(t, "vim")
	const soon, later = 10 * time.Second, 20 * time.Second
	a, b := rig.Pair(t, rig.NewNet(t))
	b.Write("notes.md", "what B wrote\n")
	b.Shell(`mkdir dir; echo one > dir/log.txt`)
	rig.Sees(t, "notes.md", "what B wrote\n", a)
	rig.Sees(t, "dir/log.txt", "one\n", a)
	seesOpen(t, b, soon, "nothing is open")

	vim := a.Edit("vim auto", "notes.md", "what B wrote")
	seesOpen(t, b, soon, "vim", "a: editing notes.md (vim)")
	if s, err := b.Read(".sheaf/status"); err != nil || !strings.Contains(s, `"path": "notes.md"`) {
		t.Errorf(".sheaf/status: %v\n%s", err, s)
	}
	tail := hold(t, a, `exec tail -f dir/log.txt`)
	seesOpen(t, b, soon, "and a reader", "a: reading dir/log.txt (tail)", "a: editing notes.md (vim)")
	b.Shell(`mv dir new`)
	seesOpen(t, b, soon, "the name it has here now", "a: reading new/log.txt (tail)", "a: editing notes.md (vim)")
	end(tail)
	seesOpen(t, b, soon, "that the reader ended", "a: editing notes.md (vim)")

	a.Cut()
	seesOpen(t, b, later, "nothing while the cable is cut")
	if rig.Small() {
		return
	}
	a.Mend()
	seesOpen(t, b, 2*later, "vim, after the cable was mended", "a: editing notes.md (vim)")
	vim.Kill()
	seesOpen(t, b, soon, "that the editor was killed")

	// A program that writes, and searches that only pass by.
	writer := hold(t, a, `exec 3>>new/log.txt; echo open; read forever`)
	for range 20 {
		a.Shell(`grep -r nothing-of-it . || true; cat notes.md > /dev/null`)
	}
	seesOpen(t, b, soon, "a writer, and nothing else", "a: editing new/log.txt (sh)")
	a.KillAll()
	seesOpen(t, b, later, "nothing of a device that ended")
	end(writer)
}

// TestPresenceOff: with SHEAF_PRESENCE=off a device tells nothing, and still hears.
func TestPresenceOff(t *testing.T) {
	a, b := rig.NewDevice(t, "a", nil), rig.NewDevice(t, "b", nil)
	a.Env = append(a.Env, "SHEAF_PRESENCE=off")
	a.Init()
	b.Join(a.Invite())
	a.Write("f", "f\n")
	rig.Sees(t, "f", "f\n", b)
	hold(t, a, `exec 3<f; echo open; read forever`)
	hold(t, b, `exec 3<f; echo open; read forever`)
	seesOpen(t, a, 10*time.Second, "what b reads", "b: reading f (sh)")
	seesOpen(t, b, 10*time.Second, "nothing of a")
}

// hold runs a shell script in the folder until the test ends; it returns once the script
// has said something.
func hold(t *testing.T, d *rig.Device, script string) *exec.Cmd {
	t.Helper()
	cmd := d.Command(t.Context(), "sh", "-ec", script)
	cmd.Dir = d.Point
	if _, err := cmd.StdinPipe(); err != nil { // closed by Wait
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func end(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
