package crdt_test

import (
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// FuzzPayload seals bytes as a member's operations and gives them to two devices, to one before
// and to the other after a change that the member did not know of. Both refuse the entry, or both
// take it and have the same folder, also after it is opened again.
func FuzzPayload(f *testing.F) {
	a, _, _ := withMember(f)
	nodes := []crdt.NodeID{crdt.Root, {1}, a.node("/d").Node, a.node("/t").Node}
	r := rand.New(rand.NewPCG(1, 2))
	for range 25 {
		f.Add(a.f.Poison(r, nodes))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, b, key := withMember(t)
		frontier, err := a.f.Frontier()
		if err != nil {
			t.Fatal(err)
		}
		e, err := feed.Seal(key, a.f.Key(), feed.Draft{
			Folder: a.f.ID(), Feed: feed.ID{Device: feed.DeviceOf(key), Run: 1}, Seq: 1, Frontier: frontier.Heads(), Time: time.Unix(4_070_908_800, 0),
		}, payload)
		if err != nil {
			t.Skip("more than an entry holds")
		}
		b.write("/t", b.node("/t").Version, "one\nand two\n")
		b.create("/d/n1", "new\n")
		b.move("/e", "/d/n2")

		_, refused := a.f.Receive([]*feed.Entry{e})
		if _, err := b.f.Receive([]*feed.Entry{e}); (err == nil) != (refused == nil) {
			t.Fatalf("one device says %v, another %v", refused, err)
		}
		if refused != nil && !errors.Is(refused, crdt.ErrEntry) {
			t.Fatal(refused)
		}
		sync(t, a, b)
		for range 2 {
			x, err := a.f.Digest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if y, err := b.f.Digest(t.Context()); err != nil || x != y {
				t.Fatalf("two folders, %+v and %+v, %v", x, y, err)
			}
			if x, y := a.dump(), b.dump(); x != y {
				t.Fatalf("two texts:\n%s\n%s", x, y)
			}
			b.reopen()
		}
	})
}

// withMember is two devices and the key of a third member; all know a file t and directories d and e.
func withMember(t testing.TB) (a, b *device, key ed25519.PrivateKey) {
	a, b = pair(t)
	key = ed25519.NewKeyFromSeed([]byte("a member that nobody should trust"[:32]))
	secret, err := a.f.Invite()
	if err == nil {
		_, err = a.f.Redeem(secret, feed.DeviceOf(key), "mallory")
	}
	if err != nil {
		t.Fatal(err)
	}
	a.create("/t", "one\ntwo\n")
	a.update(func(tx *crdt.Tx) error {
		for _, name := range []string{"d", "e"} {
			if _, err := tx.Mkdir(crdt.Root, name, 0o755); err != nil {
				return err
			}
		}
		return nil
	})
	sync(t, a, b)
	return a, b, key
}
