package fs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// whole changes a file of a device without its mount, and leaves it whole.
func (d *device) whole(path string, base crdt.Version, text string) {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := d.home.Whole(crdt.NewContent{Text: text})
	if err == nil {
		err = d.f.Update(func(tx *crdt.Tx) error { _, err := tx.Write(info.Node, base, c); return err })
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// form tells how the folder holds a file.
func (d *device) form(path string) string {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	if info.Object != nil {
		return "whole"
	}
	return "text"
}

// What keeps a file whole is its name, by whatever way bytes come under it.
func TestWholeByName(t *testing.T) {
	here := mounted(t)
	here.write(".gitattributes", "*.gen -merge\ndeep/** merge\n")
	here.flush()
	here.run(`
		echo a > package-lock.json; echo a > note; echo a > x.gen
		mkdir deep; echo a > deep/x.gen; echo a > deep/package-lock.json; echo a > deep/.gitattributes
		echo a > tmp.1; mv tmp.1 yarn.lock
		echo a > tmp.2; mv tmp.2 plain`)
	here.flush()
	for path, want := range map[string]string{
		"package-lock.json": "whole", "note": "text", "x.gen": "whole", "deep/x.gen": "text", "deep/package-lock.json": "text",
		"yarn.lock": "whole", "plain": "text", ".gitattributes": "text",
	} {
		if got := here.form(path); got != want {
			t.Errorf("%s is kept as %s, not %s", path, got, want)
		}
	}
	// Each way of saving again.
	here.run(`
		echo b >> package-lock.json
		sed -i s/a/b/ x.gen
		echo b > tmp; cp tmp note
		cp x.gen t; mv t plain
		echo 'b' > yarn.lock`)
	here.flush()
	for path, want := range map[string]string{
		"package-lock.json": "whole a\nb\n", "x.gen": "whole b\n", "note": "text b\n", "plain": "text b\n", "yarn.lock": "whole b\n",
	} {
		equal(t, path, here.form(path)+" "+here.text(path), want)
	}
	// What its name is later decides on its next save, and its history goes on.
	here.run(`mv note Cargo.lock; mv yarn.lock other`)
	here.flush()
	here.run(`echo c >> Cargo.lock; echo c >> other`)
	here.flush()
	equal(t, "renamed to a name of those", here.form("Cargo.lock")+" "+here.text("Cargo.lock"), "whole b\nc\n")
	equal(t, "renamed to another", here.form("other")+" "+here.text("other"), "text b\nc\n")
	info, _ := here.f.Resolve("other")
	if revs, err := here.f.Versions(info.Node); err != nil || len(revs) < 4 {
		t.Errorf("its history: %v, %v", revs, err)
	}
	equal(t, "read", here.read("other")+here.read("Cargo.lock"), "b\nc\nb\nc\n")
}

// A stale save of a file that is kept whole stands beside what came meanwhile.
func TestWholeStale(t *testing.T) {
	here, far := pair(t)
	const old = "{\n \"a\": 1,\n \"b\": 2,\n \"c\": 3\n}\n"
	here.write("package-lock.json", old)
	here.flush()
	exchange(t, here, far)
	name := here.path("package-lock.json")
	f, err := os.Open(name) // as a program that reads, thinks and writes
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	info, err := far.f.Resolve("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := strings.Replace(old, "1", "11", 1), strings.Replace(old, "3", "33", 1)
	far.whole("package-lock.json", info.Version, theirs)
	far.send(here)
	here.write("package-lock.json", ours)
	here.flush()
	exchange(t, here, far)
	var beside string
	eventually(t, "both are listed", func() bool {
		list, _ := os.ReadDir(here.point)
		for _, e := range list {
			if e.Name() != "package-lock.json" {
				beside = e.Name()
			}
		}
		return len(list) == 2
	})
	both := []string{here.read("package-lock.json"), here.read(beside)}
	if both[0] == theirs {
		both[0], both[1] = both[1], both[0]
	}
	equal(t, "one", both[0], ours)
	equal(t, "the other", both[1], theirs)
	if s := here.f.Status(); len(s.Beside) != 1 || filepath.Base(s.Beside[0]) != beside {
		t.Errorf("status names %v", s.Beside)
	}
	// A program that has read one of them ends neither; one that has read both, the one beside.
	here.run(`sed -i s/2/22/ package-lock.json`)
	here.flush()
	if len(here.f.Status().Beside) != 1 {
		t.Error("a program that had not read the version beside ended it")
	}
	here.write("other", "")
	for _, script := range []string{
		`read -r a < "$1"; read -r b < package-lock.json; echo "$a $b" > package-lock.json`, // not told of the two
		`sort -u ./* -o package-lock.json`,                                                  // and of others
		`sort -u package-lock.json -o package-lock.json; cat "$1"`,
	} {
		if out, err := here.command("bash", "-c", script, "", beside).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		here.flush()
		if len(here.f.Status().Beside) != 1 {
			t.Errorf("%s: the version beside ended", script)
		}
	}
	here.run(`rm other; sort -u "` + beside + `" package-lock.json -o package-lock.json`)
	here.flush()
	equal(t, "names after a program had read both", here.names(), "package-lock.json")
	if notes := here.f.Status().Notes; len(notes) == 0 || notes[len(notes)-1].Kind != "resolved" {
		t.Errorf("status says %v", notes)
	}
	exchange(t, here, far)
	equal(t, "names there", far.names(), "package-lock.json")
	equal(t, "bytes there", far.text("package-lock.json"), here.read("package-lock.json"))
}

// What was being written when the daemon died is kept in the form that its name asks for.
func TestWholeRecovered(t *testing.T) {
	k := inDaemon(t, unmounted(t, map[string]string{"yarn.lock": "a\n"}))
	f := k.open("yarn.lock", os.O_WRONLY|os.O_APPEND)
	write(t, f, "b\n")
	k.kill()
	equal(t, "after a crash", k.form("yarn.lock")+" "+k.text("yarn.lock"), "whole a\nb\n")
}
