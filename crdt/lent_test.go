package crdt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The text of a new file is in its entry alone. Where that entry is not what was written the file
// is damaged, to who reads it and to who asks for a digest; what is beside it can be read.
func TestEntryOfTextIsDamaged(t *testing.T) {
	for what, spoil := range map[string]func(b []byte) []byte{
		"gone":      func([]byte) []byte { return nil },
		"cut off":   func(b []byte) []byte { return b[:len(b)/2] },
		"one byte":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"of no use": func([]byte) []byte { return []byte("x") },
	} {
		f, other := newNotes(t)
		var n NodeID
		err := f.Bulk(func(tx *Tx) (err error) {
			n, _, err = tx.Create(Root, "lent", 0o644, NewContent{Text: strings.Repeat("a line\n", 200)})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		key, b := f.key('e', be64(f.Last())), f.home.db.Batch()
		v, _, err := f.home.db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		if v = spoil(v); v == nil {
			b.Delete(key)
		} else {
			b.Set(key, v)
		}
		if err := f.home.db.Commit(b); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Content(n); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: reading it: %v", what, err)
		}
		all, err := f.Reading()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all.Content(n); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: reading it with others: %v", what, err)
		}
		if _, err := f.Digest(context.Background()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: its digest: %v", what, err)
		}
		if c, err := f.Content(other); err != nil || c.Text != "one\n" {
			t.Errorf("%s: the other file is %q, %v", what, c.Text, err)
		}
	}
}

// What is read of an entry keeps it open for its neighbours, within bounds.
func TestOpenedEntries(t *testing.T) {
	f, _ := newNotes(t)
	var nodes []NodeID
	text := func(n int) NewContent {
		return NewContent{Text: strings.Repeat(fmt.Sprintf("a line of %d\n", n), 20_000)}
	}
	for range maxOpened/(200<<10) + 5 {
		err := f.Bulk(func(tx *Tx) error {
			for range 2 {
				n, _, err := tx.Create(Root, fmt.Sprint(len(nodes)), 0o644, text(len(nodes)))
				if err != nil {
					return err
				}
				nodes = append(nodes, n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(i int) error {
		f.texts.reset()
		c, err := f.Content(nodes[i])
		if err == nil && c.Text != text(i).Text {
			t.Fatalf("file %d is %.40q", i, c.Text)
		}
		return err
	}
	for i := range nodes {
		if err := read(i); err != nil {
			t.Fatal(err)
		}
		if c := &f.lenders; c.bytes > maxOpened || c.used.Len() != len(c.known) {
			t.Fatalf("%d entries of %d bytes are open, %d are known", c.used.Len(), c.bytes, len(c.known))
		}
	}
	b := f.home.db.Batch()
	b.DeletePrefix(f.key('e'))
	if err := f.home.db.Commit(b); err != nil {
		t.Fatal(err)
	}
	if err := read(len(nodes) - 2); err != nil {
		t.Errorf("beside what was read last: %v", err)
	}
	if err := read(0); err == nil {
		t.Error("what was read first is still open")
	}
}
