package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// program is a way of saving.
type program struct {
	name  string
	needs []string

	// start reads the cell's file and gets the new line into what it has read; the
	// function that it returns saves.
	start func(c *cell) (save func())

	// saved is what the program makes of lines; nil: the new line under mineAt.
	saved func(c *cell, lines []string) []string

	follows      bool     // it holds the file itself: a save goes where the file is now
	knowsNothing bool     // of what was there: where the file is gone it begins an empty one
	underWay     bool     // it is in the middle of its save: other programs of A see that
	leaves       []string // other files that it leaves
	separate     bool     // it has a test of its own
}

func (p program) begin(c *cell) func() {
	c.t.Helper()
	need(c.t, p.needs...)
	return p.start(c)
}

func (p program) merge(c *cell, lines []string) []string {
	if p.saved != nil {
		return p.saved(c, lines)
	}
	return insert(lines, mineAt, c.mine)
}

// editor is one that is used by keystrokes.
func editor(kind string) func(c *cell) func() {
	return func(c *cell) func() {
		e := c.a.Edit(kind, c.file(), "1.1 ")
		e.InsertUnder(mineAt, c.mine)
		return func() {
			e.Save()
			e.Quit()
		}
	}
}

// later is an editor in which nothing is typed before B's change has come.
func later(kind string) func(c *cell) func() {
	return func(c *cell) func() {
		e := c.a.Edit(kind, c.file(), "1.1 ")
		return func() {
			if kind == "emacs that reverts" && (c.against == elsewhere || c.against == paragraph) {
				e.Shows(c.theirs)
			}
			e.InsertUnder(mineAt, c.mine)
			e.Save()
			e.Quit()
		}
	}
}

// asking is an editor that asks before it overwrites what came meanwhile. A person who
// answers yes loses nothing either.
func asking(kind, question, yes string) func(c *cell) func() {
	return func(c *cell) func() {
		e := c.a.Edit(kind, c.file(), "1.1 ")
		e.InsertUnder(mineAt, c.mine)
		return func() {
			if c.against == elsewhere || c.against == paragraph {
				e.Type(":w\r")
				e.Shows(question)
				e.Type(yes)
				e.Shows("written")
			} else {
				e.Save()
			}
			e.Quit()
		}
	}
}

