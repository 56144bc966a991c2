package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// TestRenamedToATakenName: while a rename waits another device may give the name away: to
// the same file, or to another. Neither keeps the rename from the folder, also not after a
// crash.
func TestRenamedToATakenName(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]func(*crdt.Tx, crdt.NodeID) error{
		"to the same file": func(tx *crdt.Tx, n crdt.NodeID) error { return tx.Move(n, crdt.Root, "to") },
		"to another": func(tx *crdt.Tx, _ crdt.NodeID) error {
			_, _, err := tx.Create(crdt.Root, "to", 0o644, crdt.NewContent{Text: "another\n"})
			return err
		},
	} {
		for how, settle := range map[string]func(d *device){
			"publishes": func(d *device) { d.flush() },
			"recovers": func(d *device) {
				j := d.s.fs.journal
				d.s.fs.mu.Lock()
				for _, r := range j.records() {
					if r.Kind != moveRecord {
						continue
					}
					if err := d.s.fs.recover(r, false); err != nil {
						d.t.Error(err)
					}
				}
				d.s.fs.mu.Unlock()
			},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				here, far := pair(t)
				here.write("from", poem)
				here.flush()
				exchange(t, here, far)
				here.patient()
				here.run("mv from to")
				node := far.node("from")
				if err := far.f.Update(func(tx *crdt.Tx) error { return there(tx, node) }); err != nil {
					t.Fatal(err)
				}
				far.send(here)
				settle(here)
				here.flush()
				exchange(t, here, far)
				equal(t, "the old name", here.text("from"), "-")
				names, want := here.run("ls"), "to\n"
				if name == "to another" {
					want = "to\n" + far.beside(t, "to") + "\n"
				}
				equal(t, "all names", names, want)
				i, err := here.f.Get(node)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "the file that was renamed", here.read(i.Name), poem)
			})
		}
	}
}

// beside is the name of what is shown beside name.
func (d *device) beside(t *testing.T, name string) string {
	t.Helper()
	list, err := d.f.ReadDir(crdt.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if strings.HasPrefix(i.Name, name+" (") {
			return i.Name
		}
	}
	t.Errorf("nothing is beside %s: %+v", name, list)
	return ""
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
