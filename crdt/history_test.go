package crdt_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// told is a history in few words, oldest first.
func told(revs []crdt.Revision) string {
	var b strings.Builder
	for i := len(revs) - 1; i >= 0; i-- {
		r := revs[i]
		fmt.Fprintf(&b, "%s %s", r.DeviceName, r.Op)
		if r.From != "" {
			fmt.Fprintf(&b, " %s →", r.From)
		}
		fmt.Fprintf(&b, " %s +%d-%d; ", r.Path, r.Added, r.Removed)
	}
	return b.String()
}

func (d *device) history(path string) string {
	d.t.Helper()
	revs, err := d.f.History(path, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	return told(revs)
}

func (d *device) mkdir(path string) {
	d.t.Helper()
	dir, name := split(path)
	parent := d.node(dir).Node
	d.update(func(tx *crdt.Tx) error { _, err := tx.Mkdir(parent, name, 0o755); return err })
}

func (d *device) move(from, to string) {
	d.t.Helper()
	dir, name := split(to)
	n, parent := d.node(from).Node, d.node(dir).Node
	d.update(func(tx *crdt.Tx) error { return tx.Move(n, parent, name) })
}

func (d *device) remove(path string) {
	d.t.Helper()
	n := d.node(path).Node
	d.update(func(tx *crdt.Tx) error { return tx.Remove(n) })
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// seal ends the entry in the making, so that what follows is another one.
func (d *device) seal() {
	d.t.Helper()
	if _, err := d.f.Frontier(); err != nil {
		d.t.Fatal(err)
	}
}

func TestHistory(t *testing.T) {
	a, b := pair(t)
	a.mkdir("old")
	a.create("old/plan", "one\n")
	a.seal()
	v := a.write("old/plan", a.read("old/plan").Version, "one\ntwo\n")
	sync(t, a, b)
	b.write("old/plan", v, "one\n2\n")
	b.seal()
	b.move("old", "new")
	sync(t, a, b)
	a.move("new/plan", "new/done")
	a.create("other", "x")
	sync(t, a, b)
	b.remove("new/done")
	sync(t, a, b)
	b.reopen()
	plan := "anna create old/plan +4-0; anna write old/plan +4-0; bert write old/plan +2-4; "
	end := "anna rename new/plan → new/done +0-0; bert remove new/done +0-0; "
	for _, d := range []*device{a, b} {
		for path, want := range map[string]string{
			"new/done": plan + end,
			"new/plan": plan + end,
			"old/plan": plan + end,
			"new":      "anna create old +0-0; " + plan + "bert rename old → new +0-0; " + end,
			"other":    "anna create other +1-0; ",
		} {
			equalText(t, path, d.history(path), want)
		}
		if _, err := d.f.History("nothing", 0); !errors.Is(err, crdt.ErrNotExist) {
			t.Errorf("of nothing: %v", err)
		}
		revs, err := d.f.History("", 2)
		if err != nil || len(revs) != 2 || revs[0].Op != "remove" || revs[0].Change.IsZero() {
			t.Errorf("the newest two: %s, %v", told(revs), err)
		}
		if all := d.history(""); !strings.Contains(all, "create other") || !strings.HasSuffix(all, "bert remove new/done +0-0; ") {
			t.Errorf("all: %s", all)
		}
	}
}

func equalText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// shape lists a past tree with its texts.
func shape(t *testing.T, p *crdt.Past) string {
	t.Helper()
	var b strings.Builder
	var walk func(dir crdt.NodeID, path string)
	walk = func(dir crdt.NodeID, path string) {
		is, err := p.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range is {
			fmt.Fprintf(&b, "%s%s", path, i.Name)
			switch i.Kind {
			case crdt.Dir:
				b.WriteString("/ ")
				walk(i.Node, path+i.Name+"/")
			case crdt.Symlink:
				b.WriteString("→" + i.Target + " ")
			default:
				c, err := p.Content(i)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := p.Size(i); err != nil || n != int64(len(c.Text)) {
					t.Errorf("%s: size %d, %v, but %q", i.Name, n, err, c.Text)
				}
				fmt.Fprintf(&b, "=%s ", strings.ReplaceAll(c.Text, "\n", ","))
			}
		}
	}
	walk(crdt.Root, "")
	return strings.TrimSpace(b.String())
}

func TestPast(t *testing.T) {
	a, b := pair(t)
	type moment struct {
		time   time.Time
		change string
		want   string
	}
	var moments []moment
	then := func(d *device, want string) {
		d.seal()
		revs, err := d.f.History("", 1)
		if err != nil {
			t.Fatal(err)
		}
		moments = append(moments, moment{revs[0].Time, revs[0].Change.String()[:12], want})
		waitPast(revs[0].Time)
	}
	a.mkdir("d")
	a.create("d/x", "one\n")
	then(a, "d/ d/x=one,")
	a.write("d/x", a.read("d/x").Version, "one\ntwo\n")
	then(a, "d/ d/x=one,two,")
	sync(t, a, b)
	b.move("d/x", "y")
	then(b, "d/ y=one,two,")
	b.remove("d")
	then(b, "y=one,two,")
	sync(t, a, b)
	a.remove("y")
	then(a, "")
	sync(t, a, b)
	for _, d := range []*device{a, b} {
		for _, m := range moments {
			p, err := d.f.PastAt(m.time)
			if err != nil {
				t.Fatal(err)
			}
			equalText(t, "at "+m.time.String(), shape(t, p), m.want)
			if p, err = d.f.PastOf(m.change); err != nil {
				t.Fatal(err)
			}
			equalText(t, "of "+m.change, shape(t, p), m.want)
		}
		p, err := d.f.PastAt(moments[0].time.Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		equalText(t, "before all", shape(t, p), "")
	}
	for change, kind := range map[string]error{"abc": crdt.ErrInvalid, "nonsense": crdt.ErrInvalid, "0123456789abcdef": crdt.ErrNotExist} {
		if _, err := a.f.PastOf(change); !errors.Is(err, kind) {
			t.Errorf("of %q: %v", change, err)
		}
	}
}

// waitPast returns when the clock shows a later millisecond.
func waitPast(t time.Time) {
	for !time.Now().Truncate(time.Millisecond).After(t) {
		time.Sleep(time.Millisecond / 4)
	}
}

func TestAnnotate(t *testing.T) {
	a, b := pair(t)
	n := a.create("f", "one\ntwo\nthree")
	sync(t, a, b)
	b.write("f", b.read("f").Version, "one\ntwo hats\nthree")
	sync(t, a, b)
	v := a.read("f").Version
	a.update(func(tx *crdt.Tx) error {
		tx.By("a model on anna")
		_, err := tx.Write(n, v, crdt.NewContent{Text: "zero\none\ntwo hats\nthree"})
		return err
	})
	sync(t, a, b)
	for _, d := range []*device{a, b} {
		lines, err := d.f.Annotate(n)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, l := range lines {
			if l.Time.IsZero() {
				t.Errorf("no time: %+v", l)
			}
			fmt.Fprintf(&got, "%s%s: %s; ", l.DeviceName, strings.Replace(l.Author, "a model on", "'s model on", 1), l.Text)
		}
		equalText(t, "lines", got.String(), "anna's model on anna: zero; anna: one; bert: two hats; anna: three; ")
	}
}
