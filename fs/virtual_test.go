package fs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

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

// What is made up is one file however often it is looked up: cp and fts leave out what is another
// one when they open it than when they looked at it.
func TestVirtualIdentity(t *testing.T) {
	d := mounted(t)
	if err := os.MkdirAll(d.path("d/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.write("d/sub/f.txt", "one\n")
	d.flush()
	then := now(t, d)
	history := d.path(".sheaf/history/d/sub/f.txt")
	list, err := os.ReadDir(history)
	if err != nil || len(list) != 1 {
		t.Fatalf("versions: %v, %v", list, err)
	}
	for _, path := range []string{
		d.path(".sheaf"), d.path(".sheaf/history"), d.path(".sheaf/history/d/sub"), history, filepath.Join(history, list[0].Name()),
		d.path(".sheaf/automerge/d/sub"), d.path(".sheaf/automerge/d/sub/f.txt"),
		d.path(".sheaf/at/" + then), d.path(".sheaf/at/" + then + "/d/sub/f.txt"),
	} {
		first, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(2 * asked) // until the kernel looks it up again
			again, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if !os.SameFile(first, again) {
				t.Errorf("%s is another one the next time", path)
			}
		}
	}
}
