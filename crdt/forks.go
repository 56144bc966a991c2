package crdt

import (
	"maps"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// A feed is forked where two entries of one number are held: a home was rolled back and went
// on in the same run. Its head then names one branch, so that heads do not tell what is held.

// latest is the entry of a feed that is the latest in time: its head, but for feeds that are
// forked, where that can be on another branch. The entries of this device build on it, or what
// a person does could be older than what they see.
type latest struct {
	head    feed.Head
	lamport uint64
}

// Forked reports whether a feed is known to be forked: that its head is held does not mean
// that all of it is.
func (f *Folder) Forked(id feed.ID) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, ok := f.forked[id]
	return ok
}

// Forks is the number of feeds that are known to be forked. It only grows.
func (f *Folder) Forks() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.forked)
}

// Held is Frontier, with a hash that is the same on devices that hold the same entries, and
// only there: it covers every entry of the feeds that are forked.
func (f *Folder) Held() (feed.Frontier, feed.Hash, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sealSoon(); err != nil {
		return nil, feed.Hash{}, err
	}
	fr := f.frontier.Clone()
	hash := fr.Hash()
	if len(f.forked) == 0 {
		return fr, hash, nil
	}
	h := blake3.NewDeriveKey("sheaf 2026-11 frontier with forks v1")
	h.Write(hash[:])
	for _, id := range slices.SortedFunc(maps.Keys(f.forked), feed.Compare) {
		prefix := f.feedKey(id)
		err := f.home.db.Scan(prefix, func(k, _ []byte) error {
			h.Write(k[len(f.key('i')):])
			return nil
		})
		if err != nil {
			return nil, feed.Hash{}, storage("read", f.grant.Name, err)
		}
	}
	return fr, feed.Hash(h.Sum(nil)), nil
}
