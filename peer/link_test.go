package peer

import (
	"net"
	"sync"
	"testing"
	"time"
)

// TestBothCallAtOnce has two devices dial each other at the same moment, again and again:
// both must keep the same one of the two connections.
func TestBothCallAtOnce(t *testing.T) {
	checkLeaks(t)
	a, b, fa, fb := pair(t)
	syncWait(t, b, fb)
	ra, rb := a.node.remote(b.home.Device()), b.node.remote(a.home.Device())
	for round := range 10 {
		var wg sync.WaitGroup
		wg.Go(func() { a.node.call(ra, b.node.Addrs()) })
		wg.Go(func() { b.node.call(rb, a.node.Addrs()) })
		wg.Wait()
		eventually(t, "one connection", func() bool {
			la, lb := a.node.linkTo(b.home.Device()), b.node.linkTo(a.home.Device())
			return la != nil && lb != nil && la.dialled != lb.dialled &&
				la.conn.Context().Err() == nil && lb.conn.Context().Err() == nil
		})
		write(t, fa, "x", time.Duration(round).String()+"\n")
		reads(t, fb, "x", time.Duration(round).String()+"\n")
	}
	syncWait(t, a, fa)
}

// TestDeathIsNoticed cuts a device off without a word.
func TestDeathIsNoticed(t *testing.T) {
	t.Parallel() // it waits for the limit on silence
	a, b, fa, fb := pair(t)
	syncWait(t, b, fb)
	if err := b.node.ends[0].conn.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "anna notices", func() bool { return !a.node.Status(fa)[0].Connected })
	if d := time.Since(began); d > idleTimeout+2*keepAlive {
		t.Errorf("it took %v to notice", d)
	}
	if s := a.node.Status(fa)[0]; s.LastError == "" || s.Seen.IsZero() {
		t.Errorf("status does not say so: %+v", s)
	}
	b.node.Close() // its socket is gone: an error is fine
	b.node = nil
	b.start("127.0.0.1:0")
	write(t, fb, "x", "back\n")
	reads(t, fa, "x", "back\n")
}

// TestWhatIsHeldIsRemembered: what a device holds is known when it is away, and so that the
// next connection does not go through everything.
func TestWhatIsHeldIsRemembered(t *testing.T) {
	a, b, fa, fb := pair(t)
	write(t, fa, "x", "1\n")
	syncWait(t, a, fa)
	syncWait(t, b, fb)
	b.stop()
	eventually(t, "anna notices", func() bool { return !a.node.Status(fa)[0].Connected })
	a.restart()
	s := a.node.Status(fa)[0]
	if s.EntriesToSend != 0 || s.EntriesToGet != 0 || s.Seen.IsZero() {
		t.Errorf("status forgot: %+v", s)
	}
	var p ackPage
	a.node.load(ackKey(fa.ID(), b.home.Device()), &p)
	if p.Cursor != fa.Last() {
		t.Errorf("the cursor is %d, want %d", p.Cursor, fa.Last())
	}
	write(t, fa, "x", "2\n")
	if s := a.node.Status(fa)[0]; s.EntriesToSend != 1 {
		t.Errorf("status counts %d entries to send, want 1", s.EntriesToSend)
	}
}

// TestLAN has two devices move to addresses that neither knows of the other.
func TestLAN(t *testing.T) {
	if !multicast(t) {
		t.Skip("no network here carries multicast")
	}
	a, b, fa, fb := pair(t)
	syncWait(t, b, fb)
	a.stop()
	b.stop()
	a.startWith(Options{Listen: []string{"0.0.0.0:0"}, LAN: true})
	b.startWith(Options{Listen: []string{"0.0.0.0:0"}, LAN: true})
	write(t, fa, "x", "found\n")
	reads(t, fb, "x", "found\n")
}

// multicast reports whether a packet to a group comes back.
func multicast(t *testing.T) bool {
	t.Helper()
	group := &net.UDPAddr{IP: net.IPv4(239, 255, 83, 71), Port: 42834}
	in, err := net.ListenMulticastUDP("udp4", nil, group)
	if err != nil {
		return false
	}
	defer in.Close()
	out, err := net.DialUDP("udp4", nil, group)
	if err != nil {
		return false
	}
	defer out.Close()
	if _, err := out.Write([]byte("anyone?")); err != nil {
		return false
	}
	in.SetReadDeadline(time.Now().Add(time.Second))
	_, err = in.Read(make([]byte, 100))
	return err == nil
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: minBackoff, 4: 714 * time.Millisecond, 100: maxBackoff, 1 << 40: maxBackoff} {
		for range 100 {
			if got := backoff(failures); got < want/2 || got > want+time.Millisecond {
				t.Fatalf("backoff(%d) = %v, want between half of %v and that", failures, got, want)
			}
		}
	}
	var away time.Duration
	for failures := range 100 {
		wait := backoff(failures)
		if failures >= 6 && wait > away*4/5 {
			t.Errorf("after %v away it waits %v more", away, wait)
		}
		away += wait
	}
}

func TestBook(t *testing.T) {
	now := time.Unix(1000, 0)
	var p bookPage
	p.proved("192.0.2.1:1", now)
	for i := range 50 {
		p.add("192.0.2.2:"+time.Duration(i + 1).String()[:1]+"0", "nonsense", "0.0.0.0:1", "239.1.1.1:1", "192.0.2.3:0", ":5")
	}
	if len(p.Addrs) > 16 || p.Addrs[0].Addr != "192.0.2.1:1" {
		t.Errorf("hearsay pushed out what was proved: %+v", p.Addrs)
	}
	for _, a := range p.addrs() {
		if !dialable(a) {
			t.Errorf("%q is in the book", a)
		}
	}
	p.proved("192.0.2.9:9", now.Add(time.Hour))
	if p.Addrs[0].Addr != "192.0.2.9:9" {
		t.Errorf("the newest proof is not first: %+v", p.Addrs)
	}
}
