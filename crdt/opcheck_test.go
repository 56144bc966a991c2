package crdt

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// newNotes makes a home with a folder that has a file.
func newNotes(t *testing.T) (*Folder, NodeID) {
	t.Helper()
	h, err := Init(filepath.Join(t.TempDir(), "home"), Options{DeviceName: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	f, err := h.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	var n NodeID
	err = f.Update(func(tx *Tx) (err error) {
		n, _, err = tx.Create(Root, "f", 0o644, NewContent{Text: "one\n"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, n
}

// readable holds that others can read all that a folder has sealed, and returns how many operations that is.
func readable(t *testing.T, f *Folder) (n int) {
	t.Helper()
	if err := f.seal(); err != nil {
		t.Fatal(err)
	}
	for order := range f.Last() {
		b, _, err := f.home.db.Get(f.key('e', be64(order+1)))
		if err != nil {
			t.Fatal(err)
		}
		ops, err := opsOf(f, b)
		if err != nil {
			t.Errorf("entry %d: %v", order+1, err)
		}
		n += len(ops)
	}
	return n
}

// opsOf opens an entry as who receives it does.
func opsOf(f *Folder, b []byte) ([]op, error) {
	e, err := feed.Decode(f.id, b)
	if err != nil {
		return nil, err
	}
	plain, err := e.Open(f.grant.Key)
	if err != nil {
		return nil, err
	}
	return decodeOps(plain)
}

// What no device would take never gets into an entry: whoever asks for it is told, and what else
// the Update does stands.
func TestRefusedWhereMade(t *testing.T) {
	f, n := newNotes(t)
	dir := func(tx *Tx) error { _, err := tx.Mkdir(Root, "d", 0o755); return err }
	textOf := func(ev text.Event, by string) op { return op{Text: &textOp{Node: n, Event: ev.Encode(), By: by}} }
	place := func(name string) op { return op{Tree: &tree.Op{Do: tree.OpPlace, Node: n, Parent: Root, Name: name}} }
	one := func(ev text.Event) text.Event {
		ev.Hunks = []text.Hunk{{{Ins: "x"}}}
		return ev
	}
	add := func(o op) func(*Tx) error { return func(tx *Tx) error { return tx.add(o) } }
	for name, change := range map[string]func(*Tx) error{
		"removing an attribute of a long name": func(tx *Tx) error { return tx.RemoveXattr(n, strings.Repeat("k", tree.MaxOp)) },
		"an attribute whose name has a NUL":    func(tx *Tx) error { return tx.SetXattr(n, "user.a\x00b", nil) },
		"a large operation":                    add(op{Tree: &tree.Op{Do: tree.OpMode, Node: n, Value: make([]byte, tree.MaxOp)}}),
		"an unknown kind":                      add(op{Tree: &tree.Op{Do: 99, Node: n}}),
		"no name":                              add(place("")),
		"a name with a slash":                  add(place("a/b")),
		"a long name":                          add(place(strings.Repeat("n", 256))),
		"too many versions seen":               add(op{Tree: &tree.Op{Do: tree.OpRemove, Node: n, Seen: make(Version, tree.MaxHeads+1)}}),
		"an author that is no UTF-8":           add(textOf(one(text.Event{}), "\xff")),
		"a text that is no UTF-8":              add(textOf(text.Event{Hunks: []text.Hunk{{{Ins: "\xff"}}}}, "")),
		"a text on an unknown version":         add(textOf(one(text.Event{Parents: []text.ID{{1}}}), "")),
		"an event that is none":                add(op{Text: &textOp{Node: n, Event: []byte("x")}}),
		"a device name that is no UTF-8":       add(op{Admit: &admitOp{f.home.device, "\xff"}}),
		"a device that is none":                add(op{Admit: &admitOp{Device{}, "bert"}}),
		"a founder's name that is no UTF-8":    add(op{Found: &foundOp{"\xff"}}),
		"a label that is no UTF-8":             add(op{Mark: &markOp{ID: NewActionID(), Label: "\xff"}}),
		"nothing":                              add(op{}),
	} {
		before := readable(t, f)
		err := f.Update(func(tx *Tx) error {
			if err := dir(tx); err != nil {
				return err
			}
			return change(tx)
		})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if made := readable(t, f) - before; made != 1 {
			t.Errorf("%s: %d operations were made", name, made)
		}
		err = f.Update(func(tx *Tx) error {
			i, err := f.tree.Entry(Root, "d")
			if !err {
				t.Errorf("%s: what the Update did before it is gone", name)
			}
			return tx.Remove(i.Node)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An operation that an earlier version left pending, and that no device would take, does not keep
// the folder from opening, nor does it leave the device; what is pending beside it does.
func TestRefusedWherePending(t *testing.T) {
	f, n := newNotes(t)
	readable(t, f)
	h, dir, id := f.home, f.home.dir, f.id
	bad := op{Tree: &tree.Op{Do: tree.OpXattr, Node: n, Key: strings.Repeat("k", tree.MaxOp), Delete: true}}
	b := h.db.Batch()
	b.Set(f.key('P'), (&pending{id: f.own.id, seq: f.own.head.Seq + 1, lamport: 9}).header())
	for i, o := range []op{
		{Tree: &tree.Op{Do: tree.OpMode, Node: n, Mode: 0o600}}, bad,
		{Tree: &tree.Op{Do: tree.OpPlace, Node: n, Parent: Root, Name: "g"}},
	} {
		b.Set(f.key('p', be32(uint32(i))), encode(o))
	}
	if err := h.db.Commit(b); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	if f, err = h.Folder(id); err != nil {
		t.Fatal(err)
	}
	readable(t, f)
	if i, err := f.Resolve("g"); err != nil || i.Node != n || i.Mode != 0o600 {
		t.Errorf("the file is %+v, %v", i, err)
	}
	left := 0
	if err := h.db.Scan(f.key('p'), func(_, _ []byte) error { left++; return nil }); err != nil || left > 0 {
		t.Errorf("%d operations are pending still, %v", left, err)
	}
	if notes := f.notes; len(notes) != 1 || notes[0].Kind != "refused" || notes[0].Path != "notes" {
		t.Errorf("the notes: %+v", notes)
	}
}

// Whatever may be made is read by others as it was made.
func TestMadeIsRead(t *testing.T) {
	f, n := newNotes(t)
	str := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		var o op
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			o.Tree = &tree.Op{
				Do: tree.OpKind(rapid.IntRange(0, 9).Draw(t, "do")), Node: n, Name: str.Draw(t, "name"), Key: str.Draw(t, "key"),
				Mode: rapid.Uint32().Draw(t, "mode"), Mtime: rapid.Int64().Draw(t, "mtime"),
				Value: make([]byte, rapid.SampledFrom([]int{0, 1, tree.MaxValue, tree.MaxValue + 1, tree.MaxOp}).Draw(t, "value")),
				Seen:  make(Version, rapid.SampledFrom([]int{0, 1, tree.MaxHeads + 1}).Draw(t, "seen")),
			}
		case 1:
			ev := text.Event{Hunks: []text.Hunk{{{Ins: str.Draw(t, "text")}}}}
			o.Text = &textOp{Node: n, Event: ev.Encode(), By: str.Draw(t, "by")}
		case 2:
			o.Admit = &admitOp{f.home.device, str.Draw(t, "device")}
		case 3:
			o.Mark = &markOp{ID: ActionID{1}, Label: str.Draw(t, "label")}
		}
		if _, err := f.resolveOp(&o, len(encode(o))); err != nil {
			return
		}
		got, err := decodeOps(encodeOps([]op{o}))
		if err != nil || !reflect.DeepEqual(encodeOps(got), encodeOps([]op{o})) {
			t.Fatalf("made, and read as %+v: %v", got, err)
		}
	})
}
