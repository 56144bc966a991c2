package crdt

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// Who reads all files reads what who reads one does, whatever a file is and whenever it was changed.
func TestReading(t *testing.T) {
	f, other := newNotes(t)
	nodes := []NodeID{other, Root, {1}}
	long := strings.Repeat("a line\n", 200)
	for entry := range 12 { // more than are kept open
		err := f.Bulk(func(tx *Tx) error {
			for i, s := range []string{"", "short", long + fmt.Sprint(entry), long + fmt.Sprint(entry), strings.Repeat(long, 500*(entry%2))} {
				node, _, err := tx.Create(Root, fmt.Sprintf("%d-%d", entry, i), 0o644, NewContent{Text: s})
				if err != nil {
					return err
				}
				nodes = append(nodes, node)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(node NodeID, s string) {
		t.Helper()
		err := f.Update(func(tx *Tx) error {
			c, err := f.contentAt(node, f.tree.Get(node).Version)
			if err == nil {
				_, err = tx.Write(node, c.Version, NewContent{Text: s})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change(nodes[5], long+"changed before")
	r, err := f.Reading()
	if err != nil {
		t.Fatal(err)
	}
	change(nodes[6], long+"changed after")
	if err := f.Update(func(tx *Tx) error { return tx.Remove(nodes[10]) }); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for _, node := range nodes {
				got, err := r.Content(node)
				want, werr := f.Content(node)
				if !reflect.DeepEqual(got, want) || (err == nil) != (werr == nil) || werr != nil && err.Error() != werr.Error() {
					t.Errorf("%s: %d bytes, %v; one by one %d bytes, %v", f.Path(node), len(got.Text), err, len(want.Text), werr)
				}
			}
		})
	}
	readers.Wait()
	if _, err := r.Content(nodes[10]); !errors.Is(err, ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	if len(r.at) < 20 {
		t.Errorf("%d texts were found in their entries", len(r.at))
	}
}

// A text that is in another one's place in its entry is not taken for it.
func TestReadingOfAnother(t *testing.T) {
	f, _ := newNotes(t)
	var nodes [2]NodeID
	err := f.Bulk(func(tx *Tx) (err error) {
		for i := range nodes {
			if nodes[i], _, err = tx.Create(Root, fmt.Sprint(i), 0o644, NewContent{Text: strings.Repeat(fmt.Sprintf("line %d\n", i), 200)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Reading()
	if err != nil {
		t.Fatal(err)
	}
	r.at[0].lent, r.at[1].lent = r.at[1].lent, r.at[0].lent
	for i, node := range nodes {
		if c, err := r.Content(node); err != nil || !strings.HasPrefix(c.Text, fmt.Sprintf("line %d\n", i)) {
			t.Errorf("%d: %.10q, %v", i, c.Text, err)
		}
	}
}
