package peer

import (
	"context"
	"errors"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// Devices that hold the same entries must have made the same of them. Once a folder has been
// at rest for a moment, and a connected device has the same frontier, both make a digest of
// their state, once for each frontier, and tell it. What differs is a fault of one of them, or
// damage: nothing that sync could mend, so a person is told.

// rest is what is known of a folder's digest. It is guarded by shared.mu.
type rest struct {
	last     uint64 // order of the newest entry when it was looked at last
	making   bool
	digest   crdt.Digest // the last one made
	of       uint64      // and the order that it was made at
	told     map[crdt.Device]telling
	diverged map[crdt.Device]time.Time
}

// telling is a digest that another device told.
type telling struct {
	crdt.Digest
	last uint64 // order of our newest entry then, if that device was known to have the same heads; else 0
}

// compareAtRest has digests made of the folders in which nothing happened since it was called
// last.
func (n *Node) compareAtRest() {
	if fault.On("peer-no-digests") {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.folders {
		if f.wantsDigest() && !n.spawnLocked(func() { n.digest(f) }) {
			f.digested(crdt.Digest{}, 0)
		}
	}
}

// wantsDigest reports whether a digest is to be made now, and counts it as begun.
func (f *shared) wantsDigest() bool {
	last := f.Last()
	f.mu.Lock()
	defer f.mu.Unlock()
	moved := last != f.rest.last
	f.rest.last = last
	if moved || last == 0 || f.rest.making || f.rest.of == last {
		return false
	}
	for s := range f.sessions {
		if s.comparable() {
			f.rest.making = true
			return true
		}
	}
	return false
}

// comparable reports whether the peer knows of digests and is known to hold what we hold.
func (s *session) comparable() bool {
	if s.link.conn.ConnectionState().TLS.NegotiatedProtocol != wire.ALPN2 {
		return false
	}
	mine, err := s.f.Folder.Frontier()
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.met && !s.refused && within(mine, s.theirs) && within(s.theirs, mine)
}

// digest makes the digest of a folder, and has every session tell and compare it.
func (n *Node) digest(f *shared) {
	last := f.Last()
	d, err := f.Digest(n.ctx)
	switch {
	case errors.Is(err, crdt.ErrBusy), errors.Is(err, context.Canceled):
		f.digested(crdt.Digest{}, 0) // the next quiet moment will do
		return
	case err != nil:
		n.log.Error("the folder's state could not be digested", "folder", f.Name(), "err", err)
	}
	f.digested(d, last)
	for dev := range f.toldBy() {
		n.judge(f, dev)
	}
	f.each(func(s *session) { s.kick(dirtyDigest) })
}

// digested notes how a digest ended; one that came to nothing at all is tried again.
func (f *shared) digested(d crdt.Digest, of uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rest.making = false
	if of != 0 {
		f.rest.digest, f.rest.of = d, of
	}
}

// toldBy returns what other devices told.
func (f *shared) toldBy() map[crdt.Device]crdt.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[crdt.Device]crdt.Digest, len(f.rest.told))
	for dev, d := range f.rest.told {
		out[dev] = d.Digest
	}
	return out
}

// sendDigest tells the peer our digest, once.
func (s *session) sendDigest() error {
	s.f.mu.Lock()
	d, of := s.f.rest.digest, s.f.rest.of
	s.f.mu.Unlock()
	if d.Version == 0 || d == s.saidSum || of != s.f.Last() || !s.comparable() {
		return nil
	}
	s.saidSum = d
	return s.out.Write(&wire.Digest{Version: d.Version, Frontier: d.Frontier, Sum: d.Sum})
}

// maxDigests is how many digests a peer may tell at once; after that one comes whenever the
// folder may have been at rest.
const maxDigests = 16

// takeDigest hears the peer's, and answers with ours: it may have been made before this session.
func (s *session) takeDigest(m *wire.Digest) error {
	if s.digests++; s.digests > maxDigests+int(time.Since(s.link.began)/refreshEvery) {
		return violation(errors.New("more digests than a folder can have been at rest"))
	}
	t := telling{Digest: crdt.Digest{Version: m.Version, Frontier: m.Frontier, Sum: m.Sum}}
	if s.comparable() {
		t.last = s.f.Last()
	}
	s.f.mu.Lock()
	if s.f.rest.told == nil {
		s.f.rest.told, s.f.rest.diverged = map[crdt.Device]telling{}, map[crdt.Device]time.Time{}
	}
	was := s.f.rest.told[s.link.device].Version
	s.f.rest.told[s.link.device] = t
	s.f.mu.Unlock()
	if was != m.Version && m.Version != crdt.DigestVersion {
		s.n.log.Warn("a device merges by other rules: states are not compared", "folder", s.f.Name(), "device", s.link.device,
			"ours", crdt.DigestVersion, "theirs", m.Version)
		s.n.announce()
	}
	s.n.judge(s.f, s.link.device)
	s.kick(dirtyDigest)
	return nil
}

// judge compares our digest with what a device told, if they are of the same entries and made
// the same way.
func (n *Node) judge(f *shared, dev crdt.Device) {
	f.mu.Lock()
	mine, of, theirs := f.rest.digest, f.rest.of, f.rest.told[dev]
	if mine.Version == 0 || mine.Version != theirs.Version {
		f.mu.Unlock()
		return
	}
	if mine.Frontier != theirs.Frontier {
		f.mu.Unlock()
		if f.Forks() > 0 && theirs.last == of && f.Last() == of {
			// Where a feed was forked, equal heads do not say that nothing is missing. What either
			// made before the last entry came says nothing, and everything is asked for only once.
			f.each(func(s *session) {
				if s.link.device == dev && s.comparable() {
					s.suspect(dev)
				}
			})
		}
		return
	}
	_, was := f.rest.diverged[dev]
	is := mine.Sum != theirs.Sum
	switch {
	case is && !was:
		f.rest.diverged[dev] = time.Now()
	case !is:
		delete(f.rest.diverged, dev)
	}
	f.mu.Unlock()
	switch {
	case is && !was:
		f.each(func(s *session) { s.suspect(dev) }) // before a person looks for the fault
		n.log.Error("a device has the same entries and another state of the folder", "folder", f.Name(), "device", dev,
			"frontier", mine.Frontier, "ours", mine.Sum, "theirs", theirs.Sum, "version", mine.Version)
	case was && !is:
		n.log.Info("a device has the same state of the folder again", "folder", f.Name(), "device", dev)
	}
	if is != was {
		n.announce()
	}
}

// divergedSince returns since when a device is known to have another state; zero: it is not.
func (f *shared) divergedSince(d crdt.Device) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rest.diverged[d]
}

// rules tells whether a device merges by other rules than this one, as its digests say: those of
// an older or of a newer sheaf. What it told when it was connected last counts.
func (f *shared) rules(d crdt.Device) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch v := f.rest.told[d].Version; {
	case v == 0 || v == crdt.DigestVersion:
		return ""
	case v < crdt.DigestVersion:
		return RulesOlder
	default:
		return RulesNewer
	}
}

// suspect has every entry of a device asked for.
func (s *session) suspect(dev crdt.Device) {
	if s.link.device != dev {
		return
	}
	s.mu.Lock()
	s.askAll = true
	s.mu.Unlock()
	s.kick(dirtyState)
}
