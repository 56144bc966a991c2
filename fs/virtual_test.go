package fs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/automerge/automerge-go"
)

func TestAutomergeDocuments(t *testing.T) {
	d := mounted(t)
	if err := os.Mkdir(filepath.Join(d.point, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(d.point, "sub", "plan.txt")
	for _, s := range []string{"one\n", "one\ntwo\n"} {
		if err := os.WriteFile(name, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(d.point, ".sheaf/automerge/sub/plan.txt"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := automerge.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := doc.Path("content").Text().Get(); err != nil || got != "one\ntwo\n" {
		t.Errorf("the document's text is %q, %v", got, err)
	}
	list, err := os.ReadDir(filepath.Join(d.point, ".sheaf/automerge/sub"))
	if err != nil || len(list) != 1 || list[0].Name() != "plan.txt" {
		t.Errorf("listed: %v, %v", list, err)
	}
	// It is there, not listed, and nothing can be put in its place.
	if list, err := os.ReadDir(d.point); err != nil || len(list) != 1 {
		t.Errorf("the root lists %v, %v", list, err)
	}
	if err := os.Mkdir(filepath.Join(d.point, ".sheaf"), 0o755); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("mkdir .sheaf: %v", err)
	}
	if err := os.Rename(filepath.Join(d.point, "sub"), filepath.Join(d.point, ".sheaf")); err == nil {
		t.Error("a directory took the place of .sheaf")
	}
	if err := os.WriteFile(filepath.Join(d.point, ".sheaf/automerge/sub/plan.txt"), nil, 0o644); err == nil {
		t.Error("a document was written to")
	}
}
