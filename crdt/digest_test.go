package crdt_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

func TestDigest(t *testing.T) {
	a, b := pair(t)
	n := a.create("f", "one\ntwo\nthree\n")
	hash, size, err := a.home.Objects().Put(strings.NewReader("an \x00 object"))
	if err != nil {
		t.Fatal(err)
	}
	object := &crdt.Object{Hash: crdt.Hash(hash), Size: size}
	a.update(func(tx *crdt.Tx) error {
		_, _, err := tx.Create(crdt.Root, "o", 0o644, crdt.NewContent{Object: object})
		return err
	})
	sync(t, a, b)
	// Two saves that merge, and one that the other device gets in another order.
	base := a.node("f").Version
	a.write("f", base, "one\ntwo\nthree, by anna\n")
	b.write("f", base, "one, by bert\ntwo\nthree\n")
	sync(t, a, b)
	same(t, a, b)
	first := a.digest()
	if first != b.digest() || first.Version != crdt.DigestVersion {
		t.Fatalf("%v and %v", first, b.digest())
	}
	if again := a.digest(); again != first {
		t.Errorf("a second time it is %v", again)
	}
	a.reopen()
	if again := a.digest(); again != first {
		t.Errorf("opened again it is %v", again)
	}

	for what, change := range map[string]func(*crdt.Tx) error{
		"a mode":      func(tx *crdt.Tx) error { return tx.SetMode(n, 0o600) },
		"a name":      func(tx *crdt.Tx) error { return tx.Move(n, crdt.Root, "g") },
		"an mtime":    func(tx *crdt.Tx) error { return tx.SetMtime(n, time.Unix(1, 0)) },
		"a text":      func(tx *crdt.Tx) error { _, err := tx.Append(n, []byte("four\n")); return err },
		"a directory": func(tx *crdt.Tx) error { _, err := tx.Mkdir(crdt.Root, "d", 0o755); return err },
	} {
		before := a.digest()
		a.update(change)
		if after := a.digest(); after.Sum == before.Sum || after.Frontier == before.Frontier {
			t.Errorf("%s changes %v into %v", what, before, after)
		}
	}
	sync(t, a, b)
	same(t, a, b)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.f.Digest(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
