package crdt

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// What is pending reads the same from the database as it is in memory, long texts included,
// which are stored once.
func TestPendingIsStored(t *testing.T) {
	h, err := Init(filepath.Join(t.TempDir(), "home"), Options{DeviceName: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	f, err := h.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a line of a text\n", 1000)
	save := func(tx *Tx) error {
		a, v, err := tx.CreateBeside(Root, "a", 0o644, NewContent{Text: long})
		if err != nil {
			return err
		}
		if v, err = tx.Write(a, v, NewContent{Text: long + "and more\n"}); err != nil { // a short event
			return err
		}
		if v, err = tx.Write(a, v, NewContent{Text: strings.ToUpper(long)}); err != nil { // a long one with parents
			return err
		}
		if v, err = tx.Write(a, v, NewContent{Object: &Object{Size: 1}}); err != nil {
			return err
		}
		_, err = tx.Write(a, v, NewContent{Text: long}) // begins a text after an object
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.pending == nil { // until it is seen before the flush seals it
		f.mu.Unlock()
		err := f.Update(save)
		f.mu.Lock()
		if err != nil {
			t.Fatal(err)
		}
	}
	size, i := 0, 0
	err = h.db.Scan(f.key('p'), func(_, v []byte) error {
		var p pendingOp
		if err := decode(v, &p); err != nil {
			return err
		}
		o, err := f.wholeOp(&p)
		if err != nil {
			return err
		}
		if i >= len(f.pending.ops) || !reflect.DeepEqual(encode(o), encode(f.pending.ops[i])) {
			return fmt.Errorf("operation %d is another one", i)
		}
		size, i = size+len(v), i+1
		return nil
	})
	if err != nil || i != len(f.pending.ops) {
		t.Fatal(err, i, len(f.pending.ops))
	}
	if size > 4000 {
		t.Errorf("the pending operations take %d bytes", size)
	}
}

// An event of more parents than the tree takes is refused, and nothing at all where a device sends
// it nevertheless: the folder opens after it.
func TestEventOfTooManyParents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	h, err := Init(dir, Options{DeviceName: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := h.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	var o op
	err = f.Update(func(tx *Tx) error {
		n, base, err := tx.Create(Root, "f", 0o644, NewContent{Text: "one\n"})
		for range tree.MaxHeads + 1 {
			if err == nil {
				_, err = tx.Splice(n, base, Splice{Pos: 4, Ins: "x\n"})
			}
		}
		if err != nil {
			return err
		}
		ev := text.Event{Parents: textIDs(f.tree.Get(n).Version)}
		o = op{Text: &textOp{Node: n, Event: ev.Encode()}}
		if _, err := tx.pend(o, 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("it is pending: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Receive([]*feed.Entry{sealed(t, f, o)}); err != nil {
		t.Error(err)
	}
	id := f.ID()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := h.Folder(id); err != nil {
		t.Error(err)
	}
}

// sealed is the next entry of the device's feed, as another program could make it.
func sealed(t *testing.T, f *Folder, ops ...op) *feed.Entry {
	t.Helper()
	if err := f.seal(); err != nil {
		t.Fatal(err)
	}
	e, err := feed.Seal(f.home.key, f.grant.Key, feed.Draft{
		Folder: f.id, Feed: f.own.id, Seq: f.own.head.Seq + 1, Prev: f.own.head.Hash, Time: time.Now(),
	}, encodeOps(ops))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
