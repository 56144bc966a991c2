// Package lan lets devices that share a folder find each other on the local network.
//
// Each device sends a small packet to a multicast group now and then. For every folder it
// carries a tag and the device's key, both masked with a keystream that only who knows the
// folder's id can make, under a nonce that is new in every packet. So outsiders see that
// someone here uses sheaf, at which port, and roughly in how many folders; not which
// folders, not which device, and not whether two packets are of the same one.
//
// What is found is a hint: whoever dials the address checks the device's key.
package lan

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/net/ipv4"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

const (
	magic     = "sheaf-l1"
	nonceLen  = 16
	tagLen    = 16
	slotLen   = tagLen + 32
	slotStep  = 4  // packets hold a multiple of so many slots, the spare ones random
	maxSlots  = 20 // in one packet
	headerLen = len(magic) + nonceLen + 2
	maxPacket = headerLen + maxSlots*slotLen

	keyContext = "sheaf 2026-01 discovery on the local network v1"

	eager = 500 * time.Millisecond // between the first few packets
	lazy  = 30 * time.Second       // and later ones
)

// group is in the range for the local scope of an organisation.
var group = netip.MustParseAddrPort("239.255.83.70:42833")

// Config says who announces what, and who hears of it.
type Config struct {
	Device  feed.Device
	Ports   []uint16             // where the device listens
	Folders func() []feed.Folder // whose members to find
	// Found is called for each announcement of another device, from one goroutine.
	Found  func(f feed.Folder, d feed.Device, addr string)
	Logger *slog.Logger
}

// Run announces and listens until ctx ends. It fails at once where there is no multicast.
func Run(ctx context.Context, c Config) error {
	in, err := net.ListenMulticastUDP("udp4", nil, net.UDPAddrFromAddrPort(group))
	if err != nil {
		return fmt.Errorf("local network: %w", err)
	}
	out, err := net.ListenUDP("udp4", nil)
	if err != nil {
		in.Close()
		return fmt.Errorf("local network: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { in.Close(); out.Close() })()
	wg.Go(func() { c.announce(ctx, ipv4.NewPacketConn(in), ipv4.NewPacketConn(out)) })
	c.listen(in)
	return nil
}

// listen takes in announcements until the socket is closed.
func (c Config) listen(in *net.UDPConn) {
	buf := make([]byte, maxPacket+1)
	for {
		n, from, err := in.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n > maxPacket {
			continue
		}
		for _, f := range find(buf[:n], c.Folders()) {
			if f.device != c.Device {
				c.Found(f.folder, f.device, netip.AddrPortFrom(from.Addr().Unmap(), f.port).String())
			}
		}
	}
}

// announce sends until ctx ends: a few times soon, then now and then.
func (c Config) announce(ctx context.Context, in, out *ipv4.PacketConn) {
	if err := errors.Join(out.SetMulticastLoopback(true), out.SetMulticastTTL(1)); err != nil {
		c.Logger.Debug("local network", "err", err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for sent := 0; ; sent++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c.send(in, out)
		if sent < 3 {
			timer.Reset(eager)
		} else {
			timer.Reset(lazy)
		}
	}
}

// send announces once on every network; networks that are new are listened to from now on.
func (c Config) send(in, out *ipv4.PacketConn) {
	interfaces, err := net.Interfaces()
	if err != nil {
		c.Logger.Debug("local network", "err", err)
		return
	}
	to := net.UDPAddrFromAddrPort(group)
	folders := c.Folders()
	for _, i := range interfaces {
		if i.Flags&(net.FlagUp|net.FlagMulticast) != net.FlagUp|net.FlagMulticast {
			continue
		}
		_ = in.JoinGroup(&i, to) // fails where it has joined already
		if err := out.SetMulticastInterface(&i); err != nil {
			continue
		}
		for _, port := range c.Ports {
			for rest := folders; len(rest) > 0; {
				n := min(len(rest), maxSlots)
				if _, err := out.WriteTo(packet(c.Device, port, rest[:n]), nil, to); err != nil {
					c.Logger.Debug("local network", "interface", i.Name, "err", err)
				}
				rest = rest[n:]
			}
		}
	}
}

// packet returns an announcement of at most maxSlots folders.
func packet(d feed.Device, port uint16, folders []feed.Folder) []byte {
	slots := (len(folders) + slotStep - 1) / slotStep * slotStep
	b := make([]byte, headerLen+slots*slotLen)
	rand.Read(b) // the nonce, and the spare slots
	copy(b, magic)
	nonce := b[len(magic):][:nonceLen]
	for i, f := range folders {
		slot := b[headerLen+i*slotLen:][:slotLen]
		stream(f, nonce, slot)
		for j := range d {
			slot[tagLen+j] ^= d[j]
		}
	}
	// The port is of no use to outsiders who cannot see the packet's source; it is in the clear.
	binary.BigEndian.PutUint16(b[len(magic)+nonceLen:], port)
	return b
}

// stream fills b with what masks a folder's slot.
func stream(f feed.Folder, nonce, b []byte) {
	var key [32]byte
	blake3.DeriveKey(keyContext, f[:], key[:])
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // the key is of the only length there is
	}
	h.Write(nonce)
	h.Digest().Read(b)
}

type found struct {
	folder feed.Folder
	device feed.Device
	port   uint16
}

// find returns which of the folders a packet announces, and who. Anything else is nothing.
func find(b []byte, folders []feed.Folder) []found {
	if len(b) < headerLen || string(b[:len(magic)]) != magic || (len(b)-headerLen)%slotLen != 0 {
		return nil
	}
	nonce := b[len(magic):][:nonceLen]
	port := binary.BigEndian.Uint16(b[len(magic)+nonceLen:])
	var fs []found
	var mask [slotLen]byte
	for _, f := range folders {
		stream(f, nonce, mask[:])
		for slots := b[headerLen:]; len(slots) > 0; slots = slots[slotLen:] {
			if [tagLen]byte(slots) != [tagLen]byte(mask[:]) {
				continue
			}
			d := feed.Device(slots[tagLen:slotLen])
			for j := range d {
				d[j] ^= mask[tagLen+j]
			}
			fs = append(fs, found{folder: f, device: d, port: port})
		}
	}
	return fs
}
