package crdt

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A long text that was made here is kept with the bytes that its maker has: they are in memory once.
func TestTextMadeHereIsHeldOnce(t *testing.T) {
	f, _ := newNotes(t)
	const size = 12 << 20
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "line %d of a long text\n", i)
	}
	s := b.String()
	inUse := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools are emptied by the second one
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := inUse()
	var node NodeID
	err := f.Bulk(func(tx *Tx) (err error) {
		node, _, err = tx.Create(Root, "long", 0o644, NewContent{Text: s})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Holding(node)
	if err != nil || h.Body.String() != s {
		t.Fatalf("%d bytes, %v", h.Body.Len(), err)
	}
	edited := h.Body.Splice(0, 4, "LINE")
	err = f.Update(func(tx *Tx) error {
		_, err := tx.Save(node, h.Version, Holding{Body: edited})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.home.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	used := 0
	for range 100 { // a compaction may be at work with it
		if used = inUse() - before; used < size/2 {
			break
		}
	}
	if used >= size/2 {
		t.Errorf("%d bytes are in use beside the text of %d", used, size)
	}
	if c, err := f.Content(node); err != nil || c.Text != edited.String() {
		t.Errorf("%d bytes, %v", len(c.Text), err)
	}
	runtime.KeepAlive(s)
}

// What could not be stored is not kept, either.
func TestTextNotStoredIsNotKept(t *testing.T) {
	f, _ := newNotes(t)
	s := strings.Repeat("a line\n", keptAtOnce)
	var node NodeID
	err := f.update(nil, false, func(tx *Tx) (err error) {
		node, _, err = tx.Create(Root, "long", 0o644, NewContent{Text: s})
		tx.failed = fmt.Errorf("no room")
		return err
	})
	if err == nil || f.texts.docs[lineage(node)] != nil {
		t.Errorf("%v, kept %v", err, f.texts.docs[lineage(node)] != nil)
	}
	if _, err := f.Content(node); err == nil {
		t.Error("the file is there")
	}
}

// A text that others began before is not kept without what they wrote.
func TestTextBegunTwice(t *testing.T) {
	f, _ := newNotes(t)
	hash, size, err := f.home.objects.Put(strings.NewReader("\x00"))
	if err != nil {
		t.Fatal(err)
	}
	var node NodeID
	var first Version
	err = f.Update(func(tx *Tx) (err error) {
		if node, _, err = tx.Create(Root, "twice", 0o644, NewContent{}); err != nil {
			return err
		}
		if first, err = tx.Write(node, nil, NewContent{Text: "first\n"}); err != nil {
			return err
		}
		_, err = tx.Write(node, first, NewContent{Object: &Object{Hash: Hash(hash), Size: size}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f.texts.reset()
	// Who had opened the file while it was empty.
	err = f.Update(func(tx *Tx) error {
		_, err := tx.Write(node, nil, NewContent{Text: strings.Repeat("a line\n", keptAtOnce)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := f.ContentAt(node, first); err != nil || c.Text != "first\n" {
		t.Errorf("%q, %v", c.Text, err)
	}
}
