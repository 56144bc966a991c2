package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// A newcomer asks the first device that it meets for a checkpoint, which comes between the
// entries. Only a device's own checkpoint is taken, so whoever lies is the one at the other end.

// asking is a checkpoint on its way to us. It belongs to the session's reader.
type asking struct {
	c    *crdt.Checkpoint
	body []byte
	skip bool // it is of no use
}

// askCheckpoint asks the peer for a checkpoint, if this device is new to the folder and nobody
// else is asked.
func (s *session) askCheckpoint() error {
	if s.link.conn.ConnectionState().TLS.NegotiatedProtocol != wire.ALPN2 {
		return nil
	}
	s.mu.Lock()
	theirs := s.theirs.Clone()
	s.mu.Unlock()
	if !s.f.WantsCheckpoint(theirs) || !s.f.claim(s) {
		return nil
	}
	return s.out.Write(&wire.Ask{})
}

// claim makes a session the one that asks, and reports whether it is.
func (f *shared) claim(s *session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asker != nil {
		return f.asker == s
	}
	f.asker = s
	return true
}

// unclaim lets others ask.
func (f *shared) unclaim(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asker == s {
		f.asker = nil
	}
}

// madeEvery is how far apart checkpoints for one device are at least. Making one takes seconds of
// a processor, and who has none can do without.
const madeEvery = time.Minute

// mayHave reports whether a checkpoint may be made for a device now, and counts it as made.
func (f *shared) mayHave(d crdt.Device, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.made[d]; ok && now.Sub(last) < madeEvery {
		return false
	}
	if f.made == nil {
		f.made = map[crdt.Device]time.Time{}
	}
	f.made[d] = now
	return true
}

// takeAsk has a checkpoint made for the peer.
func (s *session) takeAsk() error {
	s.mu.Lock()
	again := s.served
	s.served = true
	s.mu.Unlock()
	if fault.On("peer-no-checkpoints") {
		return nil
	}
	if again {
		return violation(errors.New("a second checkpoint is asked for"))
	}
	if !s.f.mayHave(s.link.device, time.Now()) {
		return nil
	}
	s.n.spawn(func() {
		s.f.making.Lock() // one at a time: each takes memory
		defer s.f.making.Unlock()
		header, body, err := s.f.MakeCheckpoint(s.ctx)
		switch {
		case errors.Is(err, context.Canceled):
			return
		case err != nil:
			s.n.log.Warn("a checkpoint could not be made", "folder", s.f.Name(), "err", err)
			return
		case header == nil:
			return
		}
		s.n.log.Info("made a checkpoint", "folder", s.f.Name(), "device", s.link.device, "bytes", len(body))
		s.mu.Lock()
		s.checkpoint = &ready{header, body}
		s.mu.Unlock()
		s.kick(dirtyCheckpoint)
	})
	return nil
}

// ready is a checkpoint to be sent.
type ready struct{ header, body []byte }

// sendCheckpoint sends what was made for the peer.
func (s *session) sendCheckpoint() error {
	s.mu.Lock()
	r := s.checkpoint
	s.checkpoint = nil
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	if err := s.out.Write(&wire.Checkpoint{Header: r.header}); err != nil {
		return err
	}
	for body := r.body; len(body) > 0; {
		k := min(len(body), wire.SliceSize)
		if err := s.out.Write(&wire.Checkpoint{Data: body[:k], Last: k == len(body)}); err != nil {
			return err
		}
		body = body[k:]
	}
	return nil
}

// takeCheckpoint takes in a part of a checkpoint.
func (s *session) takeCheckpoint(m *wire.Checkpoint) error {
	s.f.mu.Lock()
	asked := s.f.asker == s
	s.f.mu.Unlock()
	a := &s.asking
	switch {
	case s.ctx.Err() != nil:
		return nil // what it was asked for is of no use any more, which it cannot know
	case !asked, (len(m.Header) > 0) != (a.c == nil && !a.skip):
		return violation(errors.New("a checkpoint that nobody asked for"))
	case len(m.Header) > 0:
		c, err := s.f.ParseCheckpoint(m.Header, s.link.device)
		if errors.Is(err, crdt.ErrCheckpointVersion) {
			a.skip = true
			return nil
		}
		if a.c = c; err != nil {
			s.f.NoFirst()
			return violation(err)
		}
		return nil
	case a.skip:
	case len(a.body)+len(m.Data) > a.c.Size:
		s.f.NoFirst()
		return violation(fmt.Errorf("a checkpoint of more than its %d bytes", a.c.Size))
	default:
		a.body = append(a.body, m.Data...)
	}
	if !m.Last {
		return nil
	}
	s.f.unclaim(s)
	done := *a
	*a = asking{}
	if done.skip {
		return nil
	}
	if err := s.f.ShowFirst(done.c, done.body); err != nil {
		return violation(err)
	}
	s.n.fetch.refresh(s.f)
	s.n.announce()
	return nil
}
