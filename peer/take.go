package peer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// read takes in a sync stream of the peer. An error is the end of the link.
func (s *session) read(stream *quic.ReceiveStream, r *wire.Reader, open *wire.Open) error {
	s.mu.Lock()
	if s.reading {
		s.mu.Unlock()
		return violation(errors.New("a second sync stream for one folder"))
	}
	s.reading, s.open, s.met, s.theirs, s.served = true, open.Frontier, false, nil, false
	s.opens++
	s.mu.Unlock()
	s.asking = asking{}
	s.kick(dirtyState)
	defer context.AfterFunc(s.ctx, func() { stream.CancelRead(codeRefused) })()
	defer func() {
		s.mu.Lock()
		s.reading = false
		s.mu.Unlock()
	}()
	for {
		m, err := r.Read()
		var se *quic.StreamError
		switch {
		case err == nil:
		case s.ctx.Err() != nil, errors.Is(err, io.EOF), errors.As(err, &se):
			return nil // one of us does not share the folder any more
		default:
			return err
		}
		if err := s.take(m); err != nil {
			return fmt.Errorf("folder %s: %w", s.f.Name(), err)
		}
	}
}

// take takes in one message.
func (s *session) take(m wire.Message) error {
	switch m := m.(type) {
	case *wire.Frontier:
		fr, err := feed.DecodeFrontier(m.Heads)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.met, s.theirs, s.sendAll, s.unsaved = true, fr, m.All, true
		s.mu.Unlock()
		s.kick(dirtyState | dirtyPush)
		s.know()
		return s.compare(fr)
	case *wire.Entries:
		return s.takeEntries(m)
	case *wire.Have:
		return s.takeHave(m)
	case *wire.Probe:
		s.mu.Lock()
		s.probe = m.N
		s.mu.Unlock()
		s.kick(dirtyHave)
	case *wire.Got:
		s.n.fetch.undeny(s.link, m.Hashes)
	case *wire.Peers:
		s.takePeers(m)
	case *wire.Ask:
		return s.takeAsk()
	case *wire.Checkpoint:
		return s.takeCheckpoint(m)
	case *wire.Digest:
		return s.takeDigest(m)
	default:
		return violation(fmt.Errorf("%T on a sync stream", m))
	}
	return nil
}

func (s *session) takeEntries(m *wire.Entries) error {
	es := make([]*feed.Entry, len(m.Entries))
	for i, b := range m.Entries {
		e, err := feed.Decode(s.f.ID(), b)
		if err != nil {
			return err
		}
		es[i] = e
	}
	if _, err := s.f.Receive(es); err != nil {
		if errors.Is(err, crdt.ErrGap) {
			s.n.doubt(s.f.ID(), s.link.device)
		}
		return err
	}
	heads := feed.Frontier{}
	for _, e := range es {
		heads.Advance(e.Head())
	}
	if err := s.advance(heads); err != nil {
		return err
	}
	s.n.fetch.refresh(s.f)
	s.kick(dirtyHave)
	s.n.announce()
	return nil
}

func (s *session) takeHave(m *wire.Have) error {
	heads, err := feed.DecodeFrontier(m.Heads)
	if err != nil {
		return err
	}
	if err := s.advance(heads); err != nil {
		return err
	}
	if err := s.compare(heads); err != nil {
		return err
	}
	s.mu.Lock()
	s.want, s.wantBytes, s.answered = m.Want, m.WantBytes, m.Probe
	s.mu.Unlock()
	s.link.remote.well()
	s.n.announce()
	return nil
}

// compare looks for forks: heads that we do not hold although we hold the feed further. They
// come of a home that was rolled back and went on.
func (s *session) compare(heads feed.Frontier) error {
	mine, err := s.f.Frontier()
	if err != nil {
		return err
	}
	for id, h := range heads {
		if h == mine[id] || !mine.Covers(id, h.Seq) {
			continue
		}
		held, err := s.f.Holds(h)
		if err != nil {
			return err
		}
		if !held {
			s.mu.Lock()
			known := s.askAll
			s.askAll = true
			s.mu.Unlock()
			if known {
				return nil
			}
			s.n.log.Warn("a feed was forked: asking for every entry", "folder", s.f.Name(), "feed", id, "device", s.link.device)
			s.kick(dirtyState)
			return nil
		}
	}
	return nil
}

// advance notes that the peer holds these heads.
func (s *session) advance(heads feed.Frontier) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.theirs == nil {
		s.theirs = feed.Frontier{}
	}
	for _, h := range heads {
		if s.theirs.Advance(h) {
			s.unsaved = true
		}
	}
	if len(s.theirs) > feed.MaxFeeds {
		return violation(fmt.Errorf("frontier of %d feeds", len(s.theirs)))
	}
	return nil
}

// takePeers notes where others are; only devices of the folder are of interest.
func (s *session) takePeers(m *wire.Peers) {
	linked := map[crdt.Device]bool{}
	for _, p := range m.Peers {
		if p.Device == s.n.id.device || !s.f.Admitted(p.Device) {
			continue
		}
		if p.Linked {
			linked[p.Device] = true
		}
		s.n.learn(s.n.remote(p.Device), p.Addrs...)
	}
	s.mu.Lock()
	s.linkedTo = linked
	s.mu.Unlock()
	s.f.each(func(o *session) {
		if o != s {
			o.kick(dirtyPeers)
		}
	})
}
