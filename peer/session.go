package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
)

// What a session's writer has to look at.
const (
	dirtyPush  uint32 = 1 << iota // there may be new entries
	dirtyHave                     // heads of ours, or what we want, changed
	dirtyPeers                    // others are somewhere else
	dirtyState                    // the other end said something that the writer waits for
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

	// Of the writer alone.
	out       *wire.Writer
	told      feed.Frontier // what the peer knows that we hold
	cursor    uint64        // local order up to which everything was pushed
	allUntil  uint64        // local order up to which everything is pushed, held or not
	askedAll  bool
	holdUntil time.Time
	pushed    time.Time // when it last looked for entries
	said      saidWant
	saidPeers []wire.Peer
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
	last := s.f.Last()
	mine, err := s.f.Frontier()
	if err != nil {
		return err
	}
	hash := mine.Hash()
	doubt := s.n.doubts(s.f.ID(), s.link.device)
	if doubt {
		hash = feed.Hash{} // no frontier's: so that both are told
	}
	if err := s.out.Write(&wire.Open{Folder: s.f.ID(), Frontier: hash}); err != nil {
		return err
	}
	if err := s.meet(last, mine, hash, doubt); err != nil {
		return err
	}
	s.dirty.Or(dirtyPush | dirtyHave | dirtyPeers)
	return s.update()
}

// meet finds out what the peer holds.
func (s *session) meet(last uint64, mine feed.Frontier, hash feed.Hash, doubt bool) error {
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
		s.told, s.cursor = mine, last
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
	s.cursor = s.recall()
	return nil
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
	return max(next, time.Millisecond), nil
}

// push sends the entries that the peer lacks, in local order. It returns when to look again.
func (s *session) push() (time.Duration, error) {
	limit := 128
	s.mu.Lock()
	if s.sendAll {
		s.sendAll, s.cursor, s.allUntil = false, 0, s.f.Last()
	}
	s.mu.Unlock()
	for s.ctx.Err() == nil {
		locals, err := s.f.Since(s.cursor, limit)
		s.pushed = time.Now()
		if err != nil {
			return 0, err
		}
		if len(locals) == 0 {
			s.holdUntil = time.Time{}
			return time.Hour, nil
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
		if l.Order <= s.allUntil || !s.theirs.Covers(l.Entry.Feed, l.Entry.Seq) {
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
		m := &wire.Entries{}
		size, k := 0, 0
		for ; k < len(es) && k < wire.MaxEntries; k++ {
			b := es[k].Bytes()
			if k > 0 && size+len(b) > wire.BatchSize {
				break
			}
			size += len(b)
			m.Entries = append(m.Entries, b)
		}
		if err := s.out.Write(m); err != nil {
			return err
		}
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

// read takes in a sync stream of the peer. An error is the end of the link.
func (s *session) read(stream *quic.ReceiveStream, r *wire.Reader, open *wire.Open) error {
	s.mu.Lock()
	if s.reading {
		s.mu.Unlock()
		return violation(errors.New("a second sync stream for one folder"))
	}
	s.reading, s.open, s.met, s.theirs = true, open.Frontier, false, nil
	s.opens++
	s.mu.Unlock()
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
	default:
		return violation(fmt.Errorf("%T on a sync stream", m))
	}
	return nil
}

func (s *session) takeEntries(m *wire.Entries) error {
	es := make([]*feed.Entry, len(m.Entries))
	for i, b := range m.Entries {
		e, err := feed.Decode(b)
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
			s.n.log.Warn("a feed was forked: asking for every entry", "folder", s.f.Name(), "feed", id, "device", s.link.device)
			s.mu.Lock()
			s.askAll = true
			s.mu.Unlock()
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
	if len(s.theirs) > feed.MaxFrontier {
		return violation(fmt.Errorf("frontier of %d feeds", len(s.theirs)))
	}
	return nil
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
