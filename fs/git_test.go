package fs

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// TestGit has git change a working tree: one entry, one action with HEAD in its label, undone
// whole.
func TestGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	d := mounted(t)
	d.run(`git init -q -b main && git config user.name a && git config user.email a@example.org
		for i in 1 2 3; do echo one $i > f$i; done; mkdir d; echo one > d/f; git add . && git commit -qm one
		git checkout -q -b side; rm f1; for i in 2 3; do echo two $i > f$i; done; mkdir e; echo two > e/f; git add -A && git commit -qm two`)
	d.flush()
	eventually(t, "HEAD is told", func() bool {
		hs := d.f.Status().Heads
		return len(hs) == 1 && strings.HasPrefix(hs[0].Head, "side ")
	})
	before := d.f.Last()
	d.run("git checkout -q main")
	eventually(t, "HEAD is told", func() bool { return strings.HasPrefix(d.f.Status().Heads[0].Head, "main ") })
	eventually(t, "git's work is sealed", func() bool {
		acts, err := d.f.Actions(1)
		return err == nil && len(acts) == 1 && strings.HasPrefix(acts[0].Label, "git: main ")
	})
	if n := d.f.Last() - before; n > 2 { // a slow machine may need a second
		t.Errorf("git's checkout made %d entries", n)
	}
	equal(t, "working tree", d.run("git status --porcelain; ls -A; cat f2"), ".git\nd\nf1\nf2\nf3\none 2\n")
	if _, err := d.f.Undo("", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of it is back", func() bool {
		out, err := d.command("sh", "-c", "cat e/f f2 f3; ls f1").CombinedOutput()
		return err != nil && strings.HasPrefix(string(out), "two\ntwo 2\ntwo 3\nls: ")
	})
	equal(t, "attributes", d.run("getfattr -d -m - . 2>/dev/null || :"), "")
	equal(t, "a repository", d.locals(crdt.Root), ".git")
}
