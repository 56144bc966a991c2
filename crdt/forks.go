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
	if err := f.sealSoon(); err != nil {
		f.mu.Unlock()
		return nil, feed.Hash{}, err
	}
	h := f.holding()
	f.mu.Unlock()
	hash, err := f.hashHeld(h)
	return h.frontier, hash, err
}

// holding is what is held at one moment.
type holding struct {
	frontier feed.Frontier
	order    uint64    // of the newest entry
	forked   []feed.ID // sorted
	hash     feed.Hash // zero: not known yet
}

// holding returns what is held now. It runs with mu held; what is held is stored.
func (f *Folder) holding() holding {
	h := holding{frontier: f.frontier.Clone(), order: f.order}
	switch {
	case len(f.forked) == 0:
		h.hash = h.frontier.Hash()
	case f.heldHash.order == f.order:
		h.hash = f.heldHash.hash
	default:
		h.forked = slices.SortedFunc(maps.Keys(f.forked), feed.Compare)
	}
	return h
}

// heldHash is the hash of what was held once; kept where a feed is forked, whose entries have to
// be read for it.
type heldHash struct {
	order uint64 // 0: none is kept
	hash  feed.Hash
}

// hashHeld hashes what is held, or was. It runs without mu.
func (f *Folder) hashHeld(held holding) (feed.Hash, error) {
	if !held.hash.IsZero() {
		return held.hash, nil
	}
	atLength()
	// Of a forked feed the head is that of the branch that came first, or is longer.
	others := held.frontier.Clone()
	for _, id := range held.forked {
		delete(others, id)
	}
	heads := others.Hash()
	h := blake3.NewDeriveKey("sheaf 2026-11 frontier with forks v2")
	h.Write(heads[:])
	n := len(f.key('i'))
	for _, id := range held.forked {
		err := f.home.db.Scan(f.feedKey(id), func(k, v []byte) error {
			if decodeLocated(v).order <= held.order { // no more than was held then
				h.Write(k[n:])
			}
			return nil
		})
		if err != nil {
			return feed.Hash{}, storage("read", f.grant.Name, err)
		}
	}
	hash := feed.Hash(h.Sum(nil))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.order == held.order && maps.Equal(f.frontier, held.frontier) {
		f.heldHash = heldHash{held.order, hash}
	}
	return hash, nil
}
