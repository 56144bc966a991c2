package crdt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// writeWhole saves text as an object, as a program does that had read base.
func (d *device) writeWhole(path string, base crdt.Version, text string) (v crdt.Version) {
	d.t.Helper()
	c, err := d.home.Whole(crdt.NewContent{Text: text})
	if err != nil {
		d.t.Fatal(err)
	}
	n := d.node(path)
	d.update(func(tx *crdt.Tx) (err error) { v, err = tx.Write(n.Node, base, c); return err })
	return v
}

// contents lists what the folder shows, each with what it holds, in the order of the names.
func (d *device) contents() string {
	d.t.Helper()
	is, err := d.f.ReadDir(crdt.Root)
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, i := range is {
		c, err := d.f.ContentAt(i.Node, i.Version)
		kind := "text"
		if c.Object != nil {
			kind = "whole"
		}
		if err == nil {
			c, err = d.home.Readable(c)
		}
		if err != nil {
			d.t.Fatal(err)
		}
		beside := ""
		if i.Alt {
			beside = "beside "
		}
		out = append(out, fmt.Sprintf("%s%s %q", beside, kind, c.Text))
	}
	return strings.Join(out, ", ")
}

// blame is the device of each line.
func (d *device) blame(path string) string {
	d.t.Helper()
	lines, err := d.f.Annotate(d.node(path).Node)
	if err != nil {
		d.t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s:%s ", l.DeviceName, l.Text)
	}
	return b.String()
}

const five = "one\ntwo\nthree\nfour\nfive\n"

// What two devices write apart into a file that is kept whole is there twice, and never mixed.
func TestWholeApart(t *testing.T) {
	a, b := pair(t)
	a.create("lock", five)
	sync(t, a, b)
	base := a.writeWhole("lock", a.node("lock").Version, five+"six\n")
	sync(t, a, b)
	a.writeWhole("lock", base, "of anna\n"+five)
	b.writeWhole("lock", base, five+"of bert\n")
	sync(t, a, b)
	same(t, a, b)
	for _, d := range []*device{a, b} {
		got := d.contents()
		if strings.Count(got, "whole") != 2 || !strings.Contains(got, fmt.Sprintf("%q", "of anna\n"+five)) || !strings.Contains(got, fmt.Sprintf("%q", five+"of bert\n")) {
			t.Errorf("shown: %s", got)
		}
		if s := d.f.Status(); len(s.Beside) != 1 {
			t.Errorf("status names %v", s.Beside)
		}
	}
	// Who has seen both ends the one beside, also with what stands under the name.
	n := a.node("lock")
	main := a.read("lock")
	seen := joined(main.Version, beside(t, a))
	a.update(func(tx *crdt.Tx) error {
		_, err := tx.Write(n.Node, seen, crdt.NewContent{Object: main.Object})
		return err
	})
	sync(t, a, b)
	same(t, a, b)
	if got := b.contents(); strings.Contains(got, "beside") {
		t.Errorf("after a save of who had seen both: %s", got)
	}
	if revs, err := b.f.Log(n.Node); err != nil || len(revs) != 5 {
		t.Errorf("%d versions in the history, %v", len(revs), err)
	}
}

