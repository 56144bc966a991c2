package peer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/crdttest"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// rogue speaks QUIC to a node with a device's key, and whatever else it likes.
type rogue struct {
	t    *testing.T
	id   *identity
	conn *quic.Conn
}

func newRogue(t *testing.T, priv ed25519.PrivateKey, p *place) *rogue {
	t.Helper()
	id, err := newIdentity(priv)
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{t: t, id: id}
	c, err := quic.DialAddr(within30s(t), p.node.Addrs()[0], id.clientTLS(p.home.Device()), quicConfig())
	if err != nil {
		t.Fatal(err)
	}
	r.conn = c
	t.Cleanup(func() { c.CloseWithError(codeDone, "") })
	return r
}

// hello introduces the rogue properly.
func (r *rogue) hello(joining bool) *quic.Stream {
	r.t.Helper()
	s, err := r.conn.OpenStream()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := wire.NewWriter(s).Write(&wire.Hello{Joining: joining}); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// endsWith waits for the node to close the connection with code.
func (r *rogue) endsWith(code quic.ApplicationErrorCode) {
	r.t.Helper()
	select {
	case <-r.conn.Context().Done():
	case <-time.After(patience):
		r.t.Fatal("the connection was not closed")
	}
	var ae *quic.ApplicationError
	if err := context.Cause(r.conn.Context()); !errors.As(err, &ae) || !ae.Remote || ae.ErrorCode != code || ae.ErrorMessage != "" {
		r.t.Errorf("closed with %v, want code %d and no words", err, code)
	}
}

// member is a rogue whose device was admitted to a folder, and what it knows of it.
func member(t *testing.T, a *place, f *crdt.Folder) (*rogue, *crdt.Home, *crdt.Folder) {
	t.Helper()
	h, err := crdt.Init(t.TempDir()+"/rogue", crdt.Options{DeviceName: "rogue"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	mine := crdttest.Share(t, f, h)
	entries, err := f.Since(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := mine.Receive([]*feed.Entry{e.Entry}); err != nil {
			t.Fatal(err)
		}
	}
	a.node.refresh()
	return newRogue(t, h.PrivateKey(), a), h, mine
}

// sync opens a proper sync stream.
func (r *rogue) sync(f *crdt.Folder) (*quic.SendStream, *wire.Writer) {
	r.t.Helper()
	r.hello(false)
	s, err := r.conn.OpenUniStream()
	if err != nil {
		r.t.Fatal(err)
	}
	fr, err := f.Frontier()
	if err != nil {
		r.t.Fatal(err)
	}
	w := wire.NewWriter(s)
	if err := w.Write(&wire.Open{Folder: f.ID(), Frontier: fr.Hash()}); err != nil {
		r.t.Fatal(err)
	}
	return s, w
}

func stranger(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return priv
}

func TestStrangersGetNothing(t *testing.T) {
	checkLeaks(t)
	a, b, fa, fb := pair(t)
	syncWait(t, b, fb)
	for name, act := range map[string]func(*rogue){
		"hello":        func(r *rogue) { r.hello(false) },
		"garbage":      func(r *rogue) { s, _ := r.conn.OpenStream(); s.Write([]byte("GET / HTTP/1.1\r\n\r\n")) },
		"another kind": func(r *rogue) { s, _ := r.conn.OpenStream(); wire.NewWriter(s).Write(&wire.Probe{}) },
		"a get": func(r *rogue) {
			r.hello(false)
			s, _ := r.conn.OpenStream()
			wire.NewWriter(s).Write(&wire.Get{Folder: fa.ID(), Size: 1})
		},
		"a sync stream": func(r *rogue) {
			r.hello(true)
			s, _ := r.conn.OpenUniStream()
			wire.NewWriter(s).Write(&wire.Open{Folder: fa.ID()})
			s2, _ := r.conn.OpenStream()
			wire.NewWriter(s2).Write(&wire.Get{Folder: fa.ID(), Size: 1})
		},
		"a made-up secret": func(r *rogue) {
			r.hello(true)
			s, _ := r.conn.OpenStream()
			wire.NewWriter(s).Write(&wire.Join{Folder: fa.ID(), Secret: [32]byte{1}})
		},
		"a folder that is not here": func(r *rogue) {
			r.hello(true)
			s, _ := r.conn.OpenStream()
			wire.NewWriter(s).Write(&wire.Join{Secret: [32]byte{1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRogue(t, stranger(t), a)
			act(r)
			r.endsWith(codeStranger)
			// It was told nothing at all.
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			if s, err := r.conn.AcceptUniStream(ctx); err == nil {
				t.Errorf("it got a stream %d", s.StreamID())
			}
		})
	}
	write(t, fa, "x", "alive\n")
	reads(t, fb, "x", "alive\n")
}

func TestSilentStrangerIsClosed(t *testing.T) {
	t.Parallel() // it waits for the limit on silence
	a := newPlace(t, "anna")
	a.folder()
	r := newRogue(t, stranger(t), a)
	r.endsWith(codeStranger)
}

func TestMembersThatBreakTheRules(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder)
		want string // in LastError
	}{
		"garbage": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			s, _ := r.sync(f)
			s.Write(bytes.Repeat([]byte("garbage "), 100))
		}, "malformed frame"},
		"garbage for a hello": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			s, _ := r.conn.OpenStream()
			s.Write(bytes.Repeat([]byte{255}, 100))
		}, "malformed frame"},
		"oversized": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			s, _ := r.sync(f)
			b := binary.BigEndian.AppendUint32(nil, feed.MaxEntry+1000)
			s.Write(append(b, 7))
		}, "at most"},
		"wrongly signed": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			_, w := r.sync(f)
			b := bytes.Clone(newest(t, f).Bytes())
			b[len(b)-1] ^= 1
			w.Write(&wire.Entries{Entries: [][]byte{b}})
		}, "signature"},
		"a gap": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			_, w := r.sync(f)
			write(t, f, "one", "1\n")
			newest(t, f)
			write(t, f, "two", "2\n")
			w.Write(&wire.Entries{Entries: [][]byte{newest(t, f).Bytes()}})
		}, "missing"},
		"of a device that is not admitted": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			_, w := r.sync(f)
			priv := stranger(t)
			d := feed.Draft{Folder: f.ID(), Feed: feed.ID{Device: feed.DeviceOf(priv)}, Seq: 1, Time: time.Now()}
			e, err := feed.Seal(priv, feed.Key{}, d, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			w.Write(&wire.Entries{Entries: [][]byte{e.Bytes()}})
		}, "not a member"},
		"no entry": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			_, w := r.sync(f)
			w.Write(&wire.Entries{Entries: [][]byte{[]byte("not an entry")}})
		}, "malformed"},
		"a bad frontier": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			_, w := r.sync(f)
			w.Write(&wire.Frontier{Heads: []byte{0x82, 0, 0}})
		}, "malformed"},
		"a second sync stream": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			r.sync(f)
			s, _ := r.conn.OpenUniStream()
			wire.NewWriter(s).Write(&wire.Open{Folder: f.ID()})
		}, "second sync stream"},
		"a strange stream": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			r.hello(false)
			s, _ := r.conn.OpenStream()
			wire.NewWriter(s).Write(&wire.Slice{})
		}, "opens a stream"},
		"chatter on the control stream": {func(t *testing.T, r *rogue, h *crdt.Home, f *crdt.Folder) {
			s := r.hello(false)
			wire.NewWriter(s).Write(&wire.Hello{})
		}, "control stream"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, fa, fb := pair(t)
			syncWait(t, b, fb)
			r, h, f := member(t, a, fa)
			c.act(t, r, h, f)
			r.endsWith(codeProtocol)
			eventually(t, "status names it", func() bool {
				for _, s := range a.node.Status(fa) {
					if s.Device == h.Device() {
						return !s.Connected && strings.Contains(s.LastError, ErrProtocol.Error()) && strings.Contains(s.LastError, c.want)
					}
				}
				return false
			})
			// For a while it is not listened to.
			again := newRogue(t, h.PrivateKey(), a)
			again.hello(false)
			again.endsWith(codeProtocol)
			// And nobody else noticed.
			write(t, fa, "x", "alive\n")
			reads(t, fb, "x", "alive\n")
		})
	}
}

