package fs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A name that a new file has here is taken by a file of another device before
// the folder knows of the new one: both are shown, on both.
func TestNewNameTakenMeanwhile(t *testing.T) {
	here, far := pair(t)
	err := far.f.Update(func(tx *crdt.Tx) error {
		for _, name := range []string{"taken", "same"} {
			text := "far\n"
			if name == "same" {
				text = "both\n"
			}
			if _, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Text: text}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"taken": "here\n", "same": "both\n"} {
		if err := os.WriteFile(filepath.Join(here.point, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	far.send(here)
	all := func(read func() string, who string) {
		eventually(t, "both are on "+who, func() bool {
			here.send(far)
			s := read()
			return strings.Count(s, "here\n") == 1 && strings.Count(s, "far\n") == 1 && strings.Count(s, "both\n") == 1
		})
	}
	all(func() string {
		var s string
		list, _ := os.ReadDir(here.point)
		for _, e := range list {
			b, _ := os.ReadFile(filepath.Join(here.point, e.Name()))
			s += string(b)
		}
		return s
	}, "this device")
	all(func() string {
		var s string
		list, _ := far.f.ReadDir(crdt.Root)
		for _, i := range list {
			c, _ := far.f.Content(i.Node)
			s += c.Text
		}
		return s
	}, "the other")
}
