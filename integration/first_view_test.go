package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestFirstView: who joins a folder sees all names before all entries have come, can read and
// not write, and then has what everybody has. What the inviter says falsely is discarded, and the
// inviter is named.
func TestFirstView(t *testing.T) {
	if os.Getenv("SHEAF_FAULT_BIN") == "" {
		rig.Skip(t, "no binary with faults")
	}
	for _, c := range []struct{ name, fault, shows string }{
		{"true", "", "file-2500"}, {"forged", "crdt-forges-checkpoint", "forged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			faults := []string{"peer-dawdles"} // entries come slowly
			for _, f := range []string{c.fault, os.Getenv("SHEAF_FAULT")} {
				if f != "" {
					faults = append(faults, f)
				}
			}
			a, b := rig.NewDevice(t, "a", nil).Faulty(faults...), rig.NewDevice(t, "b", nil)
			a.Init()
			a.Shell(`for i in $(seq 2500); do echo "text $i" > file-$i; done; for i in $(seq 40); do echo more >> file-1; sleep 0.1; done`)
			if r := b.Try("join", "--device", "b", "--timeout", "4s", a.Invite(), b.Point); r.Code != 0 && r.Code != 7 {
				t.Fatal(r)
			}
			rig.Until(t, "all names before all entries", func() error {
				s, err := b.Status()
				if err != nil {
					return err
				}
				if len(s.Folders) != 1 || s.Folders[0].First == nil {
					return errors.New("no first view is shown")
				}
				out, err := b.TryShell("", `ls`)
				if err == nil && !strings.Contains(out, c.shows+"\n") {
					err = fmt.Errorf("there is no %s in %d bytes of names", c.shows, len(out))
				}
				return err
			})
			if c.fault == "" {
				if text, err := b.Read("file-2500"); err != nil || text != "text 2500\n" {
					t.Errorf("file-2500 reads %q, %v", text, err)
				}
				if out, err := b.TryShell("", `! touch new 2>&1`); err != nil || !strings.Contains(out, "Read-only") {
					t.Errorf("a new file: %s, %v", out, err)
				}
				if out := b.Sheaf("status"); !strings.Contains(out, "read only so far") {
					t.Errorf("status does not say so:\n%s", out)
				}
			}
			rig.Until(t, "the view has ended", func() error {
				s, err := b.Status()
				if err == nil && s.Folders[0].First != nil {
					err = errors.New("it is still shown")
				}
				return err
			})
			sameTrees(t, a, b)
			b.Write("new", "new\n")
			rig.Sees(t, "new", "new\n", a)
			s, err := b.Status()
			if err != nil {
				t.Fatal(err)
			}
			notes := s.Notes()
			if c.fault == "" && len(notes) > 0 || c.fault != "" && (len(notes) != 1 || !strings.Contains(notes[0].Text, "a (")) {
				t.Errorf("notes: %v", notes)
			}
		})
	}
}
