package peer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

const (
	// gatherTime is how far apart pushes are at least: the first change of a burst goes out
	// at once, the rest in batches.
	gatherTime = 3 * time.Millisecond
	// holdTime is how long another device's entry is held back where the receiver is
	// connected to its author itself: mostly it comes from there meanwhile.
	holdTime = 50 * time.Millisecond
	// wantEvery is how often progress of objects is told.
	wantEvery = 100 * time.Millisecond
	// freeRescans is how often all entries are looked at because a feed was forked, and
	// rescanEvery how often after that: a member may fork feeds without end.
	freeRescans = 16
	rescanEvery = 5 * time.Second
)

// What a session's writer has to look at.
const (
	dirtyPush       uint32 = 1 << iota // there may be new entries
	dirtyHave                          // heads of ours, or what we want, changed
	dirtyPeers                         // others are somewhere else
	dirtyCheckpoint                    // one was made for the peer
	dirtyDigest                        // there is a digest to compare
	dirtyState                         // the other end said something that the writer waits for
)

// session is the sync of one folder over one link. It has a stream in each direction: the
// writer owns the outgoing one and never waits for the reader, which owns the incoming one;
// so two devices that flood each other cannot block each other.
type session struct {
	n    *Node
	link *link
	f    *shared
	ctx  context.Context
	stop context.CancelFunc

	dirty atomic.Uint32
	wake  chan struct{}

	mu        sync.Mutex
	reading   bool // a sync stream of the peer is being read
	opens     int  // sync streams that the peer opened so far
	refused   bool // the peer does not share the folder
	open      feed.Hash
	met       bool          // theirs is known
	theirs    feed.Frontier // what the peer is known to hold
	want      uint64        // objects that the peer wants and we may have
	wantBytes uint64
	linkedTo  map[crdt.Device]bool // whom the peer is connected to
	asked     uint64               // number of the last Probe to send
	answered  uint64               // and of the last one answered
	probe     uint64               // and of the last one that the peer sent
	denied    map[crdt.Hash]struct{}
	sendAll   bool // the peer asked for every entry
	askAll    bool // to be asked of the peer
	unsaved   bool // theirs went on since remember

	served     bool   // a checkpoint was asked for on this stream
	checkpoint *ready // and made, but not sent yet

	// Of the reader alone.
	asking  asking
	digests int // heard

	// Of the writer alone.
	out       *wire.Writer
	told      feed.Frontier // what the peer knows that we hold
	cursor    uint64        // local order up to which everything was pushed
	forks     int           // forked feeds that were looked at up to cursor
	rescans   int           // how often cursor was set back because of a fork
	rescanned time.Time     // and when the last time
	allUntil  uint64        // local order up to which everything is pushed, held or not
	askedAll  bool
	holdUntil time.Time
	pushed    time.Time // when it last looked for entries
	said      saidWant
	saidPeers []wire.Peer
	saidSum   crdt.Digest
	probed    uint64
	answer    uint64
}

type saidWant struct {
	want, bytes uint64
	at          time.Time
}

func newSession(l *link, f *shared) *session {
	s := &session{n: l.n, link: l, f: f, wake: make(chan struct{}, 1), denied: map[crdt.Hash]struct{}{}}
	s.ctx, s.stop = context.WithCancel(l.conn.Context())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions[s] = struct{}{}
	return s
}

