package infer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/crdttest"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

// hurried is timing for tests.
var hurried = timing{
	quiet: 60 * time.Millisecond, batch: 5 * time.Millisecond, progress: 5 * time.Millisecond, check: time.Millisecond,
	settle: 10 * time.Millisecond, dead: 300 * time.Millisecond, grace: 100 * time.Millisecond,
}

// device is a home with a service, and what its person does.
type device struct {
	t      testing.TB
	name   string
	dir    string
	home   *crdt.Home
	f      *crdt.Folder
	engine *enginetest.Engine
	s      *Service

	mu  sync.Mutex
	ctx context.Context // of the latest answer

	sent crdttest.Sent
}

func newDevice(t testing.TB, name string) *device {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sheaf-")
	if err != nil {
		dir = t.TempDir()
	}
	d := &device{t: t, name: name, dir: filepath.Join(dir, "home"), engine: &enginetest.Engine{}}
	if d.home, err = crdt.Init(d.dir, crdt.Options{DeviceName: name}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.stop()
		d.home.Close()
		os.RemoveAll(dir)
	})
	return d
}

// pair are two devices of one folder, whose services run.
func pair(t testing.TB) (a, b *device) {
	t.Helper()
	a, b = newDevice(t, "anna"), newDevice(t, "bert")
	var err error
	if a.f, err = a.home.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	b.f = crdttest.Share(t, a.f, b.home)
	swap(a, b)
	a.start()
	b.start()
	return a, b
}

// one is a device with a folder, whose service runs.
func one(t testing.TB) *device {
	t.Helper()
	d := newDevice(t, "anna")
	var err error
	if d.f, err = d.home.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	d.start()
	return d
}

func (d *device) start() { d.startWith(cancelled{d}) }

// cancelled opens the scripted engine's models, and knows when an answer is
// cancelled: what holds the script lets go then, as an engine does.
type cancelled struct{ d *device }

func (c cancelled) Open(ctx context.Context, model string) (engine.Session, error) {
	s, err := c.d.engine.Open(ctx, model)
	return cancelledSession{s, c.d}, err
}

type cancelledSession struct {
	engine.Session
	d *device
}

func (s cancelledSession) Generate(ctx context.Context, r engine.Request, emit func(string) error) (engine.Stats, error) {
	s.d.mu.Lock()
	s.d.ctx = ctx
	s.d.mu.Unlock()
	return s.Session.Generate(ctx, r, emit)
}

func (d *device) startWith(m Models) {
	d.t.Helper()
	d.s = New(d.home, m, Options{})
	d.s.timing = hurried
	if err := d.s.Start(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) stop() {
	if d.s != nil {
		d.s.Close()
		d.s = nil
	}
}

// reopen ends the service and the home and starts both again.
func (d *device) reopen() {
	d.t.Helper()
	d.stop()
	id := d.f.ID()
	if err := d.home.Close(); err != nil {
		d.t.Fatal(err)
	}
	var err error
	if d.home, err = crdt.Open(d.dir, crdt.Options{}); err != nil {
		d.t.Fatal(err)
	}
	if d.f, err = d.home.Folder(id); err != nil {
		d.t.Fatal(err)
	}
	d.start()
}

// send gives o what it lacks of d's entries, and objects.
func (d *device) send(o *device) {
	d.t.Helper()
	d.sent.Send(d.t, d.end(), o.end())
}

func (d *device) end() crdttest.End { return crdttest.End{Home: d.home, Folder: d.f} }

func swap(a, b *device) {
	for range 2 {
		a.send(b)
		b.send(a)
	}
}

// connect passes entries both ways until the function that it returns is called.
func connect(a, b *device) (disconnect func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				swap(a, b)
			}
		}
	})
	return func() { close(stop); wg.Wait(); swap(a, b) }
}

// save writes a file as a program does: the whole, from what it had read.
func (d *device) save(path string, base crdt.Version, text string) crdt.Version {
	d.t.Helper()
	v, err := d.trySave(path, base, text)
	if err != nil {
		d.t.Fatal(err)
	}
	return v
}

func (d *device) trySave(path string, base crdt.Version, text string) (v crdt.Version, err error) {
	info, rerr := d.f.Resolve(path)
	err = d.f.Update(func(tx *crdt.Tx) (err error) {
		if rerr != nil {
			_, v, err = tx.Create(crdt.Root, path, 0o644, crdt.NewContent{Text: text})
			return err
		}
		v, err = tx.Write(info.Node, base, crdt.NewContent{Text: text})
		return err
	})
	return v, err
}

// edit saves what fn makes of the current text.
func (d *device) edit(path string, fn func(string) string) {
	d.t.Helper()
	c := d.read(path)
	d.save(path, c.Version, fn(c.Text))
}

func (d *device) node(path string) crdt.NodeID {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return info.Node
}

func (d *device) read(path string) crdt.Content {
	d.t.Helper()
	c, err := d.f.Content(d.node(path))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (d *device) text(path string) string { d.t.Helper(); return d.read(path).Text }

func (d *device) state(path string) State {
	d.t.Helper()
	attrs, err := d.f.Xattrs(d.node(path))
	if err != nil {
		d.t.Fatal(err)
	}
	return State(attrs[StateAttr])
}

// until waits for a condition.
func (d *device) until(what string, cond func() bool) {
	d.t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("%s: not %s:\n%s", d.name, what, d.dump())
		}
	}
}

func (d *device) untilText(path, part string) {
	d.t.Helper()
	d.until("with "+part, func() bool { return strings.Contains(d.text(path), part) })
}

func (d *device) untilState(path string, s State) {
	d.t.Helper()
	d.until(string(s), func() bool { return d.state(path) == s })
}

func (d *device) dump() string {
	var b strings.Builder
	list, _ := d.f.ReadDir(crdt.Root)
	for _, i := range list {
		if c, err := d.f.Content(i.Node); err == nil {
			attrs, _ := d.f.Xattrs(i.Node)
			b.WriteString("--- " + i.Name + " " + string(attrs[StateAttr]) + "\n" + c.Text)
		}
	}
	return b.String()
}

// quietly makes sure that nothing is asked for a while.
func (d *device) quietly(n int) {
	d.t.Helper()
	time.Sleep(3 * hurried.quiet)
	if got := len(d.engine.Requests()); got != n {
		d.t.Fatalf("%s: %d questions, want %d:\n%s", d.name, got, n, d.dump())
	}
}

// says has the engine answer with pieces, whatever is asked.
func (d *device) says(pieces ...string) {
	d.engine.Answer = func(engine.Request) enginetest.Script { return enginetest.Script{Pieces: pieces} }
}

// held is an engine's answer that a test lets go piece by piece.
type held struct {
	next chan struct{}
	free chan struct{}
	once sync.Once
}

// holds has the engine answer with pieces, each when the test says so.
func (d *device) holds(pieces ...string) *held {
	h := &held{next: make(chan struct{}), free: make(chan struct{})}
	d.t.Cleanup(h.rest)
	d.engine.Answer = func(engine.Request) enginetest.Script {
		d.mu.Lock()
		ctx := d.ctx
		d.mu.Unlock()
		return enginetest.Script{Pieces: pieces, Hold: func(int) {
			select {
			case <-ctx.Done():
			case <-h.next:
			case <-h.free:
			}
		}}
	}
	return h
}

func (h *held) one()  { h.next <- struct{}{} }
func (h *held) rest() { h.once.Do(func() { close(h.free) }) }
