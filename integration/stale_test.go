package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// page is a text of paragraphs, its words chosen at random.
func page(rnd *rand.Rand, paragraphs int) []string {
	words := strings.Fields("the of and harvest barley oats rye field sun rain carter scythe stook rick wagon gleaner chaff stubble barn loft thresh winnow bind twine")
	var lines []string
	for p := range paragraphs {
		for l := range 4 {
			line := fmt.Sprintf("%d.%d", p+1, l+1)
			for range 6 + rnd.Intn(6) {
				line += " " + words[rnd.Intn(len(words))]
			}
			lines = append(lines, line)
		}
		lines = append(lines, "")
	}
	return lines
}

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// insert gives lines with one more under line n (from 1).
func insert(lines []string, n int, line string) []string {
	out := append([]string{}, lines[:n]...)
	return append(append(out, line), lines[n:]...)
}

// scripts are programs that read a file, wait, and save it with a line more under a
// line, each in its own way. $1 is the file, $2 the line's number, $3 the new line, $4 a
// file that says go on. They print "read" when they have read.
var scripts = map[string]struct{ program, script string }{
	// It knows the last line once it has read to the end.
	"sed -i": {"sed", `sed -i -e '$e echo read > '"$4"'.read; until [ -e '"$4"' ]; do sleep 0.01; done' -e "$2a\\
$3" "$1"`},
	"python open w": {"python3", `exec python3 -c '
import os, sys, time
f, n, line, go = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
lines = open(f).read().split("\n")
open(go + ".read", "w").close()
while not os.path.exists(go): time.sleep(0.01)
lines.insert(n, line)
with open(f, "w") as out:
    time.sleep(0.3)          # truncated, and not written yet
    out.write("\n".join(lines))
' "$@"`},
	"node writeFile": {"node", `exec node -e '
const fs = require("fs"), [f, n, line, go] = process.argv.slice(1)
const lines = fs.readFileSync(f, "utf8").split("\n")
fs.writeFileSync(go + ".read", "")
const timer = setInterval(() => {
  if (!fs.existsSync(go)) return
  clearInterval(timer)
  lines.splice(Number(n), 0, line)
  fs.writeFile(f, lines.join("\n"), () => {})
}, 10)
' "$@"`},
	"vs code": {"python3", `exec python3 -c '
import os, sys, time
f, n, line, go = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
lines = open(f).read().split("\n")
open(go + ".read", "w").close()
while not os.path.exists(go): time.sleep(0.01)
lines.insert(n, line)
fd = os.open(f, os.O_RDWR)
os.ftruncate(fd, 0)
os.write(fd, "\n".join(lines).encode())
os.fsync(fd)
os.close(fd)
' "$@"`},
	"save by rename": {"python3", `exec python3 -c '
import os, sys, time
f, n, line, go = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
lines = open(f).read().split("\n")
open(go + ".read", "w").close()
while not os.path.exists(go): time.sleep(0.01)
lines.insert(n, line)
with open(f + ".tmp", "w") as out:
    out.write("\n".join(lines))
    out.flush()
    os.fsync(out.fileno())
os.rename(f + ".tmp", f)
' "$@"`},
}

// Where the new lines go, in the first paragraph: under these lines of the old text.
const (
	mineAt   = 1
	theirsAt = 3
)

