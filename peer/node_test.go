package peer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

func TestTwo(t *testing.T) {
	checkLeaks(t)
	a, b := newPlace(t, "anna"), newPlace(t, "ben")
	fa := a.folder()
	write(t, fa, "before.txt", "written before anyone joined\n")
	fb := a.invite(fa, b)
	syncWait(t, b, fb)
	reads(t, fb, "before.txt", "written before anyone joined\n")

	write(t, fa, "a.txt", "from anna\n")
	reads(t, fb, "a.txt", "from anna\n")
	write(t, fb, "b.txt", "from ben\n")
	reads(t, fa, "b.txt", "from ben\n")
	syncWait(t, a, fa)
	syncWait(t, b, fb)
	sameFrontier(t, fa, fb)

	for _, p := range a.node.Status(fa) {
		if p.Name != "ben" || !p.Connected || p.EntriesToSend != 0 || p.EntriesToGet != 0 || p.LastError != "" || p.Seen.IsZero() {
			t.Errorf("status of ben: %+v", p)
		}
	}
}

func TestBothWriteAtOnce(t *testing.T) {
	a, b, fa, fb := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			write(t, fa, fmt.Sprintf("a%d", i), "a\n")
		}
	}()
	for i := range 200 {
		write(t, fb, fmt.Sprintf("b%d", i), "b\n")
	}
	<-done
	syncWait(t, a, fa)
	syncWait(t, b, fb)
	sameFrontier(t, fa, fb)
}

func TestThreeFormAMesh(t *testing.T) {
	checkLeaks(t)
	a, b, c := newPlace(t, "anna"), newPlace(t, "ben"), newPlace(t, "cleo")
	fa := a.folder()
	fb := a.invite(fa, b)
	fc := b.invite(fb, c) // by one who is not the founder
	for _, f := range []*crdt.Folder{fa, fb, fc} {
		write(t, f, "of "+f.Devices()[0].Name, "hello\n")
	}
	connected := func(p *place, f *crdt.Folder) bool {
		k := 0
		for _, s := range p.node.Status(f) {
			if s.Connected {
				k++
			}
		}
		return k == 2
	}
	eventually(t, "a mesh of three", func() bool { return connected(a, fa) && connected(b, fb) && connected(c, fc) })

	// Without the one who introduced them, the others go on.
	b.stop()
	write(t, fc, "late.txt", "from cleo\n")
	reads(t, fa, "late.txt", "from cleo\n")
	b.start("127.0.0.1:0") // somewhere else
	reads(t, fb, "late.txt", "from cleo\n")
	syncWait(t, a, fa)
	sameFrontier(t, fa, fb, fc)
}

func TestOfflineEditsMeet(t *testing.T) {
	a, b, fa, fb := pair(t)
	syncWait(t, a, fa)
	b.stop()
	write(t, fa, "x", "1\n")
	write(t, fb, "y", "2\n")
	eventually(t, "anna notices", func() bool { return !a.node.Status(fa)[0].Connected })
	if s := a.node.Status(fa)[0]; s.EntriesToSend == 0 {
		t.Errorf("status says nothing is left to send: %+v", s)
	}
	b.start("127.0.0.1:0")
	reads(t, fa, "y", "2\n")
	reads(t, fb, "x", "1\n")
	syncWait(t, b, fb)
	sameFrontier(t, fa, fb)
}

func TestReconnectsAfterRestart(t *testing.T) {
	a, b, fa, fb := pair(t)
	syncWait(t, a, fa)
	began := time.Now()
	a.restart()
	write(t, fa, "x", "again\n")
	reads(t, fb, "x", "again\n")
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v to find each other again", d)
	}
	syncWait(t, b, fb)
}

func TestSyncWaitWithoutPeers(t *testing.T) {
	a := newPlace(t, "anna")
	f := a.folder()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := a.node.SyncWait(ctx, f); !errors.Is(err, ErrNoPeer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("SyncWait alone: %v", err)
	}
}

func TestAddressIsKept(t *testing.T) {
	h, err := crdt.Init(t.TempDir()+"/home", crdt.Options{DeviceName: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var ports [2]uint16
	for i := range ports {
		n, err := New(h, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = n.ends[0].local.Port()
		if len(n.Addrs()) == 0 {
			t.Error("a node that listens everywhere knows no address of its own")
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if ports[0] != ports[1] {
		t.Errorf("the port went from %d to %d", ports[0], ports[1])
	}
}
