package integration

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	mrand "math/rand"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// certificate is a self-signed one of a fresh Ed25519 key, as a device would show.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}
}

// TestStrangers: who is not invited gets nothing, whatever it sends, and the daemon lives.
func TestStrangers(t *testing.T) {
	rnd := mrand.New(mrand.NewSource(rig.Seed(t)))
	a, b := rig.NewDevice(t, "a", nil), rig.NewDevice(t, "b", nil)
	a.Init()
	a.Write("secret.txt", "nobody else's\n")
	ticket := a.Invite()

	t.Run("tickets", func(t *testing.T) {
		// A ticket with one character changed, anywhere.
		for range 6 {
			i := len("sheaf1") + rnd.Intn(len(ticket)-len("sheaf1"))
			c := byte('q')
			if ticket[i] == c {
				c = 'p'
			}
			if r := b.On(t).TryIn(20*time.Second, "", "join", ticket[:i]+string(c)+ticket[i+1:], b.Point); r.Code != 10 {
				t.Errorf("a changed ticket: %v", r)
			}
		}
	})
	b.Join(ticket)
	rig.Sees(t, "secret.txt", "nobody else's\n", b)
	t.Run("used", func(t *testing.T) {
		c := rig.NewDevice(t, "c", nil)
		r := c.TryIn(30*time.Second, "", "join", "--device", "c", ticket, c.Point)
		if r.Code == 0 {
			t.Fatalf("a stranger got in with a used ticket: %v", r)
		}
		if r.Code != 10 || !strings.Contains(r.Stderr, "used") {
			t.Errorf("a used ticket: %v", r)
		}
		if out := c.Shell("ls -A"); out != "" {
			t.Errorf("a stranger sees %q", out)
		}
	})

	s, err := a.Status()
	if err != nil {
		t.Fatal(err)
	}
	pid := s.PID
	addr := ""
	for _, l := range s.Listen {
		if h, _, err := net.SplitHostPort(l); err == nil && net.ParseIP(h).IsLoopback() {
			addr = l
		}
	}
	if addr == "" {
		t.Fatalf("a listens nowhere on this machine: %q", s.Listen)
	}

	t.Run("datagrams", func(t *testing.T) {
		c, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 500 {
			p := make([]byte, rnd.Intn(1400))
			rnd.Read(p)
			if len(p) > 0 && rnd.Intn(2) == 0 {
				p[0] |= 0xc0 // a long header, so that the parser goes on
			}
			_, _ = c.Write(p)
		}
	})
	t.Run("streams", func(t *testing.T) {
		for i := range 8 {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			conn, err := quic.DialAddr(ctx, addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
				NextProtos: []string{"sheaf/1"}, Certificates: []tls.Certificate{certificate(t)}}, &quic.Config{})
			if err != nil {
				cancel()
				continue // turned away at the door
			}
			var got int
			for range 4 {
				st, err := conn.OpenStreamSync(ctx)
				if err != nil {
					break
				}
				p := make([]byte, 1+rnd.Intn(1<<16))
				rnd.Read(p)
				if i%2 == 0 { // an enormous frame by its length
					copy(p, []byte{0xff, 0xff, 0xff, 0xff, 0x7f, 0xbb, 0xff, 0xff})
				}
				_ = st.SetDeadline(time.Now().Add(2 * time.Second))
				_, _ = st.Write(p)
				_ = st.Close()
				n, _ := st.Read(make([]byte, 1<<16))
				got += n
			}
			if got > 4096 {
				t.Errorf("a stranger was told %d bytes", got)
			}
			_ = conn.CloseWithError(0, "")
			cancel()
		}
	})
	if now := a.PID(); now != pid {
		t.Errorf("the daemon died of it: process %d, now %d", pid, now)
	}
	// And the folder goes on.
	a.ShellIn("more\n", `cat >> secret.txt`)
	rig.Sees(t, "secret.txt", "nobody else's\nmore\n", b)
	if s, err = a.Status(); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Folders[0].Devices); n != 1 {
		t.Errorf("a shares with %d devices: %s", n, fmt.Sprint(s.Folders[0].Devices))
	}
}

// TestHostileMember: a device that was let in sends what no device may. It is refused
// and named; the others live, and lose nothing.
func TestHostileMember(t *testing.T) {
	for _, f := range []struct{ fault, says string }{
		{"peer-forges", "signature"},
		{"peer-babbles", "malformed"},
		{"peer-floods", "are allowed"},
	} {
		t.Run(f.fault, func(t *testing.T) {
			t.Parallel()
			a, b := rig.NewDevice(t, "a", nil), rig.NewDevice(t, "b", nil)
			a.Init()
			a.Write("mine.txt", "mine\n")
			ticket := a.Invite()
			b.Faulty(f.fault)
			if r := b.Try("join", "--device", "b", "--timeout", "3s", ticket, b.Point); r.Code != 0 && r.Code != 7 {
				t.Fatal(r)
			}
			pid := a.PID()
			b.Write("bad.txt", "never\n")
			rig.Until(t, "a names b", func() error {
				s, err := a.Status()
				if err != nil {
					return err
				}
				for _, d := range s.Folders[0].Devices {
					if d.Name == "b" && strings.Contains(d.LastError, f.says) {
						return nil
					}
				}
				return fmt.Errorf("%+v", s.Folders[0].Devices)
			})
			if out := a.Shell("ls"); out != "mine.txt\n" {
				t.Errorf("a has %q", out)
			}
			if now := a.PID(); now != pid {
				t.Errorf("the daemon died of it: process %d, now %d", pid, now)
			}
			// What b wrote is still b's; once it behaves, all is shared.
			rig.Sees(t, "bad.txt", "never\n", b)
			b.Sheaf("down")
			b.Behaves().Sheaf("up")
			rig.Sees(t, "bad.txt", "never\n", a, b)
		})
	}
}
