package crdt_test

import (
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// A member that begins feeds without end keeps nobody from publishing: an entry names as many as it
// can, and has the time that it was made with all the same.
func TestManyFeeds(t *testing.T) {
	a, b := pair(t)
	s := a.stranger("stranger")
	sync(t, a, b)
	var all []*feed.Entry
	for run := range uint64(feed.MaxFrontier + 10) {
		s.id.Run, s.seq, s.was = run+1, 0, feed.Hash{}
		all = append(all, s.entry(crdt.Chained(0)[0]))
	}
	a.receive(all)
	b.receive(all)
	for _, name := range []string{"/one", "/two"} {
		a.create(name, name)
		a.seal()
		if _, err := a.f.Frontier(); err != nil {
			t.Fatal(err)
		}
	}
	a.send(b)
	same(t, a, b)
	if a.digest().Sum != b.digest().Sum {
		t.Error("they show the same, and have different digests")
	}
	held, err := a.f.Frontier()
	if err != nil {
		t.Fatal(err)
	}
	if told, err := feed.DecodeFrontier(held.Encode()); err != nil || told.Hash() != held.Hash() {
		t.Errorf("%d feeds cannot be told to others: %v", len(held), err)
	}
	t.Cleanup(crdt.SetWorth(0))
	header, _, err := a.f.MakeCheckpoint(t.Context())
	if err == nil {
		_, err = b.f.ParseCheckpoint(header, a.home.Device())
	}
	if err != nil {
		t.Errorf("no checkpoint of so many feeds: %v", err)
	}
	a.reopen()
	a.create("/three", "three")
	a.send(b)
	same(t, a, b)
}
