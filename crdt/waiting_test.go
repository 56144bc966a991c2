package crdt_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// stranger is a member whose program is not ours.
type stranger struct {
	t   testing.TB
	key ed25519.PrivateKey
	f   *crdt.Folder // of the device that admitted it
	id  feed.ID
	seq uint64
	was feed.Hash
}

func (d *device) stranger(name string) *stranger {
	d.t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	s := &stranger{t: d.t, key: ed25519.NewKeyFromSeed(seed), f: d.f}
	s.id = feed.ID{Device: feed.DeviceOf(s.key), Run: 1}
	secret, err := d.f.Invite()
	if err == nil {
		_, err = d.f.Redeem(secret, s.id.Device, name)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.seal()
	return s
}

// entry signs a payload.
func (s *stranger) entry(plain []byte) *feed.Entry {
	s.t.Helper()
	s.seq++
	e, err := feed.Seal(s.key, s.f.Key(), feed.Draft{Folder: s.f.ID(), Feed: s.id, Seq: s.seq, Prev: s.was, Time: time.Unix(1_700_000_000, 0)}, plain)
	if err != nil {
		s.t.Fatal(err)
	}
	s.was = e.Hash()
	return e
}

// Operations that build on each other come in any order, from members who do not tell what they
// build on; each folder shows the same, and what waits takes no more than its share of memory.
func TestWaiting(t *testing.T) {
	t.Cleanup(crdt.SetMaxWaiting(3))
	a, b := pair(t)
	c := newDevice(t, "cleo")
	a.invite(c)
	var all []*feed.Entry
	for i, plain := range crdt.Chained(20) {
		all = append(all, a.stranger(fmt.Sprint("stranger ", i)).entry(plain))
	}
	sync(t, a, b, c)

	a.receive(all) // in order: nothing waits
	if n, more := a.f.Waiting(); n != 0 || more {
		t.Fatalf("%d operations wait, or more: %v", n, more)
	}
	most := 0
	for i, e := range slices.Backward(all) {
		b.receive([]*feed.Entry{e})
		if n, _ := b.f.Waiting(); n > 2*3 {
			t.Fatalf("%d operations wait in memory", n)
		}
		n, err := b.f.Shelved()
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
		if i%7 == 0 {
			b.reopen()
		}
	}
	if most == 0 {
		t.Error("nothing waited in the database")
	}
	slices.Reverse(all)
	c.receive(all[:1])
	c.receive(all[1:]) // in one batch
	same(t, a, b, c)
	if want := a.digest().Sum; b.digest().Sum != want || c.digest().Sum != want {
		t.Error("they show the same, and have different digests")
	}
	if got := a.read("chained").Text; len(got) < 20 {
		t.Fatalf("the text is %q", got)
	}
	for _, d := range []*device{a, b, c} {
		before := d.dump()
		if n, err := d.f.Shelved(); n > 0 || err != nil {
			t.Errorf("%d operations are still in the database, and none waits: %v", n, err)
		}
		d.reopen()
		if n, err := d.f.Shelved(); n > 0 || err != nil {
			t.Errorf("opened again, %d operations are in the database, and none waits: %v", n, err)
		}
		if after := d.dump(); after != before {
			t.Errorf("opened again it shows\n%s\nand before\n%s", after, before)
		}
	}
}

// A hostile member can have operations wait for ever: they wait on disk.
func TestWaitingForEver(t *testing.T) {
	a, _ := pair(t)
	s := a.stranger("stranger")
	for i := range 3 {
		a.receive([]*feed.Entry{s.entry(crdt.Never(i, 5_000))})
		if n, more := a.f.Waiting(); n > 2*4096 || !more {
			t.Fatalf("%d operations wait in memory, more: %v", n, more)
		}
	}
	a.reopen()
	if n, more := a.f.Waiting(); n > 2*4096 || !more {
		t.Fatalf("opened again, %d operations wait in memory, more: %v", n, more)
	}
	a.create("x", "1\n")
}

// A chain of operations that wait for each other is woken without a stack as deep.
func TestWaitingChain(t *testing.T) {
	a, b := pair(t)
	first, rest := a.stranger("first"), a.stranger("rest")
	n := 10_000 // more than wait in memory
	plain := crdt.Chained(n)
	e := rest.entry(crdt.Joined(plain[2:]...))
	sync(t, a, b)
	b.receive([]*feed.Entry{e})
	b.receive([]*feed.Entry{first.entry(crdt.Joined(plain[:2]...))})
	if got := b.read("chained").Text; len(got) < n {
		t.Fatalf("%d bytes of %d lines are shown", len(got), n)
	}
}

// Nor does reading a text take longer because its events are stored the wrong way round.
func TestWaitingBackwards(t *testing.T) {
	a, b := pair(t)
	first, rest := a.stranger("first"), a.stranger("rest")
	n := 10_000
	plain := crdt.Chained(n)
	slices.Reverse(plain[2:])
	e := rest.entry(crdt.Joined(plain[2:]...))
	sync(t, a, b)
	b.receive([]*feed.Entry{first.entry(crdt.Joined(plain[:2]...)), e})
	b.reopen()
	began := time.Now()
	if got := b.read("chained").Text; len(got) < n {
		t.Fatalf("%d bytes of %d lines are shown", len(got), n)
	}
	if took := time.Since(began); took > 20*time.Second { // each against all others took over a minute
		t.Errorf("it took %v", took)
	}
}
