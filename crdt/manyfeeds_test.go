package crdt_test

import (
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// A member that begins feeds without end keeps nobody from publishing: an entry names as many as it
// can, and has the time that it was made with all the same.
func TestManyFeeds(t *testing.T) {
	const most = 8
	t.Cleanup(crdt.SetMaxTold(most))
	a, b := pair(t)
	s := a.stranger("stranger")
	sync(t, a, b)
	var all []*feed.Entry
	for run := range uint64(3 * most) {
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
	a.reopen()
	a.create("/three", "three")
	a.seal()
	ls, err := a.f.Since(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	told := map[feed.ID]bool{}
	for _, l := range ls {
		if l.Entry.Feed.Device != a.home.Device() {
			continue
		}
		if n := len(l.Entry.Frontier); n > most {
			t.Errorf("an entry names %d feeds", n)
		}
		for _, h := range l.Entry.Frontier {
			if h.Feed.Device == s.id.Device {
				told[h.Feed] = true
			}
		}
	}
	if len(told) < len(all) {
		t.Errorf("three entries have told of %d feeds of %d", len(told), len(all))
	}
	a.send(b)
	same(t, a, b)
}
