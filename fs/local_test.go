package fs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// TestRules tries what is decided when a name is made: each script ends with what
// the folder holds and what the mount shows.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name, own, script string
		shared            string // in the root
		locals            string
	}{
		{"repository", "", "mkdir .git; echo x > a", "a", ".git"},
		{"shared rule", "", "echo '*.log' > .sheafignore; echo x > a.log; echo x > a", ".sheafignore a", "a.log"},
		{"rule and exception", "", "printf '*.log\\n!b.log\\n' > .sheafignore; echo x > a.log; echo x > b.log", ".sheafignore b.log", "a.log"},
		{"directory rule", "", "echo out/ > .sheafignore; mkdir out; mkdir -p out/deep; echo x > out/deep/f; echo out > a", ".sheafignore a", "out"},
		{"rule of a directory below", "", "mkdir d; echo x > d/.sheafignore; echo x > d/x; echo x > x", "d x", ""},
		{"rules exclude no rules", "", "echo '*' > .sheafignore; mkdir d; echo x > d2", ".sheafignore", "d d2"},
		{"a shared rule cannot share a repository", "", "printf '!.git\\n!.git/\\n' > .sheafignore; mkdir .git", ".sheafignore", ".git"},
		{"this device shares", "!b.log", "echo '*.log' > .sheafignore; echo x > a.log; echo x > b.log", ".sheafignore b.log", "a.log"},
		{"this device cannot share a repository", "!.git", "mkdir .git", "", ".git"},
		{"this device excludes", "/mine", "mkdir mine; echo x > mine/f; echo x > a", "a", "mine"},
		{"what is there stays shared", "", "echo x > a.log; sleep 0.3; echo '*.log' > .sheafignore; echo y >> a.log", ".sheafignore a.log", ""},
		{"what is here stays here", "", "echo '*.log' > .sheafignore; echo x > a.log; rm .sheafignore; echo y >> a.log", "", "a.log"},
		{"cargo", "", "mkdir target; mkdir p; echo > p/Cargo.toml; mkdir p/target; echo x > p/target/f", "p target", ""},
		{"node", "", "mkdir node_modules; rmdir node_modules; echo {} > package.json; mkdir -p node_modules/x", "package.json", "node_modules"},
		{"node, but shared by this device", "!node_modules", "echo {} > package.json; mkdir -p node_modules/x", "node_modules package.json", ""},
		{"a build folder by name is a directory", "", "echo x > __pycache__", "__pycache__", ""},
		{"python cache", "", "mkdir __pycache__", "", "__pycache__"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := mounted(t)
			if c.own != "" {
				if err := SetLocalRules(d.home, d.f, c.own); err != nil {
					t.Fatal(err)
				}
				if err := d.s.RulesChanged(); err != nil {
					t.Fatal(err)
				}
			}
			d.run(c.script)
			d.flush()
			equal(t, "shared", d.names(), c.shared)
			equal(t, "of this device", d.locals(crdt.Root), c.locals)
			want := strings.Fields(c.shared + " " + c.locals)
			if got := strings.Fields(d.run("ls -A")); len(got) != len(want) {
				t.Errorf("the mount shows %q", got)
			}
		})
	}
}

// locals lists the local names of a directory, as they are on the disk and as the
// index has them.
func (d *device) locals(dir crdt.NodeID) string {
	d.t.Helper()
	list, _ := os.ReadDir(d.s.fs.localDir(dir))
	names := strings.Join(collect(list, func(e os.DirEntry) string { return e.Name() }), " ")
	if n := len(d.s.fs.locals.list(dir)); n != len(list) {
		d.t.Errorf("the index has %d names, the disk %q", n, names)
	}
	return names
}

func TestTags(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	d.run(`mkdir .cache; printf 'Signature: 8a477f597d28d172789f06886806bc55\n' > .cache/CACHEDIR.TAG; echo x > .cache/f; mkdir -p .cache/a/b; echo x > .cache/a/b/f
		mkdir v; mkdir v/bin; printf 'home = /usr/bin\nversion = 3\n' > v/pyvenv.cfg; ln -s /usr/bin/python3 v/bin/python; echo x > v/bin/activate
		mkdir no; echo 'not a signature' > no/CACHEDIR.TAG; echo x > no/f`)
	d.flush()
	for path, want := range map[string]string{".cache/CACHEDIR.TAG": "-", ".cache/f": "-", ".cache/a": "-", "v/pyvenv.cfg": "-", "v/bin/activate": "-", "v/bin/python": "-",
		"no/f": "x\n", "no/CACHEDIR.TAG": "not a signature\n"} {
		if want == "-" {
			if _, err := d.f.Resolve(path); err == nil {
				t.Errorf("%s is shared", path)
			}
			if _, err := os.Lstat(d.path(path)); err != nil {
				t.Error(err)
			}
			continue
		}
		equal(t, path, d.text(path), want)
	}
	equal(t, "a file of the cache", d.read(".cache/a/b/f"), "x\n")
	var listed []string
	for _, l := range d.s.LocalNames() {
		listed = append(listed, fmt.Sprintf("%s %v %d", l.Path, l.Dir, l.Files))
	}
	equal(t, "what status lists", strings.Join(listed, ", "), ".cache true 3, v true 3")
}

