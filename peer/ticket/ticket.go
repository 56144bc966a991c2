// Package ticket is the text that invites a device to a folder: "sheaf1" and one lower-case
// word of base32 that holds the inviter's addresses and device key, the folder's id, a
// one-time secret and a checksum.
//
// A ticket carries no folder key: its secret only buys admission from the inviter's device,
// once, and the inviter can let it expire. Whoever holds the text can spend it, so it is to
// be passed on like a password.
package ticket

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/zeebo/blake3"
)

// Prefix begins every ticket of this version.
const Prefix = "sheaf1"

// Limits of a ticket.
const (
	MaxAddrs = 16  // addresses
	MaxHost  = 253 // bytes of a host name
	maxText  = 8192
)

// ErrMalformed is wrapped by every error of Parse: the text is not a ticket, or was damaged
// while it was copied.
var ErrMalformed = errors.New("malformed ticket")

const (
	secretLen   = 32
	checksumLen = 4
	fixedLen    = 3*32 + 1

	kindHost = 0
	kindIPv4 = 4
	kindIPv6 = 6

	checksumContext = "sheaf 2026-01 checksum of a ticket v1"
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Ticket is what the text says.
type Ticket struct {
	Device feed.Device     // the inviter
	Folder feed.Folder     // what it invites to
	Secret [secretLen]byte // proves the invitation, once
	Addrs  []string        // "host:port" of the inviter, best first
}

// Encode returns the text of t, or an error that names the address it cannot hold.
func (t Ticket) Encode() (string, error) {
	if len(t.Addrs) > MaxAddrs {
		return "", fmt.Errorf("ticket: %d addresses, at most %d fit", len(t.Addrs), MaxAddrs)
	}
	b := make([]byte, 0, 160)
	b = append(b, t.Device[:]...)
	b = append(b, t.Folder[:]...)
	b = append(b, t.Secret[:]...)
	b = append(b, byte(len(t.Addrs)))
	for _, a := range t.Addrs {
		var err error
		if b, err = appendAddr(b, a); err != nil {
			return "", fmt.Errorf("ticket: address %q: %w", a, err)
		}
	}
	b = append(b, checksum(b)...)
	return Prefix + encoding.EncodeToString(b), nil
}

// Parse is the inverse of Encode. It forgives surrounding space and upper case, nothing
// else; every error wraps ErrMalformed and says what is wrong.
func Parse(text string) (Ticket, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxText {
		return Ticket{}, fmt.Errorf("%w: too long", ErrMalformed)
	}
	word, ok := strings.CutPrefix(strings.ToLower(text), Prefix)
	if !ok {
		return Ticket{}, fmt.Errorf("%w: it does not begin with %q", ErrMalformed, Prefix)
	}
	for i, r := range word {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz234567", r) {
			return Ticket{}, fmt.Errorf("%w: %q at character %d is never part of one", ErrMalformed, r, len(Prefix)+i+1)
		}
	}
	b, err := encoding.DecodeString(word)
	if err != nil || len(b) < fixedLen+checksumLen {
		return Ticket{}, fmt.Errorf("%w: incomplete", ErrMalformed)
	}
	body, sum := b[:len(b)-checksumLen], b[len(b)-checksumLen:]
	// The last character has bits to spare: the checksum covers them by spelling.
	if !bytes.Equal(sum, checksum(body)) || encoding.EncodeToString(b) != word {
		return Ticket{}, fmt.Errorf("%w: its checksum is wrong, a character was lost or mistyped", ErrMalformed)
	}
	t, err := decode(body)
	if err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return t, nil
}

func decode(b []byte) (Ticket, error) {
	var t Ticket
	b = b[copy(t.Device[:], b):]
	b = b[copy(t.Folder[:], b):]
	b = b[copy(t.Secret[:], b):]
	if err := t.Device.Check(); err != nil {
		return Ticket{}, err
	}
	n := int(b[0])
	b = b[1:]
	if n > MaxAddrs {
		return Ticket{}, fmt.Errorf("%d addresses", n)
	}
	for range n {
		a, rest, err := cutAddr(b)
		if err != nil {
			return Ticket{}, err
		}
		t.Addrs, b = append(t.Addrs, a), rest
	}
	if len(b) != 0 {
		return Ticket{}, errors.New("bytes after the addresses")
	}
	return t, nil
}

func appendAddr(b []byte, addr string) ([]byte, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().Zone() == "" {
		ip := ap.Addr()
		kind := byte(kindIPv6)
		if ip.Is4() {
			kind = kindIPv4
		}
		b = append(append(b, kind), ip.AsSlice()...)
		return binary.BigEndian.AppendUint16(b, ap.Port()), nil
	}
	host, port, err := splitHost(addr)
	if err != nil {
		return nil, err
	}
	b = append(append(b, kindHost, byte(len(host))), host...)
	return binary.BigEndian.AppendUint16(b, port), nil
}

func splitHost(addr string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", 0, errors.New("no port")
	}
	p, err := strconv.ParseUint(addr[i+1:], 10, 16)
	if err != nil {
		return "", 0, errors.New("not a port")
	}
	host = addr[:i]
	if host == "" || len(host) > MaxHost || strings.ContainsFunc(host, notInHost) {
		return "", 0, errors.New("not a host name")
	}
	return host, uint16(p), nil
}

func notInHost(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
}

func cutAddr(b []byte) (addr string, rest []byte, err error) {
	short := errors.New("an address is cut short")
	if len(b) < 2 {
		return "", nil, short
	}
	kind := b[0]
	b = b[1:]
	var n int
	switch kind {
	case kindIPv4:
		n = 4
	case kindIPv6:
		n = 16
	case kindHost:
		n, b = int(b[0]), b[1:]
	default:
		return "", nil, fmt.Errorf("an address of kind %d", kind)
	}
	if len(b) < n+2 {
		return "", nil, short
	}
	host, port, rest := b[:n], binary.BigEndian.Uint16(b[n:]), b[n+2:]
	if kind != kindHost {
		ip, _ := netip.AddrFromSlice(host)
		return netip.AddrPortFrom(ip, port).String(), rest, nil
	}
	addr = string(host) + ":" + strconv.Itoa(int(port))
	if _, _, err := splitHost(addr); err != nil {
		return "", nil, err
	}
	if _, err := netip.ParseAddr(string(host)); err == nil {
		return "", nil, fmt.Errorf("%s is no host name", host)
	}
	return addr, rest, nil
}

func checksum(body []byte) []byte {
	sum := make([]byte, checksumLen)
	blake3.DeriveKey(checksumContext, body, sum)
	return sum
}
