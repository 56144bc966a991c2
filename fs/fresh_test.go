package fs

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A file made in a directory that another device removes before the file is published
// brings the directory back, and both can be removed again.
func TestNewFileInRemovedDirectory(t *testing.T) {
	here, far := pair(t)
	if err := os.MkdirAll(here.path("d/e"), 0o755); err != nil {
		t.Fatal(err)
	}
	here.write("d/e/old", "old\n")
	here.flush()
	exchange(t, here, far)

	f, err := os.Create(here.path("d/e/new")) // not in the folder while it is open
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d/e/old", "d/e", "d"} {
		info, err := far.f.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := far.f.Update(func(tx *crdt.Tx) error { return tx.Remove(info.Node) }); err != nil {
			t.Fatal(err)
		}
	}
	far.send(here)
	if _, err := here.f.Resolve("d"); err == nil {
		t.Fatal("the directory is still there: the test shows nothing")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	here.flush()
	eventually(t, "the new file is shown", func() bool { b, _ := os.ReadFile(here.path("d/e/new")); return string(b) == "typed\n" })
	exchange(t, here, far)
	equal(t, "far", far.text("d/e/new"), "typed\n")
	equal(t, "rm", here.run("rm -rf d && ls -a | wc -l"), "2\n")
	exchange(t, here, far)
	equal(t, "far", far.names(), "")
}

// A new file reaches the folder a while after it was closed: the notice tells when that was.
func TestNewFileToldFromItsClose(t *testing.T) {
	here, _ := pair(t)
	here.patient()
	told := make(chan time.Time, 1)
	cancel := here.f.Subscribe(func(n crdt.Notice) {
		at, ok := Saved(n.Origin)
		if ok && slices.ContainsFunc(n.Changes, func(c crdt.Change) bool { return c.After.Name == "q.ask" }) {
			select {
			case told <- at:
			default:
			}
		}
	})
	defer cancel()
	before := time.Now()
	here.write("q.ask", "What?\n")
	closed := time.Now()
	time.Sleep(20 * time.Millisecond) // the wait that does not count
	here.flush()
	if at := <-told; at.Before(before) || at.After(closed) {
		t.Errorf("saved %v after it was closed", at.Sub(closed))
	}
}

// New files are one entry as long as it can be opened for one of them; a larger one is by itself.
func TestTogether(t *testing.T) {
	for want, sizes := range map[int][]int{
		3: {1, 0, 1}, 2: {maxTogether - 1, 1, 1}, 1: {2 * maxTogether, 1}, 0: {},
	} {
		list := make([]newFile, len(sizes))
		for i, n := range sizes {
			list[i].c.Body = crdt.NewBody(strings.Repeat("x", n))
		}
		if got := together(list); got != want {
			t.Errorf("%d of %v are one entry, want %d", got, sizes, want)
		}
	}
}
