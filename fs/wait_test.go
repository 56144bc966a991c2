package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// TestGitTakesLong: a git that removes a file and makes it anew takes longer over it than an
// editor does. It is one file all the same.
func TestGitTakesLong(t *testing.T) {
	t.Parallel()
	py, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skip("no python here")
	}
	d := mounted(t)
	d.write("f", poem)
	d.flush()
	was := d.node("f")
	git := filepath.Join(t.TempDir(), "git")
	if err := os.Symlink(py, git); err != nil {
		t.Fatal(err)
	}
	out, err := d.command(git, "-c", "import os, time\nos.unlink('f')\ntime.sleep(.5)\nopen('f', 'x').write('of git\\n')").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.flush()
	equal(t, "text", d.text("f"), "of git\n")
	if d.node("f") != was {
		t.Error("the file that git made anew is another one")
	}
	d.run("rm f")
	eventually(t, "what others remove is removed", func() bool { return d.text("f") == "-" })
}

// TestRenameGoesFirst: who renames a file and then changes it, does so in that order for
// others, too. A change through a handle from before the rename does not hurry it: the old
// name may be about to be made anew.
func TestRenameGoesFirst(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	d.write("f", poem)
	d.write("e", poem)
	d.flush()
	d.patient()
	d.run("mv f g && echo more >> g")
	equal(t, "the old name", d.text("f"), "-")
	equal(t, "the new name", d.text("g"), poem+"more\n")

	was := d.node("e")
	p := startPython(d)
	p.do("import os; h = open('e', 'a'); os.rename('e', 'e~'); h.write('late\\n'); h.flush(); os.close(os.dup(h.fileno()))")
	p.do("b = open('e', 'w'); b.write('new\\n'); b.close()")
	d.flush()
	equal(t, "saved", d.text("e"), "new\n")
	if d.node("e") != was {
		t.Error("the file that was made anew is another one")
	}
}

// node is the node at a path of the folder.
func (d *device) node(path string) crdt.NodeID {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return info.Node
}
