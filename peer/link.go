package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// link is the connection to one device.
type link struct {
	n       *Node
	conn    *quic.Conn
	remote  *remote
	device  crdt.Device
	dialled bool // by us
	control *wire.Reader
	began   time.Time
	lanes   [lanes]*lane

	presence presence

	wg sync.WaitGroup // every goroutine of the link but run itself

	mu       sync.Mutex
	over     bool // no goroutine starts any more
	sessions map[crdt.FolderID]*session
	cause    error // why it was closed from this end
}

func (n *Node) newLink(c *quic.Conn, d crdt.Device, dialled bool, control *wire.Reader) *link {
	l := &link{
		n: n, conn: c, remote: n.remote(d), device: d, dialled: dialled, control: control,
		began: time.Now(), sessions: map[crdt.FolderID]*session{},
	}
	l.presence.heard = map[crdt.FolderID]heardOpen{}
	for i := range l.lanes {
		l.lanes[i] = newLane(l, i)
	}
	return l
}

// greet says hello on a connection that we dialled.
func (n *Node) greet(c *quic.Conn, d crdt.Device, joining bool) (*link, error) {
	s, err := c.OpenStream()
	if err == nil {
		err = wire.NewWriter(s).Write(n.hello(c, joining))
	}
	if err != nil {
		c.CloseWithError(codeTrouble, "")
		return nil, err
	}
	return n.newLink(c, d, true, wire.NewReader(s)), nil
}

func (n *Node) hello(c *quic.Conn, joining bool) *wire.Hello {
	return &wire.Hello{Addrs: n.Addrs(), You: c.RemoteAddr().String(), Joining: joining}
}

func clip(name string) string { return name[:min(len(name), wire.MaxName)] }

// answer hears a caller out, and registers the link if it is a device that has a place here
// or earns one with a ticket.
func (n *Node) answer(c *quic.Conn) (*link, error) {
	select {
	case <-c.HandshakeComplete():
	case <-c.Context().Done():
		return nil, context.Cause(c.Context())
	}
	d, err := deviceOf(c.ConnectionState().TLS)
	if err != nil || d == n.id.device {
		c.CloseWithError(codeStranger, "")
		return nil, fmt.Errorf("no device but ourselves: %w", err)
	}
	admitted := n.member(d)
	if !admitted {
		select {
		case n.calls <- struct{}{}:
			defer func() { <-n.calls }()
		default:
			return nil, n.turnAway(c, d)
		}
	}
	ctx, cancel := context.WithTimeout(n.ctx, helloTimeout)
	defer cancel()
	s, hello, err := n.hear(ctx, c)
	switch {
	case err != nil && connectionOver(err):
		return nil, err // one of several addresses that it tried
	case err != nil && !admitted:
		return nil, n.turnAway(c, d)
	case admitted && n.remote(d).isBarred(time.Now()):
		c.CloseWithError(codeProtocol, "")
		return nil, fmt.Errorf("device %s broke the rules a short while ago", d.Short())
	case err != nil:
		err = blame(err)
		n.remote(d).parted(err, 0, time.Now())
		c.CloseWithError(codeProtocol, "")
		n.announce()
		return nil, err
	case !admitted:
		if !hello.Joining {
			return nil, n.turnAway(c, d)
		}
		if err := n.admit(ctx, c, d); err != nil {
			return nil, err
		}
	}
	if err := wire.NewWriter(s).Write(n.hello(c, false)); err != nil {
		c.CloseWithError(codeTrouble, "")
		return nil, err
	}
	l := n.newLink(c, d, false, wire.NewReader(s))
	l.heard(hello)
	if !n.register(l) {
		return nil, errors.New("there is a connection already")
	}
	return l, nil
}

// hear reads the hello of a caller.
func (n *Node) hear(ctx context.Context, c *quic.Conn) (*quic.Stream, *wire.Hello, error) {
	s, err := c.AcceptStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline()
	s.SetReadDeadline(deadline)
	defer s.SetReadDeadline(time.Time{})
	m, err := wire.NewReader(s).Read()
	if err != nil {
		return nil, nil, err
	}
	hello, ok := m.(*wire.Hello)
	if !ok {
		return nil, nil, violation(fmt.Errorf("%T instead of a hello", m))
	}
	return s, hello, nil
}

// heard takes in what the other end says of itself.
func (l *link) heard(h *wire.Hello) {
	l.n.noteSeenAs(h.You)
	l.n.learn(l.remote, h.Addrs...)
}

// register makes l the link to its device, unless there is a better one. Of two connections
// that both ends dialled at the same time, both ends keep the one of the smaller device; of
// two that one end dialled, the newer: that end has lost the older one.
func (n *Node) register(l *link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.links[l.device]
	switch {
	case n.closed:
		l.close(codeDone, ErrClosed)
		return false
	case old != nil && old.dialled != l.dialled && !l.preferred():
		l.close(codeDuplicate, nil)
		return false
	case old != nil:
		old.close(codeDuplicate, nil)
	}
	n.links[l.device] = l
	l.remote.met(l.conn.RemoteAddr().String(), time.Now())
	l.openSessions()
	n.log.Info("connected", "device", l.device, "addr", l.conn.RemoteAddr(), "dialled", l.dialled)
	n.movedLocked()
	n.announceLocked()
	return true
}

