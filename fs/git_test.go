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
	defer func() {
		if t.Failed() {
			acts, err := d.f.Actions(5)
			t.Logf("actions %+v, %v; since %d entries", acts, err, d.f.Last()-before)
		}
	}()
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

// What git did a moment ago is sealed for who waits for other devices to have it.
func TestGitSettles(t *testing.T) {
	d := mounted(t)
	d.run(`mkdir -p .git/refs/heads; echo ref: refs/heads/main > .git/HEAD; echo one > f`)
	d.flush()
	d.run(`: > .git/index.lock; echo two > g`)
	if err := d.s.Settle(); err != nil {
		t.Fatal(err)
	}
	if acts, err := d.f.Actions(1); err != nil || len(acts) > 0 && strings.HasPrefix(acts[0].Label, "git") {
		t.Errorf("sealed while git is at work: %+v, %v", acts, err)
	}
	d.run(`mv .git/index.lock .git/index`)
	if err := d.s.Settle(); err != nil {
		t.Fatal(err)
	}
	if acts, err := d.f.Actions(1); err != nil || len(acts) != 1 || !strings.HasPrefix(acts[0].Label, "git") {
		t.Errorf("not sealed: %+v, %v", acts, err)
	}
}

// TestGitSlowly does what git does on a machine that is busy: HEAD moves long after the index is
// written, and one command begins as soon as another has left.
func TestGitSlowly(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	d.run(`mkdir -p .git/refs/heads; echo ref: refs/heads/side > .git/HEAD; echo one > f`)
	d.flush()
	d.run(`: > .git/index.lock; mv .git/index.lock .git/index
		: > .git/index.lock; sleep 0.1; echo two > f; echo two > g; mv .git/index.lock .git/index
		sleep 0.2; echo ref: refs/heads/main > .git/HEAD.lock; mv .git/HEAD.lock .git/HEAD`)
	label := ""
	eventually(t, "git's work is sealed", func() bool {
		acts, err := d.f.Actions(1)
		if err == nil && len(acts) == 1 {
			label = acts[0].Label
		}
		return strings.HasPrefix(label, "git")
	})
	equal(t, "the action", label, "git: main (no commit)")
	if _, err := d.f.Undo("", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of it is undone", func() bool { return d.text("f") == "one\n" && d.text("g") == "-" })
}