func TestAcross(t *testing.T) {
	for _, c := range []struct{ name, script, shared, locals, shows string }{
		{"out", "echo one > a; sleep 0.2; mv a a.log", ".sheafignore", "a.log", "a.log one"},
		{"out at once", "echo one > a; mv a a.log", ".sheafignore", "a.log", "a.log one"},
		{"out, then appended to", "echo one > a; sleep 0.2; mv a a.log; echo two >> a.log", ".sheafignore", "a.log", "a.log one two"},
		{"in", "echo one > a.log; mv a.log a", ".sheafignore a", "", "a one"},
		{"in, then appended to", "echo one > a.log; mv a.log a; echo two >> a", ".sheafignore a", "", "a one two"},
		{"in over", "echo old > a; sleep 0.2; echo one > a.log; mv a.log a", ".sheafignore a", "", "a one"},
		{"out over", "echo old > a.log; echo one > a; mv a a.log", ".sheafignore", "a.log", "a.log one"},
		{"within", "echo one > a.log; mv a.log b.log", ".sheafignore", "b.log", "b.log one"},
		{"in and out", "echo one > a.log; mv a.log a; sleep 0.2; mv a b.log; mv b.log c", ".sheafignore c", "", "c one"},
		{"backup and new file", "echo one > a; sleep 0.2; mv a a.log; echo two > a", ".sheafignore a", "a.log", "a two"},
		{"empty", ": > a.log; mv a.log a", ".sheafignore a", "", "a "},
		{"link in", "ln -s x a.log; mv a.log a", ".sheafignore a", "", ""},
		{"link out", "ln -s x a; mv a a.log", ".sheafignore", "a.log", ""},
		{"directory out", "mkdir d d/e; echo one > d/e/f; ln -s x d/l; sleep 0.2; echo two > d/g; mv d o.log; mv o.log/e/f o.log/f", ".sheafignore", "o.log", "o.log/f one"},
		{"directory in", "mkdir -p o.log/e; echo one > o.log/e/f; ln -s x o.log/l; mkdir o.log/.git; mv o.log d; ls -d d/.git", ".sheafignore d", "", "d/e/f one"},
		{"repository stays", "mkdir o.log; git init -q --bare o.log; mv o.log d", ".sheafignore", "d", ""},
		{"directory over an empty one", "mkdir d o.log; echo one > o.log/f; python3 -c 'import os; os.rename(\"o.log\", \"d\")'", ".sheafignore d", "", "d/f one"},
		{"no replace", "echo one > a; echo two > a.log; mv -n a.log a || :; cat a.log", ".sheafignore a", "a.log", "a one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := mounted(t)
			d.run("echo '*.log' > .sheafignore")
			d.run(c.script)
			if path, want, ok := strings.Cut(c.shows, " "); ok {
				equal(t, "the mount", strings.Join(strings.Fields(d.read(path)), " "), want)
				d.flush()
				if c.locals == "" {
					equal(t, "the folder", strings.Join(strings.Fields(d.text(path)), " "), want)
				}
			}
			d.flush()
			equal(t, "shared", d.names(), c.shared)
			equal(t, "of this device", d.locals(crdt.Root), c.locals)
			if n := len(d.s.fs.journal.records()); n != 0 {
				t.Errorf("%d records are left in the journal", n)
			}
		})
	}
}

// TestAcrossAtOnce uses what was moved across before the kernel was told that it is
// something else now.
func TestAcrossAtOnce(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	d.run("echo '*.log' > .sheafignore; mkdir -p d e.log h.log/i; echo one > d/f; echo one > e.log/f; echo two > h.log/i/f; ln -s x l; sync .")
	d.flush()
	told := make(chan struct{})
	d.s.fs.queue.put(func() { <-told })
	defer close(told)
	for _, c := range []struct{ script, want string }{
		{"mv d d.log; stat -c %F d.log", "directory"},
		{"mv d.log/f d.log/g; ls d.log", "g"},
		{"mv e.log e; ls e", "f"},
		{"mv h.log h; cat h/i/f", "two"},
		{"mv l l.log; readlink l.log", "x"},
	} {
		equal(t, c.script, strings.TrimSpace(d.run(c.script)), c.want)
	}
}

// TestAcrossSaves saves through a temporary file that stays on this device, from a
// stale buffer: the save is merged like any other.
func TestAcrossSaves(t *testing.T) {
	t.Parallel()
	here, far := pair(t)
	here.write(".sheafignore", "*.tmp\n")
	here.write("f", "one\n\ntwo\n\nthree\n")
	here.flush()
	exchange(t, here, far)
	script := here.command("python3", "-c", `
import os, sys
text = open("f").read()
print("read", flush=True)
sys.stdin.readline()
with open("f.tmp", "w") as f: f.write(text.replace("one", "ONE"))
os.replace("f.tmp", "f")
`)
	in, _ := script.StdinPipe()
	out, _ := script.StdoutPipe()
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := out.Read(buf); err != nil {
		t.Fatal(err)
	}
	far.edit("f", func(s string) string { return strings.Replace(s, "three", "THREE", 1) })
	exchange(t, here, far)
	in.Write([]byte("\n"))
	if err := script.Wait(); err != nil {
		t.Fatal(err)
	}
	here.flush()
	equal(t, "the folder", here.text("f"), "ONE\n\ntwo\n\nTHREE\n")
	equal(t, "shared", here.names(), ".sheafignore f")
}

// TestHidden has another device share a name that is this device's own here.
func TestHidden(t *testing.T) {
	t.Parallel()
	here, far := pair(t)
	here.write(".sheafignore", "*.log\n")
	here.write("a.log", "mine\n")
	err := far.f.Update(func(tx *crdt.Tx) error {
		_, _, err := tx.Create(crdt.Root, "a.log", 0o644, crdt.NewContent{Text: "theirs\n"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	here.flush()
	exchange(t, here, far)
	equal(t, "here", here.read("a.log"), "mine\n")
	equal(t, "listing", here.run("ls"), "a.log\n")
	here.run("rm a.log")
	eventually(t, "the shared one is shown", func() bool {
		b, err := os.ReadFile(here.path("a.log"))
		return err == nil && string(b) == "theirs\n"
	})
}
