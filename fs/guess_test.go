package fs

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func longText(what string) string {
	var sb strings.Builder
	for i := range 12_000 {
		fmt.Fprintf(&sb, "line %d of %s\n", i, what)
	}
	return sb.String()
}

// A long text that is written beside another one is compared with it while it is written, and is
// what was written whatever it was taken for.
func TestGuess(t *testing.T) {
	d := mounted(t)
	was, other := longText("a text"), longText("another text")
	changed := strings.Replace(was, "line 6000 of", "LINE 6000 of", 1)
	for _, c := range []struct {
		name, aside string
		old, new    string
		other       string // is read after it
		tracked     string // what it is compared with, "" for nothing
	}{
		{name: "one line changed", aside: "f.txt.new", old: was, new: changed, tracked: "f.txt"},
		{name: "by its name", aside: ".f.txt.Xy1", old: was, new: changed, other: other, tracked: "f.txt"},
		{name: "another one", aside: "tmp123", old: was, new: changed, other: other, tracked: "other"},
		{name: "nothing alike", aside: "tmp123", old: was, new: other, tracked: "f.txt"},
		{name: "no text any more", aside: "tmp123", old: was, new: changed + "\x00", tracked: "f.txt"},
		{name: "cut in a character", aside: "tmp123", old: was, new: changed + "\xc3", tracked: "f.txt"},
		{name: "short", aside: "tmp123", old: was, new: "short\n"},
		{name: "of a short one", aside: "tmp123", old: "short\n", new: was},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := strings.ReplaceAll(c.name, " ", "-")
			if err := os.Mkdir(d.path(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			at := func(name string) string { return dir + "/" + name }
			d.write(at("f.txt"), c.old)
			if c.other != "" {
				d.write(at("other"), c.other)
			}
			d.flush()
			d.read(at("f.txt"))
			if c.other != "" {
				d.read(at("other"))
			}
			f, err := os.Create(d.path(at(c.aside)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for rest := c.new; rest != ""; {
				n := min(len(rest), 50_000)
				write(t, f, rest[:n])
				rest = rest[n:]
			}
			node, err := d.f.Resolve(at("f.txt"))
			if err != nil {
				t.Fatal(err)
			}
			like := ""
			d.s.fs.mu.Lock()
			in := d.s.fs.over[place{node.Parent, c.aside}]
			d.s.fs.mu.Unlock()
			in.mu.Lock()
			if k := in.sess.track; k != nil {
				like = k.like.String()
			}
			in.mu.Unlock()
			switch {
			case c.tracked == "f.txt":
				equal(t, "compared with", like, c.old)
			case c.tracked == "other":
				equal(t, "compared with", like, c.other)
			default:
				equal(t, "compared with", like, "")
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(d.path(at(c.aside)), d.path(at("f.txt"))); err != nil {
				t.Fatal(err)
			}
			equal(t, "folder", d.text(at("f.txt")), c.new)
			if now, err := d.f.Resolve(at("f.txt")); err != nil || now.Node != node.Node {
				t.Errorf("it is another file now: %v", err)
			}
			// And who keeps it as a new file has what was written, too.
			d.write(at("kept"), c.new)
			d.flush()
			equal(t, "kept beside", d.text(at("kept")), c.new)
		})
	}
}

// Only so many texts are remembered, each of a program once.
func TestLately(t *testing.T) {
	var l lately
	who := &caller{tid: 1}
	for i := range 2 * latelyMost {
		node := testRecord(uint64(i)).Node
		l.note(node, who)
		l.note(node, who)
	}
	l.note(testRecord(latelyMost).Node, who)
	list := l.all()
	if len(list) != latelyMost || list[len(list)-1].node != testRecord(latelyMost).Node {
		t.Errorf("%d: %v", len(list), list)
	}
}
