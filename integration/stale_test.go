package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strings"
	"sync"
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

// What B does to a file that a program on A has read and not yet saved.
const (
	elsewhere = "a change elsewhere"
	paragraph = "a change in the paragraph"
	renamed   = "a rename"
	removed   = "a removal"
)

var remotes = []string{elsewhere, paragraph, renamed, removed}

// The lines under which new lines go: both in the first paragraph, or B's in the third.
const (
	mineAt     = 1
	theirsAt   = 3
	theirsAway = 12
)

// cell is one program against one change of B: a file in a directory of its own.
type cell struct {
	t       *testing.T
	a       *rig.Device
	against string
	dir     string
	lines   []string // what the program reads
	mine    string   // what it adds
	theirs  string   // what B adds
}

const (
	name    = "f.txt"
	newName = "renamed.txt"
)

func (c *cell) file() string { return c.dir + "/" + name }

// changed is what B makes of the lines.
func (c *cell) changed(lines []string) []string {
	switch c.against {
	case paragraph, renamed:
		return insert(lines, theirsAt, c.theirs)
	case elsewhere:
		lines = slices.Clone(lines)
		lines[6] += " reaped"
		return insert(lines, theirsAway, c.theirs)
	}
	return lines
}

// theirFiles are the files in the cell's directory once B has changed them.
func (c *cell) theirFiles() map[string]string {
	switch c.against {
	case renamed:
		return map[string]string{newName: text(c.changed(c.lines))}
	case removed:
		return map[string]string{}
	}
	return map[string]string{name: text(c.changed(c.lines))}
}

// bothFiles are the files once the program has saved, too.
func (c *cell) bothFiles(p program) map[string]string {
	saved := p.merge(c, c.lines)
	if p.knowsNothing {
		saved = p.merge(c, nil)
	}
	switch {
	case c.against == renamed && p.follows:
		return map[string]string{newName: text(p.merge(c, c.changed(c.lines)))}
	case c.against == renamed:
		// The program made the name anew, as on any disk.
		return map[string]string{newName: text(c.changed(c.lines)), name: text(saved)}
	case c.against == removed:
		return map[string]string{name: text(saved)}
	}
	return map[string]string{name: text(p.merge(c, c.changed(c.lines)))}
}

