package crdt_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
)

// picture writes an object as a file's next version.
func (d *device) picture(path, bytes string) crdt.Hash {
	d.t.Helper()
	h, size, err := d.home.Objects().Put(strings.NewReader("\x00" + bytes))
	if err != nil {
		d.t.Fatal(err)
	}
	o := &crdt.Object{Hash: crdt.Hash(h), Size: size}
	info, err := d.f.Resolve(path)
	d.update(func(tx *crdt.Tx) error {
		if err != nil {
			_, _, err := tx.Create(crdt.Root, path, 0o644, crdt.NewContent{Object: o})
			return err
		}
		_, err := tx.Write(info.Node, info.Version, crdt.NewContent{Object: o})
		return err
	})
	return o.Hash
}

func (d *device) has(h crdt.Hash) bool { return d.home.Objects().Has(blob.Hash(h)) }

// What is freed, what never is, and what becomes of it.
func TestExpire(t *testing.T) {
	defer crdt.SetJustStored(0)()
	a, b := pair(t)
	expire := func(d *device) int {
		t.Helper()
		if err := d.home.SetKeep(crdt.Keep{}); err != nil {
			t.Fatal(err)
		}
		n, _, err := d.home.Expire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var old []crdt.Hash
	for i := range 3 {
		old = append(old, a.picture("pic", fmt.Sprint("version ", i)))
	}
	last := a.picture("pic", "last")
	a.create("text", "one\n")
	if n := expire(a); n != 0 {
		t.Errorf("%d of the only copies went", n)
	}
	sync(t, a, b)
	// Two versions that do not merge both stay.
	info := b.node("pic")
	for _, d := range []*device{a, b} {
		o, size, err := d.home.Objects().Put(strings.NewReader("\x00of " + d.home.DeviceName()))
		if err != nil {
			t.Fatal(err)
		}
		d.update(func(tx *crdt.Tx) error {
			_, err := tx.Write(info.Node, info.Version, crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(o), Size: size}})
			return err
		})
	}
	sync(t, a, b)
	if n := expire(a); n != 4 {
		t.Errorf("%d objects went, want 4", n)
	}
	for _, d := range []*device{a, b} {
		if s := d.f.Status(); len(s.Beside) != 1 || s.Wanted != 0 {
			t.Errorf("beside %v, wanted %d", s.Beside, s.Wanted)
		}
	}
	a.reopen()
	if a.has(old[0]) || a.has(last) || !b.has(last) {
		t.Error("the wrong objects are here")
	}
	if s := a.f.Status(); len(s.Beside) != 1 || s.Wanted != 0 {
		t.Errorf("after a restart: beside %v, wanted %d", s.Beside, s.Wanted)
	}
	same(t, a, b)
	revs, err := a.f.History("pic", 0)
	if err != nil || len(revs) != 6 || !revs[5].Absent || revs[0].Absent {
		t.Errorf("%+v, %v", revs, err)
	}
	out, err := a.f.Restore(crdt.RestoreRequest{Path: "pic", Version: revs[5].Version.String()})
	if err != nil || len(out.Left) != 1 || !strings.Contains(out.Left[0], "not on this device") {
		t.Errorf("%+v, %v", out, err)
	}
	if f, err := a.home.Freed(); err != nil || f.Objects != 4 || f.Bytes == 0 || f.Last.IsZero() {
		t.Errorf("freed %+v, %v", f, err)
	}
	// Where another device brings an old one back, it is fetched again.
	if out, err = b.f.Restore(crdt.RestoreRequest{Path: "pic", Version: revs[5].Version.String()}); err != nil || len(out.Left) > 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	sync(t, a, b)
	a.reopen()
	if !a.has(old[0]) || a.read("pic").Object.Hash != old[0] {
		t.Error("the restored picture is not here")
	}
	same(t, a, b)
	// A version that waits for somebody to choose stays, though others have it and it is not the newest.
	info = a.node("pic")
	mine := a.picture("pic", "one")
	h, size, err := b.home.Objects().Put(strings.NewReader("\x00two"))
	if err != nil {
		t.Fatal(err)
	}
	b.update(func(tx *crdt.Tx) error {
		_, err := tx.Write(info.Node, info.Version, crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(h), Size: size}})
		return err
	})
	sync(t, a, b)
	b.create("seen", "")
	sync(t, a, b)
	expire(a)
	if s := a.f.Status(); len(s.Beside) != 2 || !a.has(mine) || !a.has(crdt.Hash(h)) {
		t.Errorf("beside %v, and one of them is gone", s.Beside)
	}
}
