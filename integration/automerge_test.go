package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestAutomerge: a text that was merged is what the Automerge library makes of its changes; its
// document comes back in, with the history; and what is no document is refused, with its own exit
// code, and changes nothing.
func TestAutomerge(t *testing.T) {
	need(t, "python3")
	a := rig.NewDevice(t, "a", nil)
	a.Init()
	a.Write("t", "one\ntwo\n")
	a.Sheaf("sync", a.Point) // a new file is nobody's version yet
	// Two programs type in the same place: the second had read what the first changed.
	a.Shell(`python3 -c '
import subprocess
open("t").read()
subprocess.run(["sh", "-c", "printf \"one\\nhers\\ntwo\\n\" > t"], check=True)
open("t", "w").write("one\nhis\ntwo\n")
'`)
	merged := ""
	rig.Until(t, "both lines", func() (err error) {
		if merged, err = a.Read("t"); err != nil {
			return err
		}
		return everyLine(merged, "one", "hers", "his", "two")
	})

	r := a.Try("doctor", "--deep")
	if r.Code != 0 || !strings.Contains(r.Stdout, "1 texts are what Automerge makes of them; not compared: 0") {
		t.Fatalf("doctor --deep: %v", r)
	}

	dir := rig.Scratch(t, "documents")
	doc := filepath.Join(dir, "back.txt.automerge")
	a.Sheaf("export", "--automerge", a.Path("t"), "-o", doc)
	if got := strings.TrimSpace(a.Sheaf("import", doc, a.Point)); got != "back.txt" {
		t.Errorf("imported as %q", got)
	}
	if got, err := a.Read("back.txt"); err != nil || got != merged {
		t.Errorf("back.txt: %q, %v; want %q", got, err, merged)
	}
	var log struct{ Revisions []struct{ Op string } }
	if err := json.Unmarshal([]byte(a.Sheaf("log", "--json", a.Path("back.txt"))), &log); err != nil || len(log.Revisions) < 3 {
		t.Errorf("the history did not come along: %+v, %v", log, err)
	}
	if r := a.Try("import", doc, a.Path("back.txt")); r.Code != 4 {
		t.Errorf("over a file: %v", r)
	}

	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte{}, b...)
	flipped[len(b)/2] ^= 1
	for name, bytes := range map[string][]byte{"cut": b[:len(b)-9], "flipped": flipped, "text": []byte("no document\n"), "empty": nil} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := a.Try("import", path, a.Point); r.Code != 15 || !strings.Contains(r.Stderr, path) || strings.Contains(r.Stderr, "goroutine") {
			t.Errorf("%s: %v", name, r)
		}
	}
	if got := a.Shell("ls"); got != "back.txt\nt\n" {
		t.Errorf("there are now\n%s", got)
	}
}