func beside(t *testing.T, d *device) crdt.Version {
	t.Helper()
	is, err := d.f.ReadDir(crdt.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range is {
		if i.Alt {
			return i.Version
		}
	}
	t.Fatal("nothing is shown beside the file")
	return nil
}

func joined(v, w crdt.Version) crdt.Version { return append(append(crdt.Version{}, v...), w...) }

// A save that is kept whole and one that is not, made apart, are both kept.
func TestWholeAndHunks(t *testing.T) {
	a, b := pair(t)
	a.create("f", five)
	sync(t, a, b)
	base := a.node("f").Version
	a.writeWhole("f", base, "whole\n"+five)
	b.write("f", base, five+"hunk\n")
	b.write("f", b.node("f").Version, five+"hunk\nanother\n")
	sync(t, a, b)
	same(t, a, b)
	got := b.contents()
	if !strings.Contains(got, fmt.Sprintf("whole %q", "whole\n"+five)) || !strings.Contains(got, fmt.Sprintf("text %q", five+"hunk\nanother\n")) {
		t.Errorf("shown: %s", got)
	}
}

// A file that stops being kept whole merges from the first save on, and one that began to be
// keeps its history.
func TestWholeToText(t *testing.T) {
	a, b := pair(t)
	a.create("f", five)
	sync(t, a, b)
	b.writeWhole("f", b.node("f").Version, strings.Replace(five, "two", "zwei", 1))
	sync(t, a, b)
	base := a.node("f").Version
	a.write("f", base, "zero\n"+strings.Replace(five, "two", "zwei", 1))
	b.write("f", base, strings.Replace(five, "two", "zwei", 1)+"six\n")
	sync(t, a, b)
	same(t, a, b)
	want := "zero\none\nzwei\nthree\nfour\nfive\nsix\n"
	if got := a.contents(); got != fmt.Sprintf("text %q", want) {
		t.Errorf("shown: %s", got)
	}
	for _, d := range []*device{a, b} {
		equalText(t, "blame", d.blame("f"), "anna:zero anna:one bert:zwei anna:three anna:four anna:five bert:six ")
	}
	a.reopen()
	same(t, a, b)
	b.writeWhole("f", b.node("f").Version, want+"seven")
	sync(t, a, b)
	equalText(t, "blame", a.blame("f"), "anna:zero anna:one bert:zwei anna:three anna:four anna:five bert:six bert:seven ")
}

// Content with a NUL is no text: what was before it and what comes after are in the history, and
// what two devices make of it apart is not mixed.
func TestTextObjectText(t *testing.T) {
	a, b := pair(t)
	n := a.create("f", five)
	a.picture("f", "\x00bytes")
	a.write("f", a.node("f").Version, five+"again\n")
	a.picture("f", "\x00more bytes")
	sync(t, a, b)
	base := a.node("f").Version
	a.write("f", base, "of anna\n")
	b.write("f", base, "of bert\n")
	sync(t, a, b)
	same(t, a, b)
	got := a.contents()
	if !strings.Contains(got, `text "of anna\n"`) || !strings.Contains(got, `text "of bert\n"`) {
		t.Errorf("shown: %s", got)
	}
	var held []string
	revs, err := b.f.Versions(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range revs {
		c, err := b.f.ContentAt(n, r.Version)
		if err != nil {
			t.Fatal(err)
		}
		if c.Object != nil {
			c.Text = "an object"
		}
		held = append(held, fmt.Sprintf("%q", c.Text))
	}
	want := fmt.Sprintf("%q \"an object\" %q \"an object\"", five, five+"again\n")
	if got := strings.Join(held, " "); !strings.HasPrefix(got, want) || len(held) != 6 {
		t.Errorf("the history holds %s", got)
	}
	// Both make the same of it: that is one.
	base = a.node("f").Version
	both := joined(base, beside(t, a))
	for _, d := range []*device{a, b} {
		d.write("f", both, "of both\n")
	}
	sync(t, a, b)
	same(t, a, b)
	if got := b.contents(); got != `text "of both\n"` {
		t.Errorf("shown: %s", got)
	}
}

// A restore leaves a file what it is: kept whole, or not.
func TestRestoreWhole(t *testing.T) {
	a, _ := pair(t)
	n := a.create("f", "first\n")
	a.seal()
	a.writeWhole("f", a.node("f").Version, "second\n")
	a.seal()
	revs, err := a.f.Versions(n)
	if err != nil {
		t.Fatal(err)
	}
	restore := func(i int, want string) {
		t.Helper()
		if _, err := a.f.Restore(crdt.RestoreRequest{Path: "f", Version: revs[i].Version.String()}); err != nil {
			t.Fatal(err)
		}
		equalText(t, "restored", a.contents(), want)
	}
	restore(0, `whole "first\n"`)
	a.write("f", a.node("f").Version, "third\n")
	restore(1, `text "second\n"`)
}

// A version that says another size of its object than it has keeps nobody from writing.
func TestWholeOfAnotherSize(t *testing.T) {
	a, _ := pair(t)
	for _, wrong := range []int64{-1, 1} {
		name := fmt.Sprint("f", wrong)
		hash, size, err := a.home.Objects().Put(strings.NewReader("one\n"))
		if err != nil {
			t.Fatal(err)
		}
		a.update(func(tx *crdt.Tx) error {
			_, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(hash), Size: size + wrong}})
			return err
		})
		if _, ok, err := a.home.TextOf(*a.node(name).Object); ok || err != nil {
			t.Errorf("%s is a text: %v, %v", name, ok, err)
		}
		a.write(name, a.node(name).Version, "two\n")
		if got := a.read(name).Text; got != "two\n" {
			t.Errorf("%s is %q", name, got)
		}
	}
}