// script is a shell script: $1 is the file, $2 the number of the line under which the line
// $3 goes, $4 a directory for itself. It says "have_read" when it has read the file, which
// waits until it may save.
func script(body string) func(c *cell) func() {
	return func(c *cell) func() {
		dir := rig.Scratch(c.t, "script")
		cmd := c.a.Command(context.Background(), "bash", "-ec", `have_read() { touch "$dir/read"; until [ -e "$dir/go" ]; do sleep 0.02; done; }
			dir=$4 python=`+python+"\n"+body, "bash", c.file(), fmt.Sprint(mineAt), c.mine, dir)
		cmd.Dir = c.a.Point
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			c.t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		c.t.Cleanup(func() { _ = cmd.Process.Kill() })
		rig.Until(c.t, "it reads", func() error { _, err := os.Stat(filepath.Join(dir, "read")); return err })
		return func() {
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
				c.t.Fatal(err)
			}
			if err := <-done; err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// inPython is a script in Python: f is the file, lines what it reads with the new line
// among them; save() is to be called when it saves, text is what to save.
func inPython(save string) func(c *cell) func() {
	return script(`exec "$python" -c '
import mmap, os, sys, time
f, n, line, dir = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
def have_read():
    open(dir + "/read", "w").close()
    while not os.path.exists(dir + "/go"): time.sleep(0.02)
def with_line(text):
    lines = text.split("\n")
    lines.insert(n, line)
    return "\n".join(lines)
` + save + `
' "$@"`)
}

// copied makes a copy outside of the folder, and of that one with the line.
const copied = `set -m # as at a prompt: each command is a job of its own
cp "$1" "$dir/old"
sed "$2a\\
$3" "$dir/old" > "$dir/new"
have_read
`

// programs are the ways of saving that the suite knows; the first three are what TestBreaks runs.
var programs = []program{
	{name: "VS Code's sequence", start: inPython(`
text = with_line(open(f).read())
have_read()
fd = os.open(f, os.O_RDWR | (0 if os.path.exists(f) else os.O_CREAT))
os.ftruncate(fd, 0)
os.write(fd, text.encode())
os.fsync(fd)
os.close(fd)`)},
	{name: "vim auto", start: editor("vim auto")},
	{name: "rsync", needs: []string{"rsync"}, start: script(copied + `rsync "$dir/new" "$1"`)},
	{name: "vim no", start: editor("vim no")},
	{name: "vim yes", start: editor("vim yes")},
	{name: "vim, typed later", start: later("vim auto")},
	{name: "neovim", start: editor("neovim")},
	{name: "nano", start: editor("nano")},
	{name: "nano, typed later", start: later("nano")},
	{name: "emacs without backups", start: editor("emacs without backups")},
	{name: "emacs, typed later", start: later("emacs without backups")},
	{name: "emacs without locks", start: later("emacs without locks"), leaves: []string{name + "~"}},
	{name: "emacs with auto-revert, typed later", start: later("emacs that reverts"), leaves: []string{name + "~"}},
	{name: "vim without a swap file", start: asking("vim without a swap file", "really want to write", "y")},
	{name: "ed", needs: []string{"ed"}, start: script(`{ printf '%sa\n%s\n.\n!touch %s/read\n' "$2" "$3" "$dir"; until [ -e "$dir/go" ]; do sleep 0.02; done; echo w; } | ed -s "$1"`)},
	{name: "sed -i", start: script(`exec sed -i -e '$e touch '"$dir"'/read; until [ -e '"$dir"'/go ]; do sleep 0.02; done' -e "$2a\\
$3" "$1"`)},
	{name: "perl -i", needs: []string{"perl"}, underWay: true, start: script(`exec perl -i -pe '
BEGIN { $n = splice(@ARGV, 1, 1); $line = splice(@ARGV, 1, 1); $dir = splice(@ARGV, 1, 1) }
if (eof) { open(R, ">", "$dir/read"); close(R); select(undef, undef, undef, 0.02) until -e "$dir/go"; }
$_ .= "$line\n" if $. == $n' "$@"`)},
	{name: "shell >", start: script(`new=$(sed "$2a\\
$3" "$1"; echo .); have_read; printf '%s' "${new%.}" > "$1"`)},
	{name: "shell > at a prompt", start: script(copied + `cat "$dir/new" > "$1"`)},
	{name: "cp at a prompt", start: script(copied + `cp "$dir/new" "$1"`)},
	{name: "shell >>", start: script(`cat "$1" > /dev/null; have_read; printf '%s\n' "$3" >> "$1"`),
		knowsNothing: true, saved: func(c *cell, lines []string) []string { return append(append([]string{}, lines...), c.mine) }},
	{name: "Python's open('w')", start: inPython(`
text = with_line(open(f).read())
have_read()
with open(f, "w") as out:
    time.sleep(0.3)          # truncated, and not written yet
    out.write(text)`)},
	{name: "node's writeFile", needs: []string{"node"}, start: script(`exec node -e '
const fs = require("fs"), [f, n, line, dir] = process.argv.slice(1)
const lines = fs.readFileSync(f, "utf8").split("\n")
fs.writeFileSync(dir + "/read", "")
const timer = setInterval(() => {
  if (!fs.existsSync(dir + "/go")) return
  clearInterval(timer)
  lines.splice(Number(n), 0, line)
  fs.writeFile(f, lines.join("\n"), () => {})
}, 20)
' "$@"`)},
	{name: "save by rename", start: inPython(`
text = with_line(open(f).read())
have_read()
with open(f + ".tmp", "w") as out:
    out.write(text)
    out.flush()
    os.fsync(out.fileno())
os.rename(f + ".tmp", f)`)},
	{name: "sed > and mv", start: script(`sed "$2a\\
$3" "$1" > "$1.new"; have_read; mv "$1.new" "$1"`), leaves: []string{name + ".new"}},
	{name: "GIO's replace", start: inPython(`
from gi.repository import Gio
file = Gio.File.new_for_path(f)
text = with_line(file.load_contents()[1].decode())
have_read()
file.replace_contents(text.encode(), None, False, Gio.FileCreateFlags.NONE)`)},
	{name: "GIO's replace with a backup", start: inPython(`
from gi.repository import Gio
file = Gio.File.new_for_path(f)
text = with_line(file.load_contents()[1].decode())
have_read()
file.replace_contents(text.encode(), None, True, Gio.FileCreateFlags.NONE)`), leaves: []string{name + "~"}},
	{name: "emacs", start: editor("emacs"), leaves: []string{name + "~"}},
	{name: "rsync --inplace", needs: []string{"rsync"}, start: script(copied + `rsync --inplace "$dir/new" "$1"`)},
	{name: "patch", needs: []string{"patch"}, start: script(copied + `diff -u "$dir/old" "$dir/new" > "$dir/diff" || true
if [ -e "$1" ]; then patch -s "$1" < "$dir/diff"; else patch -s -o "$1" "$dir/old" < "$dir/diff"; fi`), leaves: []string{name + ".orig"}},
	{name: "held open", follows: true, start: inPython(`
with open(f, "r+") as out:
    text = with_line(out.read())
    have_read()
    out.seek(0)
    out.write(text)
    out.flush()`)},
	{name: "mmap", follows: true, start: inPython(`
with open(f, "r+b") as out:
    m = mmap.mmap(out.fileno(), 0)
    at = m.find(b"\n")
    have_read()
    m[0:at] = line.encode()[:at].ljust(at, b"_")
    m.flush()`), saved: func(c *cell, lines []string) []string {
		line := c.mine
		if n := len(lines[0]); len(line) > n {
			line = line[:n]
		} else {
			line += strings.Repeat("_", n-len(line))
		}
		return append([]string{line}, lines[1:]...)
	}},
}
