package peer

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// bookAddr is one address of a device.
type bookAddr struct {
	Addr string `cbor:"1,keyasint"`
	Good int64  `cbor:"2,keyasint,omitempty"` // unix seconds of the last connection over it; 0: hearsay
}

// bookPage is what is remembered of a device from one run to the next.
type bookPage struct {
	Addrs []bookAddr `cbor:"1,keyasint,omitempty"`
	Seen  int64      `cbor:"2,keyasint,omitempty"` // unix seconds
}

// ackPage is what a device is known to hold of a folder.
type ackPage struct {
	Cursor   uint64 `cbor:"1,keyasint"` // it holds every entry up to this local order…
	Frontier []byte `cbor:"2,keyasint"` // …as long as it still holds this
}

func bookKey(d crdt.Device) string { return "peer/device/" + d.String() }
func ackKey(f crdt.FolderID, d crdt.Device) string {
	return "peer/ack/" + f.String() + "/" + d.String()
}
func inviterKey(f crdt.FolderID) string { return "peer/inviter/" + f.String() }

const portKey = "peer/port"

// add notes addresses from hearsay. Proven addresses stay in front, and the newest hearsay
// pushes out the oldest: whoever lies about addresses wastes packets, no more.
func (p *bookPage) add(addrs ...string) (changed bool) {
	for _, a := range slices.Backward(addrs) {
		if !dialable(a) || slices.ContainsFunc(p.Addrs, func(b bookAddr) bool { return b.Addr == a }) {
			continue
		}
		p.Addrs = append([]bookAddr{{Addr: a}}, p.Addrs...)
		changed = true
	}
	p.sort()
	return changed
}

// proved notes that addr led to the device.
func (p *bookPage) proved(addr string, now time.Time) {
	p.add(addr)
	for i := range p.Addrs {
		if p.Addrs[i].Addr == addr {
			p.Addrs[i].Good = now.Unix()
		}
	}
	p.sort()
}

func (p *bookPage) sort() {
	slices.SortStableFunc(p.Addrs, func(a, b bookAddr) int { return cmp.Compare(b.Good, a.Good) })
	p.Addrs = p.Addrs[:min(len(p.Addrs), wire.MaxAddrs)]
}

func (p *bookPage) addrs() []string {
	as := make([]string, len(p.Addrs))
	for i, a := range p.Addrs {
		as[i] = a.Addr
	}
	return as
}

// dialable reports whether a could be the address of a device.
func dialable(a string) bool {
	host, port, err := net.SplitHostPort(a)
	if err != nil || host == "" || len(a) > wire.MaxAddr {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsUnspecified() && !ip.IsMulticast()
}

// load reads a setting into v; what cannot be read is as if it were not there, because all
// of it is found again.
func (n *Node) load(key string, v any) {
	b, err := n.home.Setting(key)
	if err == nil && b != nil {
		err = cbor.Unmarshal(b, v)
	}
	if err != nil {
		n.log.Warn("a setting could not be read", "key", key, "err", err)
	}
}

func (n *Node) save(key string, v any) {
	b, err := cbor.Marshal(v)
	if err == nil {
		err = n.home.SetSetting(key, b)
	}
	if err != nil && !errors.Is(err, crdt.ErrClosed) {
		n.log.Warn("a setting could not be stored", "key", key, "err", err)
	}
}

// within reports whether a is at or before b.
func within(a, b feed.Frontier) bool {
	for id, h := range a {
		if !b.Covers(id, h.Seq) {
			return false
		}
	}
	return true
}

// lacking counts the entries of a that b has not.
func lacking(a, b feed.Frontier) (entries uint64) {
	for id, h := range a {
		if s := b[id].Seq; s < h.Seq {
			entries += h.Seq - s
		}
	}
	return entries
}
