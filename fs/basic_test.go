package fs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBasics(t *testing.T) {
	d := mounted(t)
	d.write("a.txt", "one\n")
	equal(t, "read", d.read("a.txt"), "one\n")
	d.run("echo two >> a.txt; mkdir sub; ln -s ../a.txt sub/link; cat sub/link > sub/copy")
	equal(t, "appended", d.read("a.txt"), "one\ntwo\n")
	equal(t, "copy", d.read("sub/copy"), "one\ntwo\n")
	if l, err := os.Readlink(d.path("sub/link")); err != nil || l != "../a.txt" {
		t.Errorf("readlink: %q, %v", l, err)
	}
	equal(t, "ls", d.run("ls sub"), "copy\nlink\n")
	d.flush()
	equal(t, "folder", d.text("a.txt"), "one\ntwo\n")
	equal(t, "folder", d.text("sub/copy"), "one\ntwo\n")

	if err := os.Truncate(d.path("a.txt"), 4); err != nil {
		t.Fatal(err)
	}
	equal(t, "truncated", d.read("a.txt"), "one\n")
	eventually(t, "truncation published", func() bool { return d.text("a.txt") == "one\n" })

	if err := os.Remove(d.path("sub")); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("rmdir of a full directory: %v", err)
	}
	d.run("rm -r sub; mv a.txt b.txt; test ! -e a.txt; chmod 600 b.txt")
	equal(t, "ls", d.run("ls -A"), "b.txt\n")
	d.flush()
	equal(t, "names", d.names(), "b.txt")
	equal(t, "mode", d.run("stat -c %a b.txt"), "600\n")
}

