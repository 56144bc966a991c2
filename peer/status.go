package peer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// PeerStatus is how far one device of a folder is from this one. For a device that is not
// connected it is what was known when it last was.
type PeerStatus struct {
	Device        crdt.Device `json:"device"`
	Name          string      `json:"name"`
	Connected     bool        `json:"connected"`
	Address       string      `json:"address,omitempty"` // of the connection
	EntriesToSend uint64      `json:"entriesToSend"`     // that it is not known to hold
	EntriesToGet  uint64      `json:"entriesToGet"`      // that it holds and we do not
	BytesToSend   int64       `json:"bytesToSend"`       // of objects that it wants
	BytesToGet    int64       `json:"bytesToGet"`        // of objects that we want
	LastError     string      `json:"lastError,omitempty"`
	Seen          time.Time   `json:"seen,omitzero"` // when it last was connected; zero: never

	// Diverged is when it was seen first that the device holds the same entries as this one
	// and has another state of the folder; zero: that is not so, as far as is known.
	Diverged time.Time `json:"diverged,omitzero"`

	// Rules tells that the device merges by other rules than this one, RulesOlder or RulesNewer:
	// the states of the two are not compared, and may differ until both run the same sheaf.
	Rules string `json:"rules,omitempty"`
}

// The rules of a device that merges by others than this one.
const (
	RulesOlder = "older"
	RulesNewer = "newer"
)

// Status tells how far the other devices of a folder are, in the order of their names.
func (n *Node) Status(f *crdt.Folder) []PeerStatus {
	sh := n.folder(f.ID())
	if sh == nil {
		return nil
	}
	mine, err := f.Frontier()
	if err != nil {
		n.log.Warn("status", "folder", f.Name(), "err", err)
		return nil
	}
	var out []PeerStatus
	for _, d := range f.Devices() {
		if !d.Self {
			p := n.statusOf(sh, d.Device, mine)
			p.Name = d.Name
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b PeerStatus) int {
		return strings.Compare(a.Name+a.Device.String(), b.Name+b.Device.String())
	})
	return out
}

func (n *Node) statusOf(f *shared, d crdt.Device, mine feed.Frontier) PeerStatus {
	p := PeerStatus{Device: d, Diverged: f.divergedSince(d), Rules: f.rules(d)}
	r := n.remote(d)
	r.mu.Lock()
	if r.lastErr != nil {
		p.LastError = r.lastErr.Error()
	}
	if r.book.Seen != 0 {
		p.Seen = time.Unix(r.book.Seen, 0)
	}
	r.mu.Unlock()

	var theirs feed.Frontier
	met := false
	if l := n.linkTo(d); l != nil {
		p.Connected, p.Address, p.Seen = true, l.conn.RemoteAddr().String(), time.Now()
		if s := l.session(f.ID()); s != nil {
			s.mu.Lock()
			theirs, met = s.theirs.Clone(), s.met
			p.BytesToSend = int64(s.wantBytes)
			s.mu.Unlock()
			_, bytes := n.fetch.wants(l, f)
			p.BytesToGet = int64(bytes)
		}
	}
	if !met {
		var page ackPage
		n.load(ackKey(f.ID(), d), &page)
		if fr, err := feed.DecodeFrontier(page.Frontier); err == nil {
			theirs = fr
		}
	}
	p.EntriesToSend, p.EntriesToGet = lacking(mine, theirs), lacking(theirs, mine)
	return p
}

// SyncWait returns once every connected device of the folder holds all that this one held
// when it was called, and this one holds all that they hold, objects included. While nobody
// is connected, it waits. When ctx ends first, the error says on whom it waited; if that is
// nobody, it wraps ErrNoPeer.
func (n *Node) SyncWait(ctx context.Context, f *crdt.Folder) error {
	sh := n.folder(f.ID())
	if sh == nil {
		return fmt.Errorf("sync %s: %w", f.Name(), ErrClosed)
	}
	goal, err := f.Frontier()
	if err != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	probes := map[*session]uint64{}
	for {
		n.mu.Lock()
		changed, closed := n.changed, n.closed
		n.mu.Unlock()
		if closed {
			return fmt.Errorf("sync %s: %w", f.Name(), ErrClosed)
		}
		connected, waiting, err := n.behind(sh, goal, probes)
		if err != nil {
			return fmt.Errorf("sync %s: %w", f.Name(), err)
		}
		if connected > 0 && len(waiting) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if connected == 0 {
				return fmt.Errorf("sync %s: %w: %w", f.Name(), ErrNoPeer, ctx.Err())
			}
			return fmt.Errorf("sync %s: waited for %s: %w", f.Name(), strings.Join(waiting, ", "), ctx.Err())
		}
	}
}

// behind lists what SyncWait waits for. Each session has to answer a probe first: only then
// it is known what the other end held when the wait began.
func (n *Node) behind(f *shared, goal feed.Frontier, probes map[*session]uint64) (connected int, waiting []string, err error) {
	var ss []*session
	f.each(func(s *session) { ss = append(ss, s) })
	mine, err := f.Frontier()
	if err != nil {
		return 0, nil, err
	}
	first := f.Unconfirmed() // what is here is not shown yet
	for _, s := range ss {
		ok, counts := s.level(goal, mine, probes)
		if counts {
			connected++
			if want, _ := n.fetch.wants(s.link, f); !ok || want > 0 || first {
				waiting = append(waiting, s.link.device.Short())
			}
		}
	}
	return connected, waiting, nil
}

// level reports whether the peer has everything, and we have everything of it but objects;
// and whether it counts: it does not if it does not share the folder.
func (s *session) level(goal, mine feed.Frontier, probes map[*session]uint64) (ok, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused || s.ctx.Err() != nil {
		return false, false
	}
	if probes[s] == 0 {
		s.asked++
		probes[s] = s.asked
		s.dirty.Or(dirtyState)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return s.met && s.answered >= probes[s] && s.want == 0 && within(goal, s.theirs) && within(s.theirs, mine), true
}

// shares reports whether the peer is known to share the folder.
func (s *session) shares() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.met && !s.refused
}

// whereabouts lists where the devices of a folder are, for one of them.
func (n *Node) whereabouts(f *shared, reader crdt.Device) []wire.Peer {
	ps := []wire.Peer{{Device: n.id.device, Addrs: n.Addrs()}}
	for _, d := range f.Devices() {
		if d.Self || d.Device == reader || len(ps) == wire.MaxPeers {
			continue
		}
		r := n.remote(d.Device)
		r.mu.Lock()
		addrs := r.book.addrs()
		r.mu.Unlock()
		if len(addrs) > 0 {
			ps = append(ps, wire.Peer{Device: d.Device, Addrs: addrs[:min(len(addrs), maxTold)], Linked: n.linked(d.Device)})
		}
	}
	return ps
}

// maxTold is how many addresses of another device are passed on.
const maxTold = 6

func samePeers(a, b []wire.Peer) bool {
	return slices.EqualFunc(a, b, func(p, q wire.Peer) bool {
		return p.Device == q.Device && p.Linked == q.Linked && slices.Equal(p.Addrs, q.Addrs)
	})
}
