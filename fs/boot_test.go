package fs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPowerLostSessions: what a loss of power left of a session's file, without an fsync, is no save. What
// was synced, and what is in the journal, is.
func TestPowerLostSessions(t *testing.T) {
	long := strings.Repeat(poem, 2000) // more than the journal takes
	d := unmounted(t, map[string]string{"torn": long, "synced": long, "packed": poem, "log": poem})
	if err := Recover(d.home, d.f); err != nil {
		t.Fatal(err)
	}
	dir := sessionsDir(d.home, d.f)
	if err := os.WriteFile(filepath.Join(dir, bootName), []byte("another run of the machine"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := inDaemon(t, d)
	rewrite := func(name string) *os.File {
		f := k.open(name, os.O_RDWR)
		if _, err := f.WriteAt([]byte(strings.Repeat("x", 40<<10)), 0); err != nil {
			t.Fatal(err)
		}
		return f
	}
	rewrite("torn")
	if err := rewrite("synced").Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.open("packed", os.O_RDWR).WriteAt([]byte("X"), 0); err != nil {
		t.Fatal(err)
	}
	write(t, k.open("log", os.O_WRONLY|os.O_APPEND), "more\n")
	write(t, k.open("new", os.O_WRONLY|os.O_CREATE), strings.Repeat("y", 40<<10))
	// The daemon was started in this run of the machine; as if that had been the one before.
	if err := os.WriteFile(filepath.Join(dir, bootName), []byte("another run of the machine"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.kill()
	for name, want := range map[string]string{
		"torn": long, "synced": strings.Repeat("x", 40<<10) + long[40<<10:], "packed": "X" + poem[1:], "log": poem, "new": "-",
	} {
		if got := k.text(name); got != want {
			t.Errorf("%s: %d bytes, %.20q, want %d, %.20q", name, len(got), got, len(want), want)
		}
	}
	var aside []string
	for _, n := range k.f.Status().Notes {
		if n.Kind == "set-aside" && strings.Contains(n.Text, "the machine went down") {
			aside = append(aside, n.Path)
		}
	}
	if slices.Sort(aside); !slices.Equal(aside, []string{"log", "new", "torn"}) {
		t.Errorf("set aside: %v", aside)
	}
	if b, err := os.ReadFile(filepath.Join(dir, bootName)); err != nil || strings.HasPrefix(string(b), "another") {
		t.Errorf("after it, %q, %v", b, err)
	}
}

// A disk that has no room to note the run of the machine keeps nobody from the folder.
func TestRecoverWithoutBoot(t *testing.T) {
	d := unmounted(t, nil)
	if err := os.MkdirAll(filepath.Join(sessionsDir(d.home, d.f), bootName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Recover(d.home, d.f); err != nil {
		t.Error(err)
	}
}