// farHand changes files as B: standard input has the new files of each directory; files
// that are not among them are removed, or renamed if there is a new name.
const farHand = `
import json, os, sys
for dir, files in json.load(sys.stdin).items():
    old = [n for n in os.listdir(dir) if n == "f.txt" and n not in files]
    for n in old:
        if files: os.rename(dir + "/" + n, dir + "/" + list(files)[0])
        else: os.remove(dir + "/" + n)
    for n, want in files.items():
        with open(dir + "/" + n) as f: now = f.read()
        if now != want:
            with open(dir + "/" + n, "w") as f: f.write(want)
`

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestStaleSave: programs on A have read a file each; B changes it, in another paragraph
// or in the same one, renames it or removes it; then each program saves what it had read
// with a line more. Nothing that either wrote is lost or doubled, on both devices, there
// is no conflict file, and no editor asks.
func TestStaleSave(t *testing.T) {
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	a, b := rig.Pair(t, nil)
	onA, onB := newLooker(t, a), newLooker(t, b)

	list, against := programs, remotes
	if rig.Small() {
		list, against = programs[:3], remotes[1:2]
	}
	type job struct {
		program
		*cell
	}
	var jobs []job
	begin := map[string]string{}
	for i, p := range list {
		if p.separate {
			continue
		}
		for j, r := range against {
			c := &cell{a: a, against: r, dir: fmt.Sprintf("%d.%d", i, j), lines: page(rnd, 3)}
			c.mine, c.theirs = fmt.Sprintf("a line of A in %s, %s", p.name, r), fmt.Sprintf("a line of B in %s, %s", p.name, r)
			jobs = append(jobs, job{p, c})
			begin[c.dir] = text(c.lines)
		}
	}
	a.ShellIn(asJSON(t, begin), `exec `+python+` -c '
import json, os, sys
for dir, text in json.load(sys.stdin).items():
    os.mkdir(dir)
    with open(dir + "/f.txt", "w") as f: f.write(text)'`)
	temporary := func(n string) bool { return n != name && n != newName }
	for _, j := range jobs {
		rig.Until(t, "b has "+j.dir, func() error { return has(onB, j.dir, map[string]string{name: text(j.lines)}, temporary) })
	}

	var reading, all sync.WaitGroup
	changed := make(chan struct{})
	atOnce := make(chan struct{}, 6)
	for _, j := range jobs {
		reading.Add(1)
		all.Go(func() {
			read := sync.OnceFunc(reading.Done)
			defer read() // also where -run leaves it out
			t.Run(j.program.name+" against "+j.against, func(t *testing.T) {
				defer read()
				c := j.cell
				c.t, c.a = t, a.On(t)
				atOnce <- struct{}{}
				save := func() func() {
					defer func() { <-atOnce }()
					return j.begin(c)
				}()
				read()
				<-changed
				func() {
					atOnce <- struct{}{}
					defer func() { <-atOnce }()
					save()
				}()
				want := c.bothFiles(j.program)
				for _, l := range []*looker{onA, onB} {
					rig.Until(t, "both changes", func() error {
						return has(l, c.dir, want, func(n string) bool { return slices.Contains(j.leaves, n) })
					})
				}
			})
		})
	}
	reading.Wait()
	func() {
		defer close(changed)
		nextSecond(t) // some editors compare whole seconds
		far := map[string]map[string]string{}
		for _, j := range jobs {
			far[j.dir] = j.theirFiles()
		}
		b.ShellIn(asJSON(t, far), `exec `+python+` -c "$1"`, farHand)
		for _, j := range jobs {
			if !j.underWay {
				rig.Until(t, "a sees what b did to "+j.dir, func() error { return has(onA, j.dir, j.theirFiles(), temporary) })
			}
		}
	}()
	all.Wait()
	sameTrees(t, a, b)
}

// has says what is wrong where a directory does not hold just these files, but for those
// to ignore.
func has(l *looker, dir string, want map[string]string, ignore func(name string) bool) error {
	got, err := l.files(dir)
	if err != nil {
		return err
	}
	maps.DeleteFunc(got, func(n, _ string) bool { return ignore(n) })
	if maps.Equal(got, want) {
		return nil
	}
	return rig.SameText(asText(got), asText(want))
}

func asText(files map[string]string) string {
	var s strings.Builder
	for _, n := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&s, "--- %s\n%s", n, files[n])
	}
	return s.String()
}

func nextSecond(t *testing.T) {
	t.Helper()
	begun := time.Now().Unix()
	rig.Until(t, "the next second", func() error {
		if time.Now().Unix() == begun {
			return errors.New("still the same one")
		}
		return nil
	})
}

// TestOldTextIsPutBack: who writes an old version means it, even where what it has read
// would make a stale save of it.
func TestOldTextIsPutBack(t *testing.T) {
	a, b := rig.Pair(t, nil)
	a.Write("back.txt", "one\ntwo\nthree\n")
	rig.Sees(t, "back.txt", "one\ntwo\nthree\n", a, b)
	b.Shell(`sed -i s/three/THREE/ back.txt`)
	rig.Sees(t, "back.txt", "one\ntwo\nTHREE\n", a)
	a.Write("back.txt", "one\ntwo\nthree\n")
	rig.Sees(t, "back.txt", "one\ntwo\nthree\n", a, b)
}

// python is Debian's own: a version manager's stand-in takes longer than the test.
var python = func() string {
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		return "/usr/bin/python3"
	}
	return "python3"
}()
