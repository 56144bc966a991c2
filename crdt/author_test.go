package crdt_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

func TestAuthor(t *testing.T) {
	a, b := pair(t)
	var node crdt.NodeID
	var base, own crdt.Version
	a.update(func(tx *crdt.Tx) (err error) {
		node, base, err = tx.Create(crdt.Root, "q", 0o644, crdt.NewContent{Text: "hé\n"})
		return err
	})
	a.update(func(tx *crdt.Tx) (err error) {
		tx.By("a model on anna")
		own, err = tx.Splice(node, base, crdt.Splice{Pos: 3, Ins: "answer\n"})
		return err
	})
	a.update(func(tx *crdt.Tx) (err error) {
		tx.By("bad\nname")
		_, err = tx.Splice(node, own, crdt.Splice{Pos: 1, Del: 1, Ins: "e"})
		return err
	})
	sync(t, a, b)
	a.reopen()
	for _, d := range []*device{a, b} {
		c, spans, err := d.f.Blame(node)
		if err != nil || c.Text != "he\nanswer\n" {
			t.Fatalf("%q, %v", c.Text, err)
		}
		var got strings.Builder
		at := 0
		for _, s := range spans {
			if s.Device != a.home.Device() {
				t.Errorf("a span of %s", s.Device)
			}
			got.WriteString(s.Author + ":" + c.Text[at:at+s.Bytes] + "|")
			at += s.Bytes
		}
		if got.String() != ":h|:e|:\n|a model on anna:answer\n|" {
			t.Errorf("spans %q", got.String())
		}
		log, err := d.f.Log(node)
		if err != nil || len(log) != 3 || log[1].Author != "a model on anna" || log[0].Author != "" || log[2].Author != "" {
			t.Errorf("log %+v, %v", log, err)
		}
	}
}

