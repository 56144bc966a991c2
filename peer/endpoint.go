package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
)

// maxOwnAddrs is how many of its addresses a node tells others.
const maxOwnAddrs = 12

// endpoint is one UDP socket: it listens and dials.
type endpoint struct {
	conn      *net.UDPConn
	transport *quic.Transport
	listener  *quic.Listener
	local     netip.AddrPort
}

// listen opens the node's sockets.
func (n *Node) listen(where []string) error {
	remember := len(where) == 0
	if remember {
		var port uint16
		n.load(portKey, &port)
		e, err := n.open(net.JoinHostPort("", strconv.Itoa(int(port))))
		if err != nil && port != 0 {
			e, err = n.open(":0") // taken by someone else in the meantime
		}
		if err != nil {
			return err
		}
		n.ends = []*endpoint{e}
		if p := e.local.Port(); p != port {
			n.save(portKey, p)
		}
		return nil
	}
	for _, a := range where {
		e, err := n.open(a)
		if err != nil {
			for _, e := range n.ends {
				e.close()
			}
			return err
		}
		n.ends = append(n.ends, e)
	}
	return nil
}

func (n *Node) open(addr string) (*endpoint, error) {
	ua, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	c, err := net.ListenUDP("udp", ua)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	e := &endpoint{
		conn:      c,
		transport: &quic.Transport{Conn: c, StatelessResetKey: &n.id.reset},
		local:     c.LocalAddr().(*net.UDPAddr).AddrPort(),
	}
	if e.listener, err = e.transport.Listen(n.id.serverTLS(), quicConfig()); err != nil {
		e.close()
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return e, nil
}

func (e *endpoint) close() error {
	return errors.Join(e.transport.Close(), e.conn.Close())
}

// addrs returns where others can reach the endpoint.
func (e *endpoint) addrs() []string {
	ip := e.local.Addr().Unmap()
	if !ip.IsUnspecified() {
		return []string{netip.AddrPortFrom(ip, e.local.Port()).String()}
	}
	var as []string
	for _, a := range interfaceAddrs() {
		if e.reaches(a) {
			as = append(as, netip.AddrPortFrom(a, e.local.Port()).String())
		}
	}
	return as
}

// reaches reports whether the endpoint's socket can talk to ip.
func (e *endpoint) reaches(ip netip.Addr) bool {
	local := e.local.Addr()
	switch {
	case local.Is6() && local.IsUnspecified():
		return true
	case local.Unmap().Is4() != ip.Unmap().Is4():
		return false
	}
	return local.IsUnspecified() || local.IsLoopback() == ip.IsLoopback()
}

// interfaceAddrs lists this machine's addresses, those that most others can reach first.
// Loopback is listed last: several homes of one machine may have nothing else. An interface
// whose cable is out keeps its addresses, but they lead nowhere.
func interfaceAddrs() []netip.Addr {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var assigned []net.Addr
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
			continue
		}
		if as, err := i.Addrs(); err == nil { // else it has just gone
			assigned = append(assigned, as...)
		}
	}
	var as []netip.Addr
	for _, a := range assigned {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		as = append(as, p.Addr())
	}
	rank := func(a netip.Addr) int {
		switch {
		case a.IsLoopback():
			return 3
		case a.IsPrivate() && a.Is6():
			return 2
		case a.Is6():
			return 1
		}
		return 0
	}
	slices.SortFunc(as, func(a, b netip.Addr) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		return a.Compare(b)
	})
	return as
}

// dial connects to a device at the first of its addresses that answers with its key. All are
// tried at once: an address that leads nowhere delays nothing.
func (n *Node) dial(ctx context.Context, d crdt.Device, addrs []string) (*quic.Conn, error) {
	if len(addrs) == 0 {
		return nil, fmt.Errorf("device %s: %w: none is known", d.Short(), ErrUnreachable)
	}
	type result struct {
		conn *quic.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result) // unbuffered: what nobody takes is closed by its maker
	started := 0
	for _, a := range addrs {
		ok := n.spawn(func() {
			c, err := n.dialAddr(ctx, d, a)
			if err != nil {
				err = fmt.Errorf("%s: %w", a, err)
			}
			select {
			case results <- result{c, err}:
			case <-ctx.Done():
				if c != nil {
					c.CloseWithError(codeDuplicate, "")
				}
			}
		})
		if ok {
			started++
		}
	}
	var errs []error
	for range started {
		select {
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			errs = append(errs, r.err)
		case <-ctx.Done():
			return nil, fmt.Errorf("device %s: %w: tried %v: %w", d.Short(), ErrUnreachable, addrs, context.Cause(ctx))
		}
	}
	return nil, fmt.Errorf("device %s: %w: tried %v: %w", d.Short(), ErrUnreachable, addrs, errors.Join(errs...))
}

func (n *Node) dialAddr(ctx context.Context, d crdt.Device, addr string) (*quic.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	err = errors.New("no socket of ours leads there")
	for _, ip := range ips {
		for _, e := range n.ends {
			if !e.reaches(ip) {
				continue
			}
			to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(p)))
			var c *quic.Conn
			if c, err = e.transport.Dial(ctx, to, n.id.clientTLS(d), quicConfig()); err == nil {
				return c, nil
			}
		}
	}
	return nil, err
}