func TestAttributes(t *testing.T) {
	d := mounted(t)
	d.write("f", "x")
	d.run("touch -d '2020-01-02 03:04:05 UTC' f")
	equal(t, "mtime", d.run("stat -c %Y f"), "1577934245\n")
	d.flush()
	equal(t, "mtime kept", d.run("stat -c %Y f"), "1577934245\n")
	ino := d.run("stat -c %i f")
	if err := unix.Setxattr(d.path("f"), "user.k", []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := unix.Getxattr(d.path("f"), "user.k", buf); err != nil || string(buf[:n]) != "v" {
		t.Errorf("xattr %q, %v", buf[:n], err)
	}
	if err := unix.Link(d.path("f"), d.path("g")); err != syscall.EPERM {
		t.Errorf("hard link: %v", err)
	}
	if err := os.WriteFile(d.path(strings.Repeat("n", 256)), nil, 0o644); err == nil {
		t.Error("a name of 256 bytes was taken")
	}
	if err := os.WriteFile(d.path(strings.Repeat("n", 255)), nil, 0o644); err != nil {
		t.Error(err)
	}
	equal(t, "inode number", d.run("stat -c %i f"), ino)
	equal(t, "links", d.run("stat -c %h f"), "1\n")
	if d.run("stat -f -c %l .") != "255\n" {
		t.Error("statfs")
	}
}

func TestBlobs(t *testing.T) {
	d := mounted(t)
	big := strings.Repeat("\x00binary\xff", 400_000)
	d.write("blob", big)
	d.flush()
	if d.text("blob") != big || d.read("blob") != big {
		t.Fatal("a blob differs")
	}
	f, err := os.OpenFile(d.path("blob"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("HERE"), 1000); err != nil {
		t.Fatal(err)
	}
	want := big[:1000] + "HERE" + big[1004:]
	if d.read("blob") != want {
		t.Error("a write is not seen")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if d.text("blob") != want {
		t.Error("a write is not published at close")
	}
	d.write("blob", "now text\n")
	equal(t, "text", d.text("blob"), "now text\n")
}

// TestMmap maps from another process: a page fault of this one would wait for
// itself.
func TestMmap(t *testing.T) {
	d := mounted(t)
	d.write("f", strings.Repeat("a", 5000))
	d.flush()
	p := startPython(d)
	p.do("import mmap; f = open('f', 'r+b'); m = mmap.mmap(f.fileno(), 5000); m[4990:4996] = b'mapped'; m.close(); f.close()")
	want := strings.Repeat("a", 4990) + "mapped" + strings.Repeat("a", 4)
	eventually(t, "mapped bytes published", func() bool { return d.text("f") == want })
	equal(t, "read", d.read("f"), want)
}

func TestRenames(t *testing.T) {
	d := mounted(t)
	for _, n := range []string{"a", "b", "c"} {
		d.write(n, n+"\n")
	}
	d.flush()
	d.run("mv a b") // over a file
	equal(t, "b", d.read("b"), "a\n")
	d.flush()
	equal(t, "names", d.names(), "b c")
	equal(t, "b", d.text("b"), "a\n")

	if err := unix.Renameat2(unix.AT_FDCWD, d.path("b"), unix.AT_FDCWD, d.path("c"), unix.RENAME_NOREPLACE); err != syscall.EEXIST {
		t.Errorf("NOREPLACE: %v", err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, d.path("b"), unix.AT_FDCWD, d.path("c"), unix.RENAME_EXCHANGE); err != nil {
		t.Errorf("EXCHANGE: %v", err)
	}
	equal(t, "b", d.read("b"), "c\n")
	equal(t, "c", d.read("c"), "a\n")

	d.run("mkdir d e; echo 1 > d/1; mv d e/; mv e f")
	equal(t, "moved", d.read("f/d/1"), "1\n")
	if out, err := exec.Command("mv", d.path("f"), d.path("f/d/x")).CombinedOutput(); err == nil {
		t.Errorf("a directory went into itself: %s", out)
	}
	d.flush()
	equal(t, "moved", d.text("f/d/1"), "1\n")
}

func TestUnlinkedOpen(t *testing.T) {
	d := mounted(t)
	d.write("f", "old\n")
	d.flush()
	f, err := os.Open(d.path("f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(d.path("f")); err != nil {
		t.Fatal(err)
	}
	d.flush()
	b := make([]byte, 10)
	n, _ := f.ReadAt(b, 0)
	equal(t, "removed but open", string(b[:n]), "old\n")
	if _, err := os.Stat(d.path("f")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestTemporary: what comes and goes at once never reaches the folder.
func TestTemporary(t *testing.T) {
	d := mounted(t)
	d.patient()
	before := d.entries()
	d.write("tmp", "x\n")
	if err := os.Remove(d.path("tmp")); err != nil {
		t.Fatal(err)
	}
	d.write("tmp2", "y\n")
	if err := errors.Join(os.Rename(d.path("tmp2"), d.path("tmp3")), os.Remove(d.path("tmp3"))); err != nil {
		t.Fatal(err)
	}
	d.flush()
	if n := d.entries(); n != before {
		t.Errorf("%d entries for files that are gone", n-before)
	}
	if d.names() != "" {
		t.Error(d.names())
	}
}

func TestGitStaysHere(t *testing.T) {
	d := mounted(t)
	d.run(`export GIT_CONFIG_GLOBAL=/dev/null; git init -q . && echo hi > f && git add f && git -c user.name=n -c user.email=e commit -qm m &&
		git status --short && test -d .git/objects && echo there > f && git checkout -q -- f`)
	equal(t, "checked out", d.read("f"), "hi\n")
	d.flush()
	equal(t, "names", d.names(), "f")
	equal(t, "folder", d.text("f"), "hi\n")
	if !strings.Contains(d.run("ls -a"), ".git\n") {
		t.Error(".git is not listed")
	}
	if m, _ := filepath.Glob(filepath.Join(d.home.Dir(), "local", "*", "*", ".git", "HEAD")); len(m) != 1 {
		t.Errorf("repository is not in the home: %v", m)
	}
	d.run("rm -rf .git")
}
