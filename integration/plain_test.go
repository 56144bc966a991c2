package integration

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestPlain: two devices without mounts, each with an ordinary directory that is kept
// in step: what the one does is at the other, stale saves merge, what was done while the
// daemon was dead is found, and what is a device's own stays there.
func TestPlain(t *testing.T) {
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	page := page(rnd, 6)
	a, b := rig.NewDevice(t, "a", nil), rig.NewDevice(t, "b", nil)
	a.Write("page.txt", text(page))
	a.Shell(`mkdir -p d/e; echo deep >d/e/deep.txt; printf 'a\0b' >d/blob; ln -s d/blob link; chmod 755 d/blob; git init -q . 2>/dev/null || mkdir .git`)
	a.Init("--plain")
	b.Sheaf("join", "--plain", "--device", "b", a.Invite(), b.Point)
	if kind := rig.Mounted(b.Point); kind != "" {
		t.Fatalf("%s is mounted on %s", kind, b.Point)
	}
	sees := func(what string, on *rig.Device, rel string, want ...string) {
		t.Helper()
		rig.Until(t, what, func() error {
			got, err := on.Read(rel)
			if err != nil {
				return err
			}
			for _, w := range want {
				if strings.Count(got, w) != 1 {
					return fmt.Errorf("%s: %s has %q %d times:\n%s", on.Name, rel, w, strings.Count(got, w), got)
				}
			}
			return nil
		})
	}
	rig.Sees(t, "page.txt", text(page), a, b)
	sees("and what is deep in it", b, "d/e/deep.txt", "deep")
	if _, err := os.Lstat(b.Path(".git")); err == nil {
		t.Error("a repository was shared")
	}
	if out := b.Shell(`readlink link; stat -c %a d/blob`); out != "d/blob\n755\n" {
		t.Errorf("link and mode: %q", out)
	}

	// An editor that has had the file open since before it changed.
	v := b.Edit("vim auto", "page.txt", page[0])
	a.Shell(`sed -i '1i first, by a' page.txt`)
	rig.Until(t, "a's line on b's disk", func() error {
		st, err := os.Stat(b.Path("page.txt"))
		if err == nil && st.Size() <= int64(len(text(page))) {
			err = fmt.Errorf("still %d bytes", st.Size())
		}
		return err
	})
	v.Append("last, by b")
	v.Type(":w\r")
	v.Shows("changed since reading it") // as on any disk
	v.Type("y\r")
	sees("stale save", a, "page.txt", "first, by a", "last, by b")
	sees("stale save", b, "page.txt", "first, by a", "last, by b")
	v.Type(":q!\r")

	// Names, and what goes with them.
	a.Shell(`mv d e; mkdir f; mv e/e/deep.txt f/; rm link`)
	b.Shell(`echo new >new.txt`)
	withoutGit(t, a, b)
	sees("a moved file", b, "f/deep.txt", "deep")

	// A daemon that dies, and what is done meanwhile.
	b.KillAll()
	b.Shell(`echo 'while it was dead, by b' >>page.txt; mv f g; rm new.txt`)
	a.Shell(`echo 'while it was dead, by a' >>g.txt; sed -i '1i again, by a' page.txt`)
	b.Sheaf("up")
	sees("found at the start", a, "page.txt", "while it was dead, by b", "again, by a")
	withoutGit(t, a, b)
	if _, err := os.Lstat(a.Path("new.txt")); err == nil {
		t.Error("what was removed while the daemon was dead is there again")
	}

	// A directory that is another one is no emptied folder.
	b.Sheaf("down")
	if err := os.Rename(b.Point, b.Point+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.Point, 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, b.Try("up"), 3, "is not the one")
	if err := os.Remove(filepath.Join(b.Point)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b.Point+".away", b.Point); err != nil {
		t.Fatal(err)
	}
	b.Sheaf("up")
	withoutGit(t, a, b)
}

// TestWithoutMounts runs suites of mounted devices on plain directories.
func TestWithoutMounts(t *testing.T) {
	if rig.Plain() {
		rig.Skip(t, "this is a run on plain directories")
	}
	for _, suite := range []string{"TestOffline", "TestAppendFromBoth", "TestTurns"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(context.Background(), "/proc/self/exe", "-test.run", "^"+suite+"$", "-test.v")
			cmd.Env = append(os.Environ(), "SHEAF_RIG_PLAIN=1", "SHEAF_RIG_SMALL=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// withoutGit is sameTrees but for a repository that one of the devices has.
func withoutGit(t *testing.T, ds ...*rig.Device) {
	t.Helper()
	rig.Until(t, "same trees", func() error {
		var first string
		for i, d := range ds {
			out, err := tree(d)
			if err != nil {
				return err
			}
			var keep []string
			for l := range strings.Lines(out) {
				if !strings.HasPrefix(l, ".git/") {
					keep = append(keep, strings.TrimSuffix(l, "\n"))
				}
			}
			if out = strings.Join(keep, "\n"); i == 0 {
				first = out
			} else if out != first {
				return fmt.Errorf("%s has:\n%s\n%s has:\n%s", ds[0].Name, first, d.Name, out)
			}
		}
		return nil
	})
}