// TestStaleSave: a program on A reads a file; B changes other lines of it, and the same
// paragraph; A saves its stale buffer. Both changes are there on both devices, nothing
// is doubled, there is no conflict file, and no editor asks.
func TestStaleSave(t *testing.T) {
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	a, b := rig.Pair(t, nil)

	// stale runs one case: open reads the file on A and gets the new line into its
	// buffer; save saves it.
	stale := func(t *testing.T, file string, open func(line string), save func()) {
		lines := page(rnd, 3)
		other := 6 + rnd.Intn(3) // in the second paragraph
		a.Write(file, text(lines))
		rig.Sees(t, file, text(lines), b)

		mine, theirs := "a line of A in "+file, "a line of B in "+file
		open(mine)
		// Some editors compare whole seconds.
		opened := time.Now().Unix()
		rig.Until(t, "the next second", func() error {
			if time.Now().Unix() == opened {
				return errors.New("still the same one")
			}
			return nil
		})
		// B rewrites a word in another paragraph and adds a line to the one A is in.
		changed := lines[other-1] + " reaped"
		b.Shell(`sed -i -e "$2s/\$/ reaped/" -e "$3a\\
$4" "$1"`, file, fmt.Sprint(other), fmt.Sprint(theirsAt), theirs)
		want := append([]string{}, lines...)
		want[other-1] = changed
		rig.Sees(t, file, text(insert(want, theirsAt, theirs)), a)
		save()
		want = insert(insert(want, theirsAt, theirs), mineAt, mine)
		rig.Sees(t, file, text(want), a, b)
	}
	names := func(t *testing.T, file string) {
		t.Helper()
		for _, d := range []*rig.Device{a, b} {
			rig.Until(t, "no other file on "+d.Name, func() error {
				out := d.Shell(`ls -A`)
				for _, n := range strings.Fields(strings.ReplaceAll(out, " ", "_")) {
					if strings.HasPrefix(n, strings.TrimSuffix(file, ".txt")) && n != file && n != file+"~" {
						return fmt.Errorf("there is %s", n)
					}
				}
				return nil
			})
		}
	}

	t.Run("an old text is put back", func(t *testing.T) {
		// What is in a script counts as one for what it has read, but for this.
		a.Write("back.txt", "one\ntwo\nthree\n")
		rig.Sees(t, "back.txt", "one\ntwo\nthree\n", a, b)
		b.Shell(`sed -i s/three/THREE/ back.txt`)
		rig.Sees(t, "back.txt", "one\ntwo\nTHREE\n", a)
		a.Write("back.txt", "one\ntwo\nthree\n")
		rig.Sees(t, "back.txt", "one\ntwo\nthree\n", a, b)
	})

	editors := rig.Editors()
	if rig.Small() {
		editors = editors[2:3]
	}
	for i, name := range editors {
		t.Run(name, func(t *testing.T) {
			file := fmt.Sprintf("editor%d.txt", i)
			var e *rig.Editor
			stale(t, file, func(line string) {
				e = a.On(t).Edit(name, file, "1.1 ")
				e.InsertUnder(mineAt, line)
			}, func() { e.Save() })
			e.Quit()
			names(t, file)
		})
	}
	// The other device's change comes before the first key is typed. Emacs asks here, with
	// reason (docs/editors.md).
	for i, name := range []string{"vim auto", "nano"} {
		if rig.Small() {
			break
		}
		t.Run(name+", typed later", func(t *testing.T) {
			file := fmt.Sprintf("later%d.txt", i)
			var e *rig.Editor
			var line string
			stale(t, file, func(l string) {
				e, line = a.On(t).Edit(name, file, "1.1 "), l
			}, func() {
				e.InsertUnder(mineAt, line)
				e.Save()
			})
			e.Quit()
			names(t, file)
		})
	}
	for name, s := range scripts {
		if rig.Small() && name != "vs code" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			need(t, s.program)
			file := fmt.Sprintf("script-%s.txt", strings.ReplaceAll(name, " ", "-"))
			gone := filepath.Join(rig.Scratch(t, "go"), "on")
			done := make(chan error, 1)
			stale(t, file, func(line string) {
				cmd := a.Command(context.Background(), "sh", "-ec", s.script, "sh", file, fmt.Sprint(mineAt), line, gone)
				cmd.Dir = a.Point
				cmd.Stderr = os.Stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				go func() { done <- cmd.Wait() }()
				rig.Until(t, name+" reads", func() error { _, err := os.Stat(gone + ".read"); return err })
			}, func() {
				if err := os.WriteFile(gone, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				// Nobody but the writer ever sees the file empty.
				for {
					got, err := b.Read(file)
					if err != nil || got == "" {
						t.Fatalf("b sees %q, %v while a saves", got, err)
					}
					select {
					case err := <-done:
						if err != nil {
							t.Fatal(err)
						}
						return
					default:
					}
				}
			})
			names(t, file)
		})
	}
}
