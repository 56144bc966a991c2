package crdt_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

func (d *device) undo(redo bool) crdt.Undone {
	d.t.Helper()
	u, err := d.f.Undo("", redo)
	if err != nil {
		d.t.Fatal(err)
	}
	return u
}

// files lists the tree with its texts in one line.
func (d *device) files() string {
	d.t.Helper()
	var b strings.Builder
	var walk func(dir crdt.NodeID, path string)
	walk = func(dir crdt.NodeID, path string) {
		is, err := d.f.ReadDir(dir)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, i := range is {
			b.WriteString(path + i.Name)
			if i.Kind == crdt.Dir {
				b.WriteString("/ ")
				walk(i.Node, path+i.Name+"/")
				continue
			}
			b.WriteString("=" + strings.ReplaceAll(d.read(path+i.Name).Text, "\n", ",") + " ")
		}
	}
	walk(crdt.Root, "")
	return strings.TrimSpace(b.String())
}

func (d *device) want(what, files string) {
	d.t.Helper()
	if got := d.files(); got != files {
		d.t.Errorf("%s:\n got %s\nwant %s", what, got, files)
	}
}

func TestUndoSteps(t *testing.T) {
	a, _ := pair(t)
	a.create("f", "one\n")
	a.write("f", a.read("f").Version, "one\ntwo\n")
	a.write("f", a.read("f").Version, "1\ntwo\n")
	a.want("before", "f=1,two,")
	a.undo(false)
	a.want("undo", "f=one,two,")
	a.undo(false)
	a.want("undo twice", "f=one,")
	a.undo(true)
	a.want("redo", "f=one,two,")
	a.undo(true)
	a.want("redo twice", "f=1,two,")
	if _, err := a.f.Undo("", true); !errors.Is(err, crdt.ErrNotExist) {
		t.Errorf("redo of nothing: %v", err)
	}
	a.reopen()
	for range 3 {
		a.undo(false)
	}
	a.want("all", "")
	if _, err := a.f.Undo("", false); !errors.Is(err, crdt.ErrNotExist) {
		t.Errorf("undo of nothing: %v", err)
	}
	a.undo(true)
	a.want("brought back", "f=one,")
	list, err := a.f.Actions(3)
	if err != nil || len(list) != 3 || !strings.HasPrefix(list[0].Label, "redo: made f") {
		t.Errorf("%+v, %v", list, err)
	}
}

// What others did stays: beside it, in the same line, and where they took over.
func TestUndoAmongOthers(t *testing.T) {
	a, b := pair(t)
	a.create("f", "one\ntwo\nthree\n")
	sync(t, a, b)
	v := a.read("f").Version
	a.write("f", v, "one\nTWO hats\nthree\nfour\n")
	sync(t, a, b)
	b.write("f", b.read("f").Version, "zero\none\nTWO red hats\nthree\nfour\n")
	sync(t, a, b)
	if u := a.undo(false); len(u.Left) > 0 || len(u.Done) != 1 {
		t.Errorf("%+v", u)
	}
	sync(t, a, b)
	for _, d := range []*device{a, b} {
		got := d.read("f").Text
		if !strings.HasPrefix(got, "zero\none\n") || strings.Contains(got, "TWO") || strings.Contains(got, "hats") || strings.Contains(got, "four") ||
			!strings.Contains(got, "red") || !strings.Contains(got, "two") || !strings.HasSuffix(got, "three\n") {
			t.Errorf("%q", got)
		}
	}
	same(t, a, b)
	// A file that another changed since is not removed again.
	a.create("made", "mine\n")
	sync(t, a, b)
	b.write("made", b.read("made").Version, "mine\ntheirs\n")
	sync(t, a, b)
	if u := a.undo(false); len(u.Left) != 1 || !strings.HasPrefix(u.Left[0], "made: it was changed since") {
		t.Errorf("%+v", u)
	}
	equalText(t, "made", a.read("made").Text, "mine\ntheirs\n")
	// Neither is one moved back that another moved on.
	a.move("made", "here")
	sync(t, a, b)
	b.move("here", "there")
	sync(t, a, b)
	if u := a.undo(false); len(u.Left) != 1 || !strings.HasPrefix(u.Left[0], "there: it was moved again") {
		t.Errorf("%+v", u)
	}
}

func TestUndoRemoval(t *testing.T) {
	a, b := pair(t)
	a.mkdir("d")
	a.create("d/x", "x\n")
	a.create("d/y", "y\n")
	a.create("keep", "k\n")
	sync(t, a, b)
	for _, p := range []string{"d/x", "d/y", "d"} {
		a.remove(p)
	}
	sync(t, a, b)
	b.create("d", "taken\n")
	sync(t, a, b)
	u := a.undo(false)
	if len(u.Left) > 0 || len(u.Done) != 3 {
		t.Errorf("%+v", u)
	}
	sync(t, a, b)
	a.want("undone", "d=taken, d (restored)/ d (restored)/x=x, d (restored)/y=y, keep=k,")
	same(t, a, b)
	a.undo(true)
	a.want("redone", "d=taken, keep=k,")
}

