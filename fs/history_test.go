package fs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The folder as it was, and each version of a file, through programs that know nothing of it.
func TestVirtualPast(t *testing.T) {
	here, far := pair(t)
	if err := os.MkdirAll(here.path("d/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	here.write("d/list.txt", "one\n")
	here.write("d/sub/pic.png", "\x00first")
	here.write("gone.txt", "soon gone\n")
	here.run("ln -s list.txt d/link")
	here.flush()
	before := now(t, here)
	here.edit("d/list.txt", prepend("zero\n"))
	exchange(t, here, far)
	far.edit("d/list.txt", prepend("far\n"))
	exchange(t, here, far)
	here.run("rm gone.txt d/sub/pic.png; printf 'new\n' > d/new.txt")
	here.flush()

	eventually(t, "all is seen", func() bool { return here.read("d/list.txt") == "far\nzero\none\n" })

	at := here.path(".sheaf/at/" + before)
	equal(t, "a file of then", readFile(t, at+"/d/list.txt"), "one\n")
	equal(t, "a removed file", readFile(t, at+"/gone.txt"), "soon gone\n")
	equal(t, "a removed object", readFile(t, at+"/d/sub/pic.png"), "\x00first")
	out := t.TempDir()
	sh(t, `cp -a "$1/." "$2/" && diff -r "$1" "$2" && find "$2" | sort | sed "s:$2::" && grep -r one "$1" | wc -l`, at, out)
	equal(t, "what cp copied", sh(t, `cd "$1"; find . | sort | tr '\n' ' '; readlink d/link; stat -c %s d/list.txt`, out),
		". ./d ./d/link ./d/list.txt ./d/sub ./d/sub/pic.png ./gone.txt list.txt\n4\n")
	equal(t, "what changed since", sh(t, `diff -rq "$1" "$2" | wc -l; true`, at, here.point), "5\n") // list.txt, by its link too
	if _, err := os.Stat(here.path(".sheaf/at/soon")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no time: %v", err)
	}
	if list, err := os.ReadDir(here.path(".sheaf/at/2001-01-01")); err != nil || len(list) != 0 {
		t.Errorf("before all: %v, %v", list, err)
	}

	dir := here.path(".sheaf/history/d/list.txt")
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 3 {
		t.Fatalf("versions: %v, %v", list, err)
	}
	for i, want := range []string{"one\n", "zero\none\n", "far\nzero\none\n"} {
		name := list[i].Name()
		equal(t, name, readFile(t, filepath.Join(dir, name)), want)
		who := []string{"here", "here", "far"}[i]
		if !strings.HasPrefix(name, "000") || !strings.HasSuffix(name, " "+who+".txt") {
			t.Errorf("version %d is called %q", i, name)
		}
	}
	equal(t, "a removed file's versions", sh(t, `cat "$1"/*`, here.path(".sheaf/history/gone.txt")), "soon gone\n")

	// An object that is not here any more is told of, and nothing fails.
	info, err := far.f.History("d/sub/pic.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := here.home.Objects().Remove([32]byte(info[len(info)-1].Object.Hash)); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, `cat "$1"/*expired*`, here.path(".sheaf/history/d/sub/pic.png")); !strings.Contains(got, "6 bytes") {
		t.Errorf("an expired version reads %q", got)
	}

	for _, name := range []string{at + "/d/list.txt", filepath.Join(dir, list[0].Name()), at + "/other"} {
		if err := os.WriteFile(name, nil, 0o644); err == nil {
			t.Errorf("%s was written to", name)
		}
	}
	if err := os.Remove(at + "/d/list.txt"); err == nil {
		t.Error("the past was changed")
	}
	var st syscall.Stat_t
	if err := syscall.Stat(at+"/d/list.txt", &st); err != nil || st.Mode&0o222 != 0 {
		t.Errorf("mode %o, %v", st.Mode, err)
	}
	if list, err := os.ReadDir(here.point); err != nil || len(list) != 1 {
		t.Errorf("the root lists %v, %v", list, err)
	}
}

// now is a time after all that was done so far, as a name; what follows is later.
func now(t *testing.T, d *device) string {
	t.Helper()
	revs, err := d.f.History("", 1)
	if err != nil {
		t.Fatal(err)
	}
	last := revs[0].Time
	eventually(t, "a later millisecond", func() bool { return time.Now().Truncate(time.Millisecond).After(last) })
	return last.Format(time.RFC3339Nano)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sh runs a script of other programs, with arguments.
func sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}
