package integration

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// held is one file that a program on A holds open, in a directory of its own.
type held struct {
	n       int
	how     string // the program writes
	against string // what B does meanwhile
	object  bool
	begins  string // the file
}

// How the program writes, which has read all of the file, and what else B may do than remotes.
const (
	inPlace  = "in place"
	anew     = "cut and written anew"
	inHalves = "read in two halves and written anew"
	cutOff   = "cut short and gone on with"
	atEnd    = "with O_APPEND"
	sought   = "at the end that it looks for"
	mapped   = "through a mapping"

	dirRenamed = "a rename of its directory"
	madeAnew   = "another file of its name"
)

func (h *held) dir() string { return fmt.Sprint(h.n) }

func (h *held) String() string {
	return map[bool]string{false: "a text ", true: "an object "}[h.object] + h.how + " against " + h.against
}

// marks are lines that the program changes, each into the next one, without changing the size.
var marks = []string{"this is the end", "this is THE end", "this is THE END"}

// wrote is what the program's write number step, 1 or 2, makes of a text.
func (h *held) wrote(text string, step int) string {
	switch h.how {
	case cutOff:
		return text[:h.cutAt(text, step)] + fmt.Sprintf("cut %d\n", step)
	case atEnd, sought:
		return text + fmt.Sprintf("appended %d\n", step)
	}
	return strings.Replace(text, marks[step-1], marks[step], 1)
}

func (h *held) cutAt(text string, step int) int {
	return strings.Index(text, []string{"39.1 ", "cut 1\n"}[step-1])
}

// write has the program make its write number step, and gives what it makes of what it knows.
func (h *held) write(t *testing.T, p *holder, knows string, step int) string {
	t.Helper()
	to := h.wrote(knows, step)
	switch h.how {
	case inPlace:
		p.do(t, "put", h.n, strings.Index(knows, marks[step-1]), marks[step])
	case inHalves:
		if step == 1 {
			if rest := p.do(t, "read", h.n, len(knows)); knows[len(knows)/2:] != rest {
				t.Errorf("%v: the second half is %q", h, rest)
			}
		}
		p.do(t, "rewrite", h.n, to)
	case anew:
		p.do(t, "rewrite", h.n, to)
	case cutOff:
		at := h.cutAt(knows, step)
		p.do(t, "cut", h.n, at)
		p.do(t, "put", h.n, at, to[at:])
	case atEnd, sought:
		p.do(t, "append", h.n, to[len(knows):])
	case mapped:
		p.do(t, "replace", h.n, marks[step-1], marks[step])
	}
	return to
}

// edited is what B's edit number step, 1 or 2, makes of a text.
func (h *held) edited(text string, step int) string {
	under := "2.2 "
	if h.against == paragraph {
		under = "30.1 "
	}
	lines := strings.SplitAfter(text, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, under) })
	return strings.Join(slices.Insert(lines, i+1, fmt.Sprintf("%d of B\n", step)), "")
}

// far is what B does first: a script with the directory as $1, or an edit of the file. Where
// the file is then, and what is there.
func (h *held) far() (script, dir string, files map[string]string) {
	dir = h.dir()
	switch h.against {
	case renamed:
		return "mv $1/f.txt $1/renamed.txt", dir, map[string]string{newName: h.begins}
	case dirRenamed:
		return "mv $1 $1.moved", dir + ".moved", map[string]string{name: h.begins}
	case removed:
		return "rm $1/f.txt", dir, map[string]string{}
	case madeAnew:
		return "rm $1/f.txt; echo another > $1/f.txt", dir, map[string]string{name: "another\n"}
	}
	return "", dir, map[string]string{name: h.edited(h.begins, 1)}
}

// file is the name of what the program holds, once it has written after what B did first.
func (h *held) file() string {
	switch h.against {
	case renamed:
		return newName
	case madeAnew:
		return "f (a).txt"
	}
	return name
}

// now are the files after so many writes of the program and edits of B.
func (h *held) now(writes, edits int) map[string]string {
	if h.against == elsewhere || h.against == paragraph {
		edits++
	}
	_, _, files := h.far()
	text := h.begins
	for i := range edits {
		text = h.edited(text, i+1)
	}
	for i := range writes {
		text = h.wrote(text, i+1)
	}
	files[h.file()] = text
	return files
}

// both are the contents of the files in the end, if it is an object: the program wrote twice
// what it had, and B has edited twice.
func (h *held) both() []string {
	if h.against != elsewhere && h.against != paragraph {
		return slices.Sorted(maps.Values(h.now(2, 0)))
	}
	had, theirs := h.begins, h.edited(h.edited(h.begins, 1), 2)
	if slices.Contains([]string{atEnd, sought, mapped}, h.how) {
		had = h.edited(had, 1) // what is there is what it writes to
	}
	both := []string{h.wrote(h.wrote(had, 1), 2), theirs}
	slices.Sort(both)
	return both
}

// hands writes files on a device, with their content by path on standard input.
const hands = `exec ` + "%s" + ` -c '
import json, os, sys
for path, text in json.load(sys.stdin).items():
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f: f.write(text)'`

