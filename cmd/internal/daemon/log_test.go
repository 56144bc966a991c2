package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The log stays small while the daemon runs, the guardian goes on in it, and the last lines are
// kept.
func TestBoundedLog(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "log")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, ok := bounded(f, home).(*boundedLog)
	if !ok {
		t.Fatal("the home's log is not bounded")
	}
	l.max, l.limit = 1000, 1000
	const lines = 400
	for i := range lines {
		if i%2 == 0 {
			_, err = fmt.Fprintf(l, "line %03d\n", i)
		} else {
			_, err = fmt.Fprintf(f, "line %03d\n", i) // the guardian
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1100 {
			t.Errorf("%s has %d bytes", path, len(b))
		}
		return string(b)
	}
	kept := read(path+".old") + read(path)
	n := strings.Count(kept, "\n")
	var want strings.Builder
	for i := lines - n; i < lines; i++ {
		fmt.Fprintf(&want, "line %03d\n", i)
	}
	if kept != want.String() || n < 1000/len("line 000\n") {
		t.Errorf("of the log is kept:\n%s", kept)
	}

	// Where it cannot be put aside nothing is lost.
	if err := os.Remove(path + ".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".old", 0o755); err != nil {
		t.Fatal(err)
	}
	before := read(path)
	more := strings.Repeat("x", 1500) + "\n"
	if _, err := l.Write([]byte(more)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != before+more {
		t.Errorf("the log has %d bytes, %v", len(b), err)
	}
	if _, ok := bounded(f, t.TempDir()).(*boundedLog); ok {
		t.Error("what is no home's log is bounded")
	}
}