func TestUndoLabelled(t *testing.T) {
	a, _ := pair(t)
	a.create("f", "f\n")
	a.create("g", "g\n")
	id := crdt.NewActionID()
	n, v := a.node("f").Node, a.read("f").Version
	a.update(func(tx *crdt.Tx) error {
		if err := tx.Label(id, "git checkout\nmain"); err != nil {
			return err
		}
		_, err := tx.Write(n, v, crdt.NewContent{Text: "F\n"})
		return err
	})
	g := a.node("g").Node
	a.update(func(tx *crdt.Tx) error {
		if err := tx.Label(id, "git checkout main"); err != nil {
			return err
		}
		if err := tx.Move(g, crdt.Root, "h"); err != nil {
			return err
		}
		if err := tx.SetMode(n, 0o600); err != nil {
			return err
		}
		return tx.SetXattr(n, "user.a", []byte("b"))
	})
	a.create("after", "")
	list, err := a.f.Actions(10)
	if err != nil || len(list) < 2 || list[1].Label != "git checkout main" || list[1].ID != id {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := a.f.Undo(id.String()[:8], false); err != nil {
		t.Fatal(err)
	}
	a.want("undone", "after= f=f, g=g,")
	i := a.node("f")
	x, _ := a.f.Xattrs(n)
	if i.Mode != 0o644 || len(x) != 0 {
		t.Errorf("mode %o, attributes %v", i.Mode, x)
	}
	revs, err := a.f.History("f", 1)
	if err != nil || revs[0].Label != "undo: git checkout main" {
		t.Errorf("%+v, %v", revs, err)
	}
	a.undo(true)
	a.want("redone", "after= f=F, h=g,")
	err = a.f.Update(func(tx *crdt.Tx) error {
		if err := tx.Remove(n); err != nil {
			return err
		}
		return tx.Label(crdt.NewActionID(), "late")
	})
	if !errors.Is(err, crdt.ErrInvalid) {
		t.Errorf("a late label: %v", err)
	}
}

func TestRestore(t *testing.T) {
	a, b := pair(t)
	a.mkdir("d")
	a.mkdir("d/sub")
	a.create("d/x", "one\n")
	a.create("d/sub/y", "y\n")
	first := a.read("d/x").Version
	a.write("d/x", first, "two\n")
	sync(t, a, b)
	restore := func(d *device, r crdt.RestoreRequest) crdt.Restored {
		t.Helper()
		out, err := d.f.Restore(r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	restore(b, crdt.RestoreRequest{Path: "d/x", Version: first.String()})
	b.want("an old version", "d/ d/sub/ d/sub/y=y, d/x=one,")
	b.undo(false)
	b.want("and not", "d/ d/sub/ d/sub/y=y, d/x=two,")
	restore(b, crdt.RestoreRequest{Path: "d/x", Version: first.String(), To: "copy"})
	b.remove("copy")
	sync(t, a, b)
	a.remove("d/x")
	a.remove("d/sub/y")
	a.remove("d/sub")
	a.remove("d")
	a.want("removed", "")
	sync(t, a, b)
	if out := restore(b, crdt.RestoreRequest{Path: "d"}); len(out.Left) > 0 {
		t.Errorf("%+v", out)
	}
	b.want("a directory", "d/ d/sub/ d/sub/y=y, d/x=two,")
	sync(t, a, b)
	same(t, a, b)
	if out := restore(a, crdt.RestoreRequest{Path: "copy"}); len(out.Paths) != 1 {
		t.Errorf("%+v", out)
	}
	equalText(t, "a file", a.read("copy").Text, "one\n")
	// In place, nothing that came later goes.
	a.create("d/new", "n\n")
	a.write("d/x", a.read("d/x").Version, "three\n")
	revs, err := a.f.History("d/sub", 0)
	if err != nil {
		t.Fatal(err)
	}
	change := revs[len(revs)-1].Change.String()
	restore(a, crdt.RestoreRequest{Path: "", Version: change[:10]})
	if got := a.read("d/new").Text; got != "n\n" {
		t.Errorf("what came later is %q", got)
	}
	for r, kind := range map[crdt.RestoreRequest]error{
		{Path: "d/x"}:                                   crdt.ErrInvalid,
		{Path: "never"}:                                 crdt.ErrNotExist,
		{Path: "d/x", Version: "0123456789"}:            crdt.ErrNotExist,
		{Path: "d/x", Version: "zz"}:                    crdt.ErrInvalid,
		{Path: "d/x", Version: first.String(), To: "d"}: crdt.ErrExists,
	} {
		if _, err := a.f.Restore(r); !errors.Is(err, kind) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
