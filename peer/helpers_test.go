package peer

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// patience is how long tests wait for what must happen; they wait for conditions, so it is
// only spent when something is broken.
const patience = 30 * time.Second

// place is a home and its node, on loopback.
type place struct {
	t    testing.TB
	home *crdt.Home
	node *Node
}

func newPlace(t testing.TB, name string) *place {
	t.Helper()
	h, err := crdt.Init(t.TempDir()+"/home", crdt.Options{DeviceName: name})
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, home: h}
	t.Cleanup(func() {
		p.stop()
		if err := p.home.Close(); err != nil {
			t.Errorf("close home of %s: %v", name, err)
		}
	})
	p.start("127.0.0.1:0")
	return p
}

func (p *place) start(listen string) { p.t.Helper(); p.startWith(Options{Listen: []string{listen}}) }

func (p *place) startWith(o Options) {
	p.t.Helper()
	o.Logger = logger(p.t, p.home.DeviceName())
	n, err := New(p.home, o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.node = n
}

func (p *place) stop() {
	if p.node == nil {
		return
	}
	began := time.Now()
	if err := p.node.Close(); err != nil {
		p.t.Errorf("close node: %v", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		p.t.Errorf("closing the node took %v", d)
	}
	p.node = nil
}

// restart stops the node and starts it again, at the same address.
func (p *place) restart() {
	addr := p.node.Addrs()[0]
	p.stop()
	p.start(addr)
}

func logger(t testing.TB, name string) *slog.Logger {
	if os.Getenv("SHEAF_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("home", name)
}

func within30s(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// founder makes a folder.
func (p *place) folder() *crdt.Folder {
	p.t.Helper()
	f, err := p.home.CreateFolder("notes")
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// invite makes q a member of f, by a ticket of p.
func (p *place) invite(f *crdt.Folder, q *place) *crdt.Folder {
	p.t.Helper()
	ticket, err := p.node.Ticket(f)
	if err != nil {
		p.t.Fatal(err)
	}
	g, err := q.node.Join(within30s(p.t), ticket)
	if err != nil {
		p.t.Fatal(err)
	}
	return g
}

// pair is two places that share a folder.
func pair(t testing.TB) (a, b *place, fa, fb *crdt.Folder) {
	t.Helper()
	a, b = newPlace(t, "anna"), newPlace(t, "ben")
	fa = a.folder()
	fb = a.invite(fa, b)
	return a, b, fa, fb
}

func write(t testing.TB, f *crdt.Folder, name, text string) {
	t.Helper()
	info, missing := f.Lookup(crdt.Root, name)
	err := f.Update(func(tx *crdt.Tx) error {
		if missing != nil {
			_, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Text: text})
			return err
		}
		_, err := tx.Write(info.Node, info.Version, crdt.NewContent{Text: text})
		return err
	})
	if err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
}

// writeObject creates a file whose content is an object.
func (p *place) writeObject(f *crdt.Folder, name string, r io.Reader) crdt.Object {
	p.t.Helper()
	h, size, err := p.home.Objects().Put(r)
	if err != nil {
		p.t.Fatal(err)
	}
	o := crdt.Object{Hash: crdt.Hash(h), Size: size}
	err = f.Update(func(tx *crdt.Tx) error {
		_, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Object: &o})
		return err
	})
	if err != nil {
		p.t.Fatalf("write %s: %v", name, err)
	}
	return o
}

func read(f *crdt.Folder, name string) (string, bool) {
	info, err := f.Lookup(crdt.Root, name)
	if err != nil {
		return "", false
	}
	c, err := f.Content(info.Node)
	if err != nil || c.Object != nil {
		return "", false
	}
	return c.Text, true
}

// eventually waits for ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func reads(t testing.TB, f *crdt.Folder, name, want string) {
	t.Helper()
	eventually(t, name+" reads "+want, func() bool {
		got, ok := read(f, name)
		return ok && got == want
	})
}

func syncWait(t testing.TB, p *place, f *crdt.Folder) {
	t.Helper()
	if err := p.node.SyncWait(within30s(t), f); err != nil {
		t.Fatal(err)
	}
}

func sameFrontier(t testing.TB, fs ...*crdt.Folder) {
	t.Helper()
	first, err := fs[0].Frontier()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs[1:] {
		fr, err := f.Frontier()
		if err != nil {
			t.Fatal(err)
		}
		if fr.Hash() != first.Hash() {
			t.Errorf("frontiers differ: %v and %v", first.Heads(), fr.Heads())
		}
	}
}

// random is n bytes that do not compress and are no text.
func random(seed byte, n int) io.Reader {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return bytes.NewReader(b)
}

// checkLeaks fails the test if goroutines of this package outlive it.
func checkLeaks(t *testing.T) {
	t.Cleanup(func() {
		var stacks string
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			buf := make([]byte, 4<<20)
			stacks = string(buf[:runtime.Stack(buf, true)])
			if !strings.Contains(stacks, "sheaf/peer.(*") && !strings.Contains(stacks, "quic-go.(*") {
				return
			}
		}
		t.Errorf("goroutines are left:\n%s", stacks)
	})
}
