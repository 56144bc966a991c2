package peer

import (
	"context"
	"maps"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// push sends the entries that the peer lacks, in local order. It returns when to look again.
func (s *session) push() (time.Duration, error) {
	limit := 128
	s.mu.Lock()
	if s.sendAll {
		s.sendAll, s.cursor, s.allUntil = false, 0, s.f.Last()
	}
	s.mu.Unlock()
	for s.ctx.Err() == nil {
		// What was left out because the peer holds the feed further may lie on another branch.
		next := time.Hour
		if n := s.f.Forks(); n != s.forks {
			if wait := rescanEvery - time.Since(s.rescanned); s.rescans >= freeRescans && wait > 0 {
				next = wait
			} else {
				s.cursor, s.forks, s.rescanned = 0, n, time.Now()
				s.rescans++
			}
		}
		locals, err := s.f.Since(s.cursor, limit)
		s.pushed = time.Now()
		if err != nil {
			return 0, err
		}
		if len(locals) == 0 {
			s.holdUntil = time.Time{}
			return next, nil
		}
		fresh, bytes := s.lacked(locals)
		if wait := s.hold(fresh); wait > 0 {
			return wait, nil
		}
		if err := s.sendEntries(fresh); err != nil {
			return 0, err
		}
		s.cursor = locals[len(locals)-1].Order
		// Few at a time where they are large, many where they are small.
		switch {
		case bytes > 4*wire.BatchSize:
			limit = max(1, limit/2)
		case bytes < wire.BatchSize/2:
			limit = min(1024, 2*limit)
		}
		if s.dirty.Load()&dirtyHave != 0 {
			s.dirty.And(^dirtyHave)
			if _, err := s.sendHave(); err != nil {
				return 0, err
			}
		}
	}
	return 0, context.Cause(s.ctx)
}

// lacked returns those of the entries that the peer is not known to hold.
func (s *session) lacked(locals []crdt.Local) (fresh []*feed.Entry, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range locals {
		bytes += len(l.Entry.Bytes())
		if l.Order <= s.allUntil || !s.theirs.Covers(l.Entry.Feed, l.Entry.Seq) || s.f.Forked(l.Entry.Feed) {
			fresh = append(fresh, l.Entry)
		}
	}
	return fresh, bytes
}

// hold returns how long to wait with entries that the peer is about to get from their
// authors. Nothing of our own ever waits.
func (s *session) hold(fresh []*feed.Entry) time.Duration {
	if len(fresh) == 0 || len(fresh) > 16 {
		s.holdUntil = time.Time{}
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range fresh {
		if a := e.Feed.Device; a != s.link.device && !s.linkedTo[a] {
			s.holdUntil = time.Time{}
			return 0
		}
	}
	if s.holdUntil.IsZero() {
		s.holdUntil = time.Now().Add(holdTime)
	}
	wait := time.Until(s.holdUntil)
	if wait <= 0 {
		s.holdUntil = time.Time{}
		return 0
	}
	return wait
}

func (s *session) sendEntries(es []*feed.Entry) error {
	for len(es) > 0 {
		if err := s.sendCheckpoint(); err != nil { // it is waited for, and they are many
			return err
		}
		m := &wire.Entries{}
		size, k := 0, 0
		for ; k < len(es) && k < wire.MaxEntries; k++ {
			if k > 0 && fault.On("peer-dawdles") {
				break
			}
			b := spoil(es[k].Bytes())
			if k > 0 && size+len(b) > wire.BatchSize {
				break
			}
			size += len(b)
			m.Entries = append(m.Entries, b)
		}
		if err := s.out.Write(m); err != nil {
			return err
		}
		dawdle()
		for _, e := range es[:k] {
			s.told.Advance(e.Head())
		}
		es = es[k:]
	}
	return nil
}

// sendHave acknowledges, and tells what is wanted. It returns when to look again.
func (s *session) sendHave() (time.Duration, error) {
	s.mu.Lock()
	probe := s.probe
	s.mu.Unlock()
	mine, err := s.f.Frontier()
	if err != nil {
		return 0, err
	}
	news := feed.Frontier{}
	for id, h := range mine {
		if !s.told.Covers(id, h.Seq) {
			news[id] = h
		}
	}
	// After the heads: what they want is wanted by now.
	want, bytes := s.n.fetch.wants(s.link, s.f)
	if len(news) == 0 && probe == s.answer {
		switch {
		case want == s.said.want && bytes == s.said.bytes:
			return time.Hour, nil
		case want > 0 && s.said.want > 0 && time.Since(s.said.at) < wantEvery:
			return wantEvery - time.Since(s.said.at), nil
		}
	}
	if err := s.out.Write(&wire.Have{Heads: news.Encode(), Want: want, WantBytes: bytes, Probe: probe}); err != nil {
		return 0, err
	}
	maps.Copy(s.told, news)
	s.said = saidWant{want, bytes, time.Now()}
	s.answer = probe
	return time.Hour, nil
}

func (s *session) sendProbe() error {
	s.mu.Lock()
	asked := s.asked
	s.mu.Unlock()
	if asked == s.probed {
		return nil
	}
	s.probed = asked
	return s.out.Write(&wire.Probe{N: asked})
}

// sendAskAll asks for every entry, once, where heads do not tell what is held.
func (s *session) sendAskAll() error {
	s.mu.Lock()
	ask := s.askAll && !s.askedAll
	s.mu.Unlock()
	if !ask {
		return nil
	}
	s.askedAll = true
	mine, err := s.f.Frontier()
	if err != nil {
		return err
	}
	s.told = mine
	return s.out.Write(&wire.Frontier{Heads: mine.Encode(), All: true})
}

// sendPeers tells where the other devices of the folder are.
func (s *session) sendPeers() error {
	peers := s.n.whereabouts(s.f, s.link.device)
	if samePeers(peers, s.saidPeers) {
		return nil
	}
	s.saidPeers = peers
	return s.out.Write(&wire.Peers{Peers: peers})
}

// sendGot tells of objects that the peer asked for in vain and that are here now.
func (s *session) sendGot() error {
	s.mu.Lock()
	var got []crdt.Hash
	for h := range s.denied {
		if len(got) < wire.MaxHashes && s.n.has(h) {
			got = append(got, h)
			delete(s.denied, h)
		}
	}
	s.mu.Unlock()
	if len(got) == 0 {
		return nil
	}
	return s.out.Write(&wire.Got{Hashes: got})
}

// deny remembers that an object was asked for that is not here.
func (s *session) deny(h crdt.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.denied) < maxDenied {
		s.denied[h] = struct{}{}
	}
}