// TestHeld: a program on A opens files for reading and writing and keeps them. B edits them,
// renames or removes them; later the program writes, B edits again, and the program goes on
// writing. Nothing of either side is lost, and what is shown on A while the program holds a
// text, and does not write, is what both made of it.
func TestHeld(t *testing.T) {
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	a, b := rig.Pair(t, nil)
	onA, onB := newLooker(t, a), newLooker(t, b)
	all := heldFiles(rnd)
	write := func(d *rig.Device, of func(h *held) (path, text string)) {
		t.Helper()
		files := map[string]string{}
		for _, h := range all {
			if path, text := of(h); path != "" {
				files[path] = text
			}
		}
		d.ShellIn(asJSON(t, files), fmt.Sprintf(hands, python))
	}
	see := func(what string, l *looker, want func(h *held) map[string]string) {
		t.Helper()
		for _, h := range all {
			_, dir, _ := h.far()
			if files := want(h); files != nil {
				rig.Until(t, fmt.Sprintf("%v: %s", h, what), func() error {
					return has(l, dir, files, func(string) bool { return false })
				})
			}
		}
	}
	write(a, func(h *held) (string, string) { return h.dir() + "/" + name, h.begins })
	for _, h := range all {
		rig.Until(t, "b has it", func() error {
			return has(onB, h.dir(), map[string]string{name: h.begins}, func(string) bool { return false })
		})
	}

	p := newHolder(t, a)
	knows := map[*held]string{}
	for _, h := range all {
		p.do(t, "open", h.n, h.dir()+"/"+name, h.how == atEnd)
		size := len(h.begins)
		if h.how == inHalves {
			size /= 2
		}
		if got := p.do(t, "read", h.n, size); got != h.begins[:size] {
			t.Fatalf("%v: the program reads %q", h, got)
		}
		if h.how == mapped {
			p.do(t, "map", h.n)
		}
		knows[h] = h.begins
	}
	for _, h := range all {
		if script, _, _ := h.far(); script != "" {
			b.Shell(script, h.dir())
		}
	}
	write(b, func(h *held) (string, string) {
		if script, dir, files := h.far(); script == "" {
			return dir + "/" + name, files[name]
		}
		return "", ""
	})
	first := func(h *held) map[string]string { _, _, files := h.far(); return files }
	see("a sees what b did", onA, first)
	nextSecond(t)
	nextSecond(t) // nothing that is kept for a second helps
	see("and the kernel keeps it", onA, first)
	for _, h := range all {
		p.do(t, "stat", h.n)
		knows[h] = h.write(t, p, knows[h], 1)
	}
	texts := func(writes, edits int) func(h *held) map[string]string {
		return func(h *held) map[string]string {
			if h.object {
				return nil // one that is open is published when it is closed
			}
			return h.now(writes, edits)
		}
	}
	see("b sees the write", onB, texts(1, 0))
	write(b, func(h *held) (string, string) {
		_, dir, files := h.far()
		switch {
		case !h.object:
			return dir + "/" + h.file(), h.now(1, 1)[h.file()]
		case h.against == elsewhere || h.against == paragraph:
			return dir + "/" + name, h.edited(files[name], 2)
		}
		return "", ""
	})
	see("a sees b's edit of what is held", onA, texts(1, 1))
	for _, h := range all {
		knows[h] = h.write(t, p, knows[h], 2)
	}
	for _, l := range []*looker{onA, onB} {
		see("both writes, and all edits", l, texts(2, 1))
	}
	for _, h := range all {
		want := h.now(2, 1)[h.file()]
		if h.object {
			want = knows[h]
			if h.how == atEnd || h.how == sought || h.how == mapped {
				continue
			}
		}
		if got := p.do(t, "content", h.n); got != want {
			t.Errorf("%v: in the end the program reads\n%s\nand not\n%s", h, got, want)
		}
	}
	for _, h := range all {
		p.do(t, "close", h.n)
	}
	for _, h := range all {
		if !h.object {
			continue
		}
		for _, l := range []*looker{onA, onB} {
			rig.Until(t, fmt.Sprintf("%v: both are shown", h), func() error {
				_, dir, _ := h.far()
				files, err := l.files(dir)
				if err != nil {
					return err
				}
				return rig.SameText(strings.Join(slices.Sorted(maps.Values(files)), "\n---\n"), strings.Join(h.both(), "\n---\n"))
			})
		}
	}
	for _, l := range []*looker{onA, onB} {
		see("closed", l, texts(2, 1))
	}
	sameTrees(t, a, b)
}

// heldFiles are all of them.
func heldFiles(rnd *rand.Rand) (all []*held) {
	ways, against := []string{inPlace, anew, inHalves, cutOff, atEnd, sought, mapped}, append(slices.Clone(remotes), dirRenamed, madeAnew)
	if rig.Small() {
		ways, against = ways[:1], against[:1]
	}
	for _, object := range []bool{false, true} {
		for _, how := range ways {
			for _, against := range against {
				if object && how == inHalves {
					continue
				}
				h := &held{n: len(all), how: how, against: against, object: object}
				lines := page(rnd, 40) // more than two pages of memory
				lines[slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "30.3 ") })] = marks[0]
				if h.begins = text(lines); object {
					h.begins = "PNG\x00\n" + h.begins
				}
				all = append(all, h)
			}
		}
	}
	return all
}