func TestSplice(t *testing.T) {
	a, b := pair(t)
	var node crdt.NodeID
	var base crdt.Version
	a.update(func(tx *crdt.Tx) (err error) {
		node, base, err = tx.Create(crdt.Root, "q", 0o644, crdt.NewContent{Text: "aé\n\n"})
		return err
	})
	sync(t, a, b)
	// A person types above while an author goes on from its own last version.
	at, own := 3, base
	for _, piece := range []string{"\n", "x", "\n"} {
		a.update(func(tx *crdt.Tx) (err error) {
			own, err = tx.Splice(node, own, crdt.Splice{Pos: at, Ins: piece})
			return err
		})
		at++
		c := "typed\n" + text(t, b, node, base)
		b.update(func(tx *crdt.Tx) error {
			_, err := tx.Write(node, base, crdt.NewContent{Text: c})
			return err
		})
		sync(t, a, b)
	}
	// Several places at once, and equal splices stay two.
	for _, d := range []*device{a, b} {
		d.update(func(tx *crdt.Tx) error {
			_, err := tx.Splice(node, base, crdt.Splice{Pos: 0, Del: 1, Ins: "A"}, crdt.Splice{Pos: 2, Ins: "+"})
			return err
		})
	}
	sync(t, a, b)
	if x, y := a.read("q").Text, b.read("q").Text; x != y || !strings.HasSuffix(x, "é++\n\nx\n\n") || !strings.Contains(x, "typed\n") || strings.Count(x, "A") != 2 {
		t.Errorf("%q and %q", x, y)
	}
	size, err := a.f.Get(node)
	if err != nil || size.Size != int64(len(a.read("q").Text)) {
		t.Errorf("size %d, %v", size.Size, err)
	}
	for name, s := range map[string][]crdt.Splice{
		"beyond":    {{Pos: 5, Ins: "x"}},
		"deletes":   {{Pos: 3, Del: 2}},
		"nothing":   {{Pos: 1}},
		"touching":  {{Pos: 0, Del: 1}, {Pos: 1, Ins: "x"}},
		"backwards": {{Pos: 2, Ins: "x"}, {Pos: 1, Ins: "x"}},
		"no text":   {{Pos: 0, Ins: "\x00"}},
		"half":      {{Pos: 0, Ins: "\xc3"}},
	} {
		err := a.f.Update(func(tx *crdt.Tx) error { _, err := tx.Splice(node, base, s...); return err })
		if !errors.Is(err, crdt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.update(func(tx *crdt.Tx) error { return tx.Remove(node) })
	err = a.f.Update(func(tx *crdt.Tx) error { _, err := tx.Splice(node, own, crdt.Splice{Ins: "x"}); return err })
	if !errors.Is(err, crdt.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
}

// One Update may write what it made.
func TestWriteWhatWasMade(t *testing.T) {
	a, b := pair(t)
	var node crdt.NodeID
	a.update(func(tx *crdt.Tx) error {
		n, v, err := tx.Create(crdt.Root, "q", 0o644, crdt.NewContent{Text: "one\n"})
		if err != nil {
			return err
		}
		node = n
		if _, err = tx.Write(n, v, crdt.NewContent{Text: "one\ntwo\n"}); err != nil {
			return err
		}
		_, err = tx.Append(n, []byte("three\n"))
		return err
	})
	sync(t, a, b)
	for _, d := range []*device{a, b} {
		if c, err := d.f.Content(node); err != nil || c.Text != "one\ntwo\nthree\n" {
			t.Errorf("%q, %v", c.Text, err)
		}
	}
}

// text is what a file held at a version.
func text(t testing.TB, d *device, node crdt.NodeID, v crdt.Version) string {
	t.Helper()
	c, err := d.f.ContentAt(node, v)
	if err != nil {
		t.Fatal(err)
	}
	return c.Text
}

// A subscriber hears which version a writer had read, and which it made.
func TestNoticeOfSave(t *testing.T) {
	a, b := pair(t)
	heard := make(chan crdt.Notice, 10)
	defer a.f.Subscribe(func(n crdt.Notice) { heard <- n })()
	var node crdt.NodeID
	var v, w crdt.Version
	a.update(func(tx *crdt.Tx) (err error) {
		node, v, err = tx.Create(crdt.Root, "q", 0o644, crdt.NewContent{Text: "one\n"})
		return err
	})
	if c := next(heard); c.Base != nil || !c.Saved.Equal(v) {
		t.Errorf("created: %+v", c)
	}
	a.update(func(tx *crdt.Tx) (err error) {
		if w, err = tx.Write(node, v, crdt.NewContent{Text: "one\nto\n"}); err == nil {
			w, err = tx.Write(node, w, crdt.NewContent{Text: "one\ntwo\n"})
		}
		return err
	})
	if c := next(heard); !c.Base.Equal(v) || !c.Saved.Equal(w) {
		t.Errorf("written twice: %+v", c)
	}
	a.update(func(tx *crdt.Tx) (err error) {
		_, err = tx.Append(node, []byte("three\n"))
		return err
	})
	if c := next(heard); !c.Base.Equal(w) || c.Saved == nil || text(t, a, node, c.Saved) != "one\ntwo\nthree\n" {
		t.Errorf("appended: %+v", c)
	}
	sync(t, a, b)
	b.update(func(tx *crdt.Tx) (err error) {
		_, err = tx.Write(node, w, crdt.NewContent{Text: "one\ntwo!\n"})
		return err
	})
	sync(t, a, b)
	if c := next(heard); c.Base != nil || c.Saved != nil || c.What != crdt.ContentChanged {
		t.Errorf("from elsewhere: %+v", c)
	}
}

// next is the first change of the next notice that has any: sealing has none.
func next(heard <-chan crdt.Notice) crdt.Change {
	for n := range heard {
		if len(n.Changes) > 0 {
			return n.Changes[0]
		}
	}
	return crdt.Change{}
}