func (l *link) preferred() bool {
	return l.dialled == (bytes.Compare(l.n.id.device[:], l.device[:]) < 0)
}

// run serves a registered link until it ends.
func (l *link) run() {
	l.spawn(l.readControl)
	l.spawn(l.acceptSync)
	l.spawn(l.acceptStreams)
	l.spawn(l.hearPresence)
	l.spawn(l.tellPresence)
	for _, lane := range l.lanes {
		l.spawn(lane.run)
	}
	<-l.conn.Context().Done()
	l.mu.Lock()
	l.over = true
	err := l.cause
	l.mu.Unlock()
	l.wg.Wait()
	if err == nil {
		err = explain(context.Cause(l.conn.Context()))
	}
	lasted := time.Since(l.began)
	l.remote.parted(err, lasted, time.Now())
	l.n.fetch.left(l)

	n := l.n
	n.mu.Lock()
	if n.links[l.device] == l {
		delete(n.links, l.device)
	}
	n.movedLocked()
	n.announceLocked()
	n.mu.Unlock()
	n.log.Info("disconnected", "device", l.device, "after", lasted, "err", err)
	l.remote.poke()
}

// spawn runs fn in a goroutine of the link, unless it is over.
func (l *link) spawn(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.wg.Go(fn)
	}
}

// close ends the connection; the first cause stays.
func (l *link) close(code quic.ApplicationErrorCode, cause error) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
	}
	l.mu.Unlock()
	l.conn.CloseWithError(code, "")
}

// fail ends the connection because of err: the peer is dropped if it is to blame. An error
// that only says that the connection is over already changes nothing.
func (l *link) fail(err error) {
	err = blame(err)
	switch {
	case err == nil || connectionOver(err) && !errors.Is(err, ErrProtocol):
	case errors.Is(err, ErrProtocol):
		l.n.log.Warn("dropped a peer", "device", l.device, "err", err)
		l.close(codeProtocol, err)
	default:
		l.n.log.Warn("connection given up", "device", l.device, "err", err)
		l.close(codeTrouble, err)
	}
}

func connectionOver(err error) bool {
	var (
		ae *quic.ApplicationError
		te *quic.TransportError
		ie *quic.IdleTimeoutError
		re *quic.StatelessResetError
	)
	return errors.As(err, &ae) || errors.As(err, &te) || errors.As(err, &ie) || errors.As(err, &re) ||
		errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed)
}

// openSessions starts a session for every folder that is shared with the device, and ends
// those of folders that no longer are. n.mu is held.
func (l *link) openSessions() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	for id, f := range l.n.folders {
		s := l.sessions[id]
		switch allowed := f.allows(l.device); {
		case allowed && s == nil:
			s = newSession(l, f)
			l.sessions[id] = s
			l.wg.Go(s.run)
		case !allowed && s != nil:
			s.stop()
			delete(l.sessions, id)
		}
	}
}

// session returns the session of a folder, nil if it is not shared.
func (l *link) session(id crdt.FolderID) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sessions[id]
}

func (l *link) readControl() {
	for {
		m, err := l.control.Read()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.fail(err)
			}
			return
		}
		h, ok := m.(*wire.Hello)
		if !ok || !l.dialled {
			l.fail(violation(fmt.Errorf("%T on the control stream", m)))
			return
		}
		l.heard(h)
	}
}

// acceptSync takes the peer's sync streams.
func (l *link) acceptSync() {
	for {
		s, err := l.conn.AcceptUniStream(l.conn.Context())
		if err != nil {
			return
		}
		l.spawn(func() {
			if err := l.readSync(s); err != nil {
				l.fail(err)
			}
		})
	}
}

func (l *link) readSync(s *quic.ReceiveStream) error {
	r := wire.NewReader(s)
	s.SetReadDeadline(time.Now().Add(helloTimeout))
	m, err := r.Read()
	var se *quic.StreamError
	switch {
	case errors.As(err, &se):
		return nil // it thought better of it
	case errors.Is(err, os.ErrDeadlineExceeded):
		return violation(errors.New("a sync stream that says nothing"))
	case err != nil:
		return err
	}
	s.SetReadDeadline(time.Time{})
	open, ok := m.(*wire.Open)
	if !ok {
		return violation(fmt.Errorf("%T opens a sync stream", m))
	}
	t := l.session(open.Folder)
	if t == nil {
		// The folder, or its being shared, may be news that the node has not taken in.
		l.n.refresh()
		t = l.session(open.Folder)
	}
	if t == nil {
		s.CancelRead(codeRefused)
		return nil
	}
	return t.read(s, r, open)
}

// acceptStreams takes the peer's other streams.
func (l *link) acceptStreams() {
	for {
		s, err := l.conn.AcceptStream(l.conn.Context())
		if err != nil {
			return
		}
		l.spawn(func() {
			defer s.Close()
			if err := l.serve(s); err != nil {
				l.fail(err)
			}
		})
	}
}

func (l *link) serve(s *quic.Stream) error {
	r := wire.NewReader(s)
	m, err := r.Read()
	switch m := m.(type) {
	case *wire.Get:
		return l.serveObjects(s, r, m)
	case *wire.Join:
		return wire.NewWriter(s).Write(l.n.redeem(l.device, m))
	case nil:
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	default:
		return violation(fmt.Errorf("%T opens a stream", m))
	}
}