// kick makes the writer look at something.
func (s *session) kick(what uint32) {
	s.dirty.Or(what)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes until the session ends; what the peer refuses is tried again when it opens a
// stream of its own.
func (s *session) run() {
	defer func() {
		s.stop()
		s.f.mu.Lock()
		delete(s.f.sessions, s)
		s.f.mu.Unlock()
		s.f.unclaim(s)
		s.remember()
		s.n.announce()
	}()
	for {
		s.mu.Lock()
		opens := s.opens
		s.mu.Unlock()
		err := s.write()
		var se *quic.StreamError
		switch {
		case s.ctx.Err() != nil:
			return
		case errors.As(err, &se) && se.Remote:
			if !s.awaitOpen(opens) {
				return
			}
		default:
			s.link.fail(err)
			return
		}
	}
}

// awaitOpen waits until the peer has opened more sync streams than that.
func (s *session) awaitOpen(opens int) bool {
	s.mu.Lock()
	s.refused, s.met = true, false
	s.mu.Unlock()
	s.n.announce()
	for {
		s.mu.Lock()
		again := s.opens > opens
		s.refused = !again
		s.mu.Unlock()
		if again {
			return true
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return false
		}
	}
}

// write opens the outgoing stream and keeps the peer up to date.
func (s *session) write() error {
	stream, err := s.link.conn.OpenUniStreamSync(s.ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(s.ctx, func() { stream.CancelWrite(codeRefused) })()
	stream.SetPriority(urgencySync, true)
	s.out = wire.NewWriter(stream)
	last, forks := s.f.Last(), s.f.Forks()
	mine, hash, err := s.f.Held()
	if err != nil {
		return err
	}
	doubt := s.n.doubts(s.f.ID(), s.link.device)
	if doubt {
		hash = feed.Hash{} // no frontier's: so that both are told
	}
	if err := s.out.Write(&wire.Open{Folder: s.f.ID(), Frontier: hash}); err != nil {
		return err
	}
	if err := s.meet(last, forks, mine, hash, doubt); err != nil {
		return err
	}
	s.dirty.Or(dirtyPush | dirtyHave | dirtyPeers)
	return s.update()
}

// meet finds out what the peer holds.
func (s *session) meet(last uint64, forks int, mine feed.Frontier, hash feed.Hash, doubt bool) error {
	if err := s.await(func() bool { return s.reading }); err != nil {
		return err
	}
	s.mu.Lock()
	same := s.open == hash
	s.mu.Unlock()
	if same {
		// Not more than that: entries of theirs may have come already.
		if err := s.advance(mine); err != nil {
			return err
		}
		s.mu.Lock()
		s.met = true
		s.mu.Unlock()
		s.told, s.cursor, s.forks = mine, last, forks
		s.know()
		return nil
	}
	mine, err := s.f.Frontier()
	if err != nil {
		return err
	}
	if err := s.out.Write(&wire.Frontier{Heads: mine.Encode(), All: doubt}); err != nil {
		return err
	}
	s.told, s.askedAll = mine, doubt
	if err := s.await(func() bool { return s.met }); err != nil {
		return err
	}
	s.cursor, s.forks = s.recall(), 0
	return s.askCheckpoint()
}

// know tells those who wait that it is known what the peer holds.
func (s *session) know() {
	s.link.remote.well()
	s.n.fetch.wake()
	s.n.announce()
}

// await waits until ok, which is called with mu held.
func (s *session) await(ok func() bool) error {
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// update sends what is new, whenever there is something.
func (s *session) update() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		what := s.dirty.Swap(0)
		next, err := s.send(what)
		if err != nil {
			return err
		}
		timer.Reset(next)
		select {
		case <-s.wake:
		case <-timer.C:
			s.dirty.Or(dirtyPush | dirtyHave)
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// send does one round; next is when there is more to do even if nobody kicks.
func (s *session) send(what uint32) (next time.Duration, err error) {
	next = time.Hour
	later := func(d time.Duration) { next = min(next, d) }
	if err := s.sendProbe(); err != nil {
		return 0, err
	}
	if err := s.sendAskAll(); err != nil {
		return 0, err
	}
	if what&dirtyCheckpoint != 0 {
		if err := s.sendCheckpoint(); err != nil {
			return 0, err
		}
	}
	if what&dirtyPush != 0 {
		if wait := gatherTime - time.Since(s.pushed); wait > 0 {
			s.dirty.Or(dirtyPush)
			later(wait)
		} else {
			wait, err := s.push()
			if err != nil {
				return 0, err
			}
			later(wait)
			if err := s.sendGot(); err != nil {
				return 0, err
			}
		}
	}
	if what&(dirtyHave|dirtyPush) != 0 {
		wait, err := s.sendHave()
		if err != nil {
			return 0, err
		}
		later(wait)
	}
	// After the entries that admit them.
	if what&dirtyPeers != 0 {
		if err := s.sendPeers(); err != nil {
			return 0, err
		}
	}
	if what&dirtyDigest != 0 {
		if err := s.sendDigest(); err != nil {
			return 0, err
		}
	}
	return max(next, time.Millisecond), nil
}

// remember keeps what the peer holds for the next connection, and for Status meanwhile.
func (s *session) remember() {
	s.mu.Lock()
	news, theirs := s.met && s.unsaved, s.theirs.Clone()
	s.unsaved = false
	s.mu.Unlock()
	if !news {
		return
	}
	p := ackPage{Frontier: theirs.Encode()}
	last := s.f.Last()
	if mine, err := s.f.Frontier(); err == nil && within(mine, theirs) {
		p.Cursor = last
	} else {
		var old ackPage
		s.n.load(ackKey(s.f.ID(), s.link.device), &old)
		if fr, err := feed.DecodeFrontier(old.Frontier); err == nil && within(fr, theirs) {
			p.Cursor = old.Cursor
		}
	}
	s.n.save(ackKey(s.f.ID(), s.link.device), p)
}

// recall returns the order from which on the peer may lack entries.
func (s *session) recall() uint64 {
	var p ackPage
	s.n.load(ackKey(s.f.ID(), s.link.device), &p)
	fr, err := feed.DecodeFrontier(p.Frontier)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || !within(fr, s.theirs) {
		return 0 // nothing is known, or it lost something
	}
	return min(p.Cursor, s.f.Last())
}
