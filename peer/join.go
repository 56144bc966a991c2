package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/ticket"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// partingTime is how long a refused guest gets to read the reason.
const partingTime = time.Second

// Ticket is what the text of an invitation says.
type Ticket = ticket.Ticket

// ParseTicket reads the text of a ticket; errors wrap ErrTicketMalformed.
func ParseTicket(text string) (Ticket, error) { return ticket.Parse(text) }

// Ticket invites one device to a folder: whoever brings the text to Join within 24 hours,
// while this node runs, becomes a member.
func (n *Node) Ticket(f *crdt.Folder) (string, error) {
	addrs := n.Addrs()
	if len(addrs) == 0 {
		return "", fmt.Errorf("ticket: %w: this machine has no address", ErrUnreachable)
	}
	secret, err := f.Invite()
	if err != nil {
		return "", fmt.Errorf("ticket: %w", err)
	}
	n.refresh()
	return Ticket{Device: n.id.device, Folder: f.ID(), Secret: secret, Addrs: addrs}.Encode()
}

// Join takes up a ticket: it calls the inviter, proves the secret, makes the granted folder
// one of the home's, and returns it once the entry that admits this device has come, or a
// first view of the folder (crdt.Folder.FirstView); the rest comes by sync from then on. It
// fails with ErrTicketMalformed, ErrTicketUsed, ErrTicketExpired, ErrTicketUnknown or
// ErrUnreachable, which names the addresses tried. If ctx ends after the grant, the folder
// stays, and goes on by itself. Joining a folder that is here already spends nothing.
func (n *Node) Join(ctx context.Context, text string) (*crdt.Folder, error) {
	t, err := ticket.Parse(text)
	if err != nil {
		return nil, err
	}
	f, err := n.home.Folder(t.Folder)
	if err != nil {
		f, err = n.join(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	return f, n.awaitAdmission(ctx, f)
}

// awaitAdmission waits for the entry that admits this device: the last one, mostly. A first
// view will do: there is something to look at.
func (n *Node) awaitAdmission(ctx context.Context, f *crdt.Folder) error {
	for {
		n.mu.Lock()
		changed, closed := n.changed, n.closed
		n.mu.Unlock()
		switch {
		case f.Admitted(n.id.device), f.Unconfirmed():
			return nil
		case closed:
			return fmt.Errorf("join %s: %w", f.Name(), ErrClosed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("join %s: granted, but its first entries have not come yet: %w", f.Name(), ctx.Err())
		}
	}
}

func (n *Node) join(ctx context.Context, t Ticket) (*crdt.Folder, error) {
	if t.Device == n.id.device {
		return nil, fmt.Errorf("join: %w: this device made it, and has the folder no more", ErrTicketUnknown)
	}
	if l := n.linkTo(t.Device); l != nil {
		g, err := n.bring(ctx, l.conn, t)
		if err != nil {
			return nil, err
		}
		return n.take(g, t)
	}
	c, err := n.dial(ctx, t.Device, t.Addrs)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	l, err := n.greet(c, t.Device, true)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	g, err := n.bring(ctx, c, t)
	if err != nil {
		c.CloseWithError(codeDone, "")
		return nil, err
	}
	f, err := n.take(g, t)
	if err != nil {
		c.CloseWithError(codeDone, "")
		return nil, err
	}
	n.learn(l.remote, t.Addrs...)
	if n.register(l) && !n.spawn(l.run) {
		l.close(codeDone, ErrClosed)
	}
	return f, nil
}

func (n *Node) linkTo(d crdt.Device) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[d]
}

// bring proves the secret on a connection, whose other end is the pinned inviter, and
// returns the grant.
func (n *Node) bring(ctx context.Context, c *quic.Conn, t Ticket) (crdt.Grant, error) {
	none := crdt.Grant{}
	ctx, cancel := context.WithTimeout(ctx, 2*helloTimeout)
	defer cancel()
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return none, fmt.Errorf("join: %w", err)
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.CancelRead(0); s.CancelWrite(0) })()
	m := &wire.Join{Folder: t.Folder, Secret: t.Secret, Name: clip(n.home.DeviceName())}
	if err := wire.NewWriter(s).Write(m); err != nil {
		return none, fmt.Errorf("join: %w", err)
	}
	answer, err := wire.NewReader(s).Read()
	switch {
	case closedWith(err, codeStranger):
		return none, fmt.Errorf("join: %w", ErrTicketUnknown)
	case err != nil && ctx.Err() != nil:
		return none, fmt.Errorf("join: device %s did not answer: %w", t.Device.Short(), ctx.Err())
	case err != nil:
		return none, fmt.Errorf("join: %w", err)
	}
	switch a := answer.(type) {
	case *wire.Granted:
		g, err := crdt.DecodeGrant(a.Grant)
		if err == nil && g.Folder != t.Folder {
			err = errors.New("it is for another folder")
		}
		if err != nil {
			return none, fmt.Errorf("join: grant: %w", violation(err))
		}
		return g, nil
	case *wire.Refused:
		switch a.Reason {
		case wire.ReasonUsed:
			return none, fmt.Errorf("join: %w", ErrTicketUsed)
		case wire.ReasonExpired:
			return none, fmt.Errorf("join: %w", ErrTicketExpired)
		case wire.ReasonUnknown:
			return none, fmt.Errorf("join: %w", ErrTicketUnknown)
		}
		return none, fmt.Errorf("join: device %s could not admit us: it has trouble of its own", t.Device.Short())
	}
	return none, fmt.Errorf("join: %w", violation(fmt.Errorf("%T answers a join", answer)))
}

