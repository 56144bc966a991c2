package peer

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// TestPresence: what is open on one device is told to the other, and taken back.
func TestPresence(t *testing.T) {
	a, b, fa, fb := pair(t)
	var open atomic.Pointer[[]OpenFile]
	open.Store(&[]OpenFile{{Node: crdt.NodeID{1}, Writing: true, Program: "vim"}, {Node: crdt.NodeID{2}}})
	addr := a.node.Addrs()[0]
	a.stop()
	a.startWith(Options{Listen: []string{addr}, Open: func(id crdt.FolderID) []OpenFile {
		if id != fa.ID() {
			return nil
		}
		return *open.Load()
	}})
	hears := func(want []OpenFile) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			got := b.node.Open(fb, a.home.Device())
			if slices.Equal(got, want) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("heard %v, not %v", got, want)
			}
		}
	}
	hears(*open.Load())
	if got := a.node.Open(fa, b.home.Device()); got != nil {
		t.Errorf("a device that tells nothing has %v open", got)
	}
	open.Store(&[]OpenFile{{Node: crdt.NodeID{2}}})
	hears(*open.Load())
	open.Store(new([]OpenFile))
	hears(nil)
	many := make([]OpenFile, 3*wire.MaxOpen)
	for i := range many {
		many[i] = OpenFile{Node: crdt.NodeID{byte(i)}, Program: fmt.Sprintf("a long name of %d\x1b[2J", i)}
	}
	open.Store(&many)
	for end := time.Now().Add(patience); len(b.node.Open(fb, a.home.Device())) != wire.MaxOpen; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("too many files: nothing is told")
		}
	}
	a.stop()
	hears(nil)
}

// TestPresenceExpires: what is not said again is forgotten though the connection stands;
// what was overtaken counts as not said.
func TestPresenceExpires(t *testing.T) {
	a, b, fa, fb := pair(t)
	l := b.node.linkTo(a.home.Device())
	for end := time.Now().Add(patience); l == nil || l.session(fb.ID()) == nil; l = b.node.linkTo(a.home.Device()) {
		if time.Now().After(end) {
			t.Fatal("no link")
		}
		time.Sleep(5 * time.Millisecond)
	}
	say := func(n uint64, node byte, at time.Time) {
		l.heardPresence(&wire.Presence{Folder: fa.ID(), N: n, Files: []wire.OpenFile{{Node: [16]byte{node}}}}, at)
	}
	now := time.Now()
	say(2, 2, now)
	say(1, 1, now)
	if got := b.node.Open(fb, a.home.Device()); len(got) != 1 || got[0].Node != (crdt.NodeID{2}) {
		t.Errorf("an older datagram counts: %v", got)
	}
	say(3, 3, now.Add(-forgetAfter-time.Millisecond))
	if got := b.node.Open(fb, a.home.Device()); got != nil {
		t.Errorf("not forgotten: %v", got)
	}
	l.heardPresence(&wire.Presence{Folder: crdt.FolderID{9}, N: 4}, now)
	l.presence.mu.Lock()
	defer l.presence.mu.Unlock()
	if len(l.presence.heard) != 1 {
		t.Error("something is kept for a folder that is not shared")
	}
}

// TestHearing: a peer that floods is not listened to; one that keeps to the rate is, for ever.
func TestHearing(t *testing.T) {
	var now time.Time
	h := hearing{left: hearBurst}
	step := time.Duration(float64(time.Second) / hearRate)
	for i := range 10000 {
		if now = now.Add(step); !h.allows(now) {
			t.Fatalf("datagram %d at the rate is not heard", i)
		}
	}
	heard := 0
	for range 10000 {
		if now = now.Add(step / 100); h.allows(now) {
			heard++
		}
	}
	if heard > hearBurst+2 {
		t.Errorf("%d datagrams of a flood are heard", heard)
	}
	if now = now.Add(deafFor); !h.allows(now) {
		t.Error("deaf for good")
	}
}

// TestMalformedPresence: a peer that sends what no device sends is dropped.
func TestMalformedPresence(t *testing.T) {
	a, b, _, _ := pair(t)
	a.stop()
	r := newRogue(t, a.home.PrivateKey(), b)
	r.hello(false)
	if err := r.conn.SendDatagram([]byte{1, 0xff}); err != nil {
		t.Fatal(err)
	}
	r.endsWith(codeProtocol)
}