func newest(t *testing.T, f *crdt.Folder) *feed.Entry {
	t.Helper()
	es, err := f.Since(0, 1<<20)
	if err != nil || len(es) == 0 {
		t.Fatalf("no entries: %v", err)
	}
	return es[len(es)-1].Entry
}

// TestReplay sends a folder's entries again and again: nothing changes.
func TestReplay(t *testing.T) {
	a, _, fa, _ := pair(t)
	write(t, fa, "x", "1\n")
	write(t, fa, "x", "2\n")
	r, _, f := member(t, a, fa)
	before, err := fa.Frontier()
	if err != nil {
		t.Fatal(err)
	}
	es, err := f.Since(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	m := &wire.Entries{}
	for _, e := range es {
		m.Entries = append(m.Entries, e.Entry.Bytes())
	}
	_, w := r.sync(f)
	for range 10 {
		if err := w.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(&wire.Probe{N: 1}); err != nil {
		t.Fatal(err)
	}
	r.awaitHave(1)
	after, err := fa.Frontier()
	if err != nil {
		t.Fatal(err)
	}
	if before.Hash() != after.Hash() {
		t.Errorf("a replay changed the frontier: %v to %v", before.Heads(), after.Heads())
	}
	reads(t, fa, "x", "2\n")
}

// awaitHave reads the node's sync stream until it answers a probe.
func (r *rogue) awaitHave(probe uint64) {
	r.t.Helper()
	s, err := r.conn.AcceptUniStream(within30s(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	in := wire.NewReader(s)
	for {
		m, err := in.Read()
		if err != nil {
			r.t.Fatal(err)
		}
		if h, ok := m.(*wire.Have); ok && h.Probe == probe {
			return
		}
	}
}

// TestReconnectCostsOneMessage listens to what a node says to a member that has everything.
func TestReconnectCostsOneMessage(t *testing.T) {
	a := newPlace(t, "anna")
	fa := a.folder()
	for i := range 50 {
		write(t, fa, strings.Repeat("x", i+1), "text\n")
	}
	r, _, f := member(t, a, fa)
	_, w := r.sync(f)
	s, err := r.conn.AcceptUniStream(within30s(t))
	if err != nil {
		t.Fatal(err)
	}
	in := wire.NewReader(s)
	if m, err := in.Read(); err != nil {
		t.Fatal(err)
	} else if _, ok := m.(*wire.Open); !ok {
		t.Fatalf("%T opens the stream", m)
	}
	if err := w.Write(&wire.Probe{N: 1}); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := in.Read()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *wire.Peers: // where others are, once
		case *wire.Have:
			if fr, err := feed.DecodeFrontier(m.Heads); err != nil || len(fr) != 0 {
				t.Errorf("it told heads: %v, %v", fr, err)
			}
			if m.Probe == 1 {
				return
			}
		default:
			t.Errorf("it said %T", m)
		}
	}
}

// TestObjectsAreServedToMembersOnly: a member of one folder cannot get at another folder's
// objects or entries.
func TestObjectsAreServedToMembersOnly(t *testing.T) {
	a := newPlace(t, "anna")
	fa := a.folder()
	secret := a.folder()
	o := a.writeObject(secret, "secret", random(1, 5000))
	r, _, f := member(t, a, fa)
	r.sync(f)
	s, err := r.conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.NewWriter(s).Write(&wire.Get{Folder: secret.ID(), Hash: o.Hash, Size: o.Size}); err != nil {
		t.Fatal(err)
	}
	m, err := wire.NewReader(s).Read()
	if err != nil {
		t.Fatal(err)
	}
	if slice, ok := m.(*wire.Slice); !ok || slice.Status != wire.StatusAbsent {
		t.Errorf("it got %T %v", m, m)
	}
	// A sync stream of that folder is refused, and the connection lives.
	u, err := r.conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.NewWriter(u).Write(&wire.Open{Folder: secret.ID()}); err != nil {
		t.Fatal(err)
	}
	<-u.Context().Done()
	var se *quic.StreamError
	if err := context.Cause(u.Context()); !errors.As(err, &se) || se.ErrorCode != codeRefused {
		t.Errorf("the stream ended with %v", err)
	}
	if r.conn.Context().Err() != nil {
		t.Error("the connection ended with it")
	}
}

// TestLyingAboutObjects: a slice with wrong bytes gets its sender dropped, not stored.
func TestLyingAboutObjects(t *testing.T) {
	a := newPlace(t, "anna")
	fa := a.folder()
	r, h, f := member(t, a, fa)
	_, w := r.sync(f)
	hash, size, err := h.Objects().Put(random(1, 5000))
	if err != nil {
		t.Fatal(err)
	}
	o := crdt.Object{Hash: crdt.Hash(hash), Size: size}
	if err := f.Update(func(tx *crdt.Tx) error {
		_, _, err := tx.Create(crdt.Root, "x", 0o644, crdt.NewContent{Object: &o})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&wire.Entries{Entries: [][]byte{newest(t, f).Bytes()}}); err != nil {
		t.Fatal(err)
	}
	s, err := r.conn.AcceptStream(within30s(t))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := wire.NewReader(s).Read(); err != nil {
		t.Fatal(err)
	} else if get, ok := m.(*wire.Get); !ok || get.Hash != o.Hash {
		t.Fatalf("it asked %T %v", m, m)
	}
	slice, err := h.Objects().Slice(hash, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	slice[len(slice)-1] ^= 1
	if err := wire.NewWriter(s).Write(&wire.Slice{Data: slice}); err != nil {
		t.Fatal(err)
	}
	r.endsWith(codeProtocol)
	if a.node.has(o.Hash) {
		t.Error("it was stored")
	}
}

func TestWrongCertificates(t *testing.T) {
	a := newPlace(t, "anna")
	id, err := newIdentity(stranger(t))
	if err != nil {
		t.Fatal(err)
	}
	bare := id.clientTLS(a.home.Device())
	bare.Certificates = nil
	other := id.clientTLS(id.device)
	wrongALPN := id.clientTLS(a.home.Device())
	wrongALPN.NextProtos = []string{"h3"}
	ctx := within30s(t)
	for name, c := range map[string]func() error{
		"no certificate": func() error {
			c, err := quic.DialAddr(ctx, a.node.Addrs()[0], bare, quicConfig())
			if err != nil {
				return err
			}
			_, err = c.AcceptStream(ctx) // a server's refusal comes after the client's handshake
			return err
		},
		"another device expected": func() error {
			_, err := quic.DialAddr(ctx, a.node.Addrs()[0], other, quicConfig())
			return err
		},
		"another protocol": func() error {
			_, err := quic.DialAddr(ctx, a.node.Addrs()[0], wrongALPN, quicConfig())
			return err
		},
	} {
		var te *quic.TransportError
		if err := c(); err == nil || errors.Is(err, io.EOF) || !errors.As(err, &te) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