// take makes the granted folder one of ours.
func (n *Node) take(g crdt.Grant, t Ticket) (*crdt.Folder, error) {
	// First who is trusted, then the folder: a crash between the two can be joined again.
	n.save(inviterKey(g.Folder), t.Device)
	f, err := n.home.JoinFolder(g)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	n.refresh()
	return f, nil
}

// admit lets a caller that is not a member yet bring a ticket, and turns it away otherwise.
func (n *Node) admit(ctx context.Context, c *quic.Conn, d crdt.Device) error {
	s, err := c.AcceptStream(ctx)
	if err != nil {
		return n.turnAway(c, d)
	}
	defer s.Close()
	deadline, _ := ctx.Deadline()
	s.SetReadDeadline(deadline)
	m, err := wire.NewReader(s).Read()
	join, ok := m.(*wire.Join)
	if err != nil || !ok {
		return n.turnAway(c, d)
	}
	answer := n.redeem(d, join)
	if r, ok := answer.(*wire.Refused); ok && r.Reason == wire.ReasonUnknown {
		return n.turnAway(c, d)
	}
	if err := wire.NewWriter(s).Write(answer); err != nil {
		return err
	}
	if _, ok := answer.(*wire.Granted); ok {
		return nil
	}
	s.Close()
	select {
	case <-c.Context().Done():
	case <-time.After(partingTime):
	case <-n.ctx.Done():
	}
	c.CloseWithError(codeStranger, "")
	return errors.New("ticket refused")
}

// redeem returns the answer to a Join.
func (n *Node) redeem(d crdt.Device, m *wire.Join) wire.Message {
	f := n.folder(m.Folder)
	if f == nil {
		return &wire.Refused{Reason: wire.ReasonUnknown}
	}
	g, err := f.Redeem(m.Secret, d, m.Name)
	switch {
	case err == nil:
		n.log.Info("admitted a device", "folder", f.Name(), "device", d, "name", m.Name)
		n.refresh()
		return &wire.Granted{Grant: g.Encode()}
	case errors.Is(err, ErrTicketUnknown):
		return &wire.Refused{Reason: wire.ReasonUnknown}
	case errors.Is(err, ErrTicketUsed):
		return &wire.Refused{Reason: wire.ReasonUsed}
	case errors.Is(err, ErrTicketExpired):
		return &wire.Refused{Reason: wire.ReasonExpired}
	}
	n.log.Error("a ticket could not be redeemed", "folder", f.Name(), "device", d, "err", err)
	return &wire.Refused{Reason: wire.ReasonFailed}
}
