package peer

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

func TestTicketIsGoodOnce(t *testing.T) {
	a, b, c := newPlace(t, "anna"), newPlace(t, "ben"), newPlace(t, "cleo")
	fa := a.folder()
	ticket, err := a.node.Ticket(fa)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.node.Join(within30s(t), ticket); err != nil {
		t.Fatal(err)
	}
	if _, err := c.node.Join(within30s(t), ticket); !errors.Is(err, ErrTicketUsed) {
		t.Errorf("a second device joined with a used ticket: %v", err)
	}
	if fa.Admitted(c.home.Device()) {
		t.Error("the second device was admitted")
	}
	if len(c.home.Folders()) != 0 {
		t.Error("the second device has the folder")
	}
	// The one who used it may use it again: its connection could have been cut.
	if _, err := b.node.Join(within30s(t), ticket); err != nil {
		t.Errorf("joining again: %v", err)
	}
}

func TestTicketOfAnotherSecret(t *testing.T) {
	a, b := newPlace(t, "anna"), newPlace(t, "ben")
	fa := a.folder()
	text, err := a.node.Ticket(fa)
	if err != nil {
		t.Fatal(err)
	}
	tk, err := ParseTicket(text)
	if err != nil {
		t.Fatal(err)
	}
	tk.Secret[0]++
	if text, err = tk.Encode(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.node.Join(within30s(t), text); !errors.Is(err, ErrTicketUnknown) {
		t.Errorf("joined with a secret that was never handed out: %v", err)
	}
	// A member that brings one is told so, and stays connected.
	fb := a.invite(fa, b)
	g := b.folder()
	gt, err := b.node.Ticket(g)
	if err != nil {
		t.Fatal(err)
	}
	tk, err = ParseTicket(gt)
	if err != nil {
		t.Fatal(err)
	}
	tk.Secret[0]++
	if gt, err = tk.Encode(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.node.Join(within30s(t), gt); !errors.Is(err, ErrTicketUnknown) {
		t.Errorf("a member joined with a secret that was never handed out: %v", err)
	}
	syncWait(t, b, fb)
}

func TestSecondFolderOverOneConnection(t *testing.T) {
	a, b, fa, _ := pair(t)
	syncWait(t, a, fa)
	second, err := b.home.CreateFolder("second")
	if err != nil {
		t.Fatal(err)
	}
	write(t, second, "x", "in the second\n")
	fa2 := b.invite(second, a)
	syncWait(t, a, fa2)
	reads(t, fa2, "x", "in the second\n")
	syncWait(t, a, fa)
}

func TestJoinErrors(t *testing.T) {
	a, b := newPlace(t, "anna"), newPlace(t, "ben")
	fa := a.folder()
	text, err := a.node.Ticket(fa)
	if err != nil {
		t.Fatal(err)
	}
	typo := []byte(text)
	typo[20] ^= 1
	if _, err := b.node.Join(within30s(t), string(typo)); !errors.Is(err, ErrTicketMalformed) {
		t.Errorf("mistyped: %v", err)
	}

	// Nobody is there: a socket that never answers.
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	tk, err := ParseTicket(text)
	if err != nil {
		t.Fatal(err)
	}
	tk.Addrs = []string{silent.LocalAddr().String()}
	far, err := tk.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = b.node.Join(ctx, far)
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), tk.Addrs[0]) {
		t.Errorf("unreachable: %v", err)
	}

	// Someone else is there.
	c := newPlace(t, "cleo")
	tk.Addrs = c.node.Addrs()
	if far, err = tk.Encode(); err != nil {
		t.Fatal(err)
	}
	_, err = b.node.Join(within30s(t), far)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrWrongDevice) {
		t.Errorf("another device at the address: %v", err)
	}

	// One good address among bad ones is enough, and bad ones delay nothing.
	tk.Addrs = append([]string{silent.LocalAddr().String()}, append(c.node.Addrs(), a.node.Addrs()...)...)
	if far, err = tk.Encode(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := b.node.Join(within30s(t), far); err != nil {
		t.Errorf("one good address: %v", err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("bad addresses delayed the join by %v", d)
	}
}

func TestJoinAgainAfterTheInviterIsGone(t *testing.T) {
	// The joiner stops right after the grant, before anything was synced.
	a, b := newPlace(t, "anna"), newPlace(t, "ben")
	fa := a.folder()
	write(t, fa, "x", "hello\n")
	fb := a.invite(fa, b)
	b.restart()
	reads(t, fb, "x", "hello\n")
	if got, want := len(fb.Devices()), 2; got != want {
		t.Errorf("%d devices, want %d", got, want)
	}
}

// TestAnswersToJoin has an inviter that gives every answer there is, and some that are none.
func TestAnswersToJoin(t *testing.T) {
	b, other := newPlace(t, "ben"), newPlace(t, "other")
	fo := other.folder()
	secret, err := fo.Invite()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := fo.Redeem(secret, b.home.Device(), "ben")
	if err != nil {
		t.Fatal(err)
	}
	id, err := newIdentity(stranger(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := quic.ListenAddr("127.0.0.1:0", id.serverTLS(), quicConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	text, err := Ticket{Device: id.device, Folder: crdt.FolderID{1}, Addrs: []string{l.Addr().String()}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ctx := within30s(t)
	for name, c := range map[string]struct {
		answer wire.Message
		want   error
	}{
		"used":               {&wire.Refused{Reason: wire.ReasonUsed}, ErrTicketUsed},
		"expired":            {&wire.Refused{Reason: wire.ReasonExpired}, ErrTicketExpired},
		"unknown":            {&wire.Refused{Reason: wire.ReasonUnknown}, ErrTicketUnknown},
		"no grant":           {&wire.Granted{Grant: []byte("garbage")}, ErrProtocol},
		"for another folder": {&wire.Granted{Grant: foreign.Encode()}, ErrProtocol},
		"no answer":          {&wire.Probe{}, ErrProtocol},
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept(ctx)
			if err != nil {
				return
			}
			conn.AcceptStream(ctx) // the hello
			s, err := conn.AcceptStream(ctx)
			if err != nil {
				return
			}
			if m, err := wire.NewReader(s).Read(); err == nil && m.(*wire.Join).Folder == (crdt.FolderID{1}) {
				wire.NewWriter(s).Write(c.answer)
			}
			<-conn.Context().Done()
		}()
		if _, err := b.node.Join(ctx, text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		<-done
	}
	if fs := b.home.Folders(); len(fs) != 0 {
		t.Errorf("ben has %d folders", len(fs))
	}
}
