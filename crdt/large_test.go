package crdt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// What one Update makes may be more than an entry holds: it is sealed as several, and another
// device takes them.
func TestLargeUpdate(t *testing.T) {
	a, b := pair(t)
	r := rand.NewChaCha8([32]byte{1})
	var texts []string
	for range 2 {
		t := make([]byte, 15<<20)
		_, _ = r.Read(t)
		for i := range t {
			t[i] = max(t[i]&127, 1) // seven bits of every eight are chance
		}
		texts = append(texts, string(t))
	}
	a.update(func(tx *crdt.Tx) error {
		if err := tx.Label(crdt.NewActionID(), "large"); err != nil {
			return err
		}
		for i, text := range texts {
			if _, _, err := tx.Create(crdt.Root, fmt.Sprint(i), 0o644, crdt.NewContent{Text: text}); err != nil {
				return err
			}
		}
		return nil
	})
	a.reopen()
	sync(t, a, b)
	for i, text := range texts {
		if b.read(fmt.Sprint("/", i)).Text != text {
			t.Errorf("%d is another text", i)
		}
	}
	// It is one action all the same.
	if u := a.undo(false); len(u.Left) > 0 || a.dump() != "" {
		t.Errorf("undone: %+v, but there is\n%.200s", u, a.dump())
	}
}

// An entry that is small and unpacks to a million operations is refused, and costs little.
func TestManyOperations(t *testing.T) {
	a, b, key := withMember(t)
	for n, want := range map[int]error{crdt.MaxOps: nil, crdt.MaxOps + 1: crdt.ErrEntry, 1 << 20: crdt.ErrEntry} {
		e, err := feed.Seal(key, a.f.Key(), feed.Draft{
			Folder: a.f.ID(), Feed: feed.ID{Device: feed.DeviceOf(key), Run: uint64(n)}, Seq: 1, Time: time.Unix(0, 0),
		}, append(binary.BigEndian.AppendUint32([]byte{0x9a}, uint32(n)), bytes.Repeat([]byte{0xa0}, n)...)) // n empty operations
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []*device{a, b} {
			if _, err := d.f.Receive([]*feed.Entry{e}); !errors.Is(err, want) {
				t.Errorf("%d operations in %d bytes: %v, want %v", n, len(e.Bytes()), err, want)
			}
		}
	}
	sync(t, a, b)
	same(t, a, b)
}
