package crdt_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// world is devices that act at random, with a network that delivers some of what they make,
// late, twice or in small pieces, and not between those that are apart.
type world struct {
	testing.TB // its failures are panics of type failure
	scratch    string
	devices    []*actor
	mallory    *hostile
	stale      *made      // the checkpoint made last
	rnd        *rand.Rand // of the action at work
	parts      uint64     // which devices hear of each other
	trace      []string

	tokens []string
	taken  map[string]bool // somebody who saw it took it away
	unsure map[string]bool // typed, but not durable when power was lost
	erased map[string]bool // its line was deleted for good
	back   map[string]bool // it may be shown all the same: somebody brought it back, say
}

// failure is what is wrong with a world.
type failure string

func (w *world) Helper()                      {}
func (w *world) Fatal(args ...any)            { panic(failure(fmt.Sprint(args...))) }
func (w *world) Fatalf(s string, args ...any) { panic(failure(fmt.Sprintf(s, args...))) }
func (w *world) Error(args ...any)            { w.Fatal(args...) }
func (w *world) Errorf(s string, args ...any) { w.Fatalf(s, args...) }

// actor is a device and the person at it.
type actor struct {
	*device
	disk    *disk
	view    *view
	read    map[crdt.NodeID]crdt.Content // what its editor has open, maybe long ago
	backup  *backup
	typed   []string // tokens, since the home was synced
	objects []string // hashes, since then
	erased  []string // tokens whose lines were deleted, since then
	first   *firstView
}

// backup is a copy of a home.
type backup struct {
	dir  string
	disk *disk
}

func newWorld(t testing.TB, n int) *world {
	scratch, err := os.MkdirTemp("/dev/shm", "sheaf-")
	if err != nil {
		scratch = t.TempDir()
	}
	w := &world{
		TB: t, scratch: scratch, rnd: rand.New(rand.NewPCG(1, 1)),
		taken: map[string]bool{}, unsure: map[string]bool{}, erased: map[string]bool{}, back: map[string]bool{},
	}
	for range n {
		w.add()
	}
	first := w.devices[0]
	if first.f, err = first.home.CreateFolder("sim"); err != nil {
		w.Fatal(err)
	}
	w.mallory = newHostile(w, first)
	for _, a := range w.devices[1:] {
		first.invite(a.device)
	}
	for _, a := range w.devices {
		a.watch()
	}
	w.settle()
	return w
}

// add makes a home that has no folder yet.
func (w *world) add() *actor {
	name := fmt.Sprintf("d%d", len(w.devices))
	dir := filepath.Join(w.scratch, name)
	disk, err := emptyDisk(dir)
	if err != nil {
		w.Fatal(err)
	}
	o := crdt.Options{DeviceName: name}.On(disk)
	home, err := crdt.Init(dir, o)
	if err != nil {
		w.Fatal(err)
	}
	a := &actor{
		device: &device{t: w, dir: dir, scratch: w.scratch, home: home, options: o, sent: map[*device]uint64{}},
		disk:   disk, read: map[crdt.NodeID]crdt.Content{},
	}
	w.devices = append(w.devices, a)
	return a
}

func (w *world) close() {
	for _, a := range w.devices {
		if a.home != nil {
			a.home.Close()
		}
	}
	os.RemoveAll(w.scratch)
}

func (a *actor) name() string { return filepath.Base(a.dir) }

func (a *actor) watch() {
	v, err := newView(a.f)
	if err != nil {
		a.t.Fatal(err)
	}
	a.view = v
}

func (w *world) say(a *actor, format string, args ...any) {
	w.trace = append(w.trace, a.name()+" "+fmt.Sprintf(format, args...))
}

// told says what came of an action. Errors that a person could get, such as a name that is
// taken, are no failures; errors that nobody should get are.
func (w *world) told(a *actor, err error, format string, args ...any) {
	w.say(a, format+": %v", append(args, err)...)
	if errors.Is(err, crdt.ErrDamaged) || errors.Is(err, crdt.ErrClosed) || errors.Is(err, crdt.ErrEntry) {
		w.Fatal(err)
	}
}

// synced notes that all that a device has is durable.
func (w *world) synced(a *actor) {
	for _, tok := range a.erased {
		w.erased[tok] = true
	}
	a.typed, a.objects, a.erased = nil, nil, nil
}

// apart says whether two devices do not hear of each other now.
func (w *world) apart(a, b *actor) bool {
	return w.parts>>slices.Index(w.devices, a)&1 != w.parts>>slices.Index(w.devices, b)&1
}

// pass gives b up to n entries of a, some of them again, and the objects that it can. It
// says whether there are more.
func (w *world) pass(a, b *actor, n int) bool {
	after := a.sent[b.device]
	ls, err := a.f.Since(after-min(after, uint64(w.rnd.IntN(3))), n+2)
	if err != nil {
		w.Fatal(err)
	}
	if len(ls) > 0 {
		w.synced(a)
	}
	for chunk := range slices.Chunk(ls, 1+w.rnd.IntN(4)) {
		es := make([]*feed.Entry, len(chunk))
		for i, l := range chunk {
			es[i] = l.Entry
		}
		if _, err := b.f.Receive(es); err != nil {
			w.Fatalf("%s gives entries to %s: %v", a.name(), b.name(), err)
		}
		w.confirmed(b)
		a.sent[b.device] = max(a.sent[b.device], chunk[len(chunk)-1].Order)
	}
	w.passObjects(a, b)
	return a.sent[b.device] < a.f.Last()
}

func (w *world) passObjects(a, b *actor) {
	for _, o := range b.f.Wanted() {
		if !a.home.Objects().Has(blob.Hash(o.Hash)) {
			continue
		}
		b.keep(a.objectBytes(o.Hash))
		b.f.ObjectArrived(o.Hash)
	}
}

// keep puts an object into the home's store.
func (a *actor) keep(bytes string) *crdt.Object {
	h, n, err := a.home.Objects().Put(strings.NewReader(bytes))
	if err != nil {
		a.t.Fatal(err)
	}
	a.objects = append(a.objects, h.String())
	return &crdt.Object{Hash: crdt.Hash(h), Size: n}
}

func (d *device) objectBytes(h crdt.Hash) string {
	r, err := d.home.Objects().Open(blob.Hash(h))
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Close()
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		d.t.Fatal(err)
	}
	return b.String()
}

// settle lets everything through to everyone.
func (w *world) settle() {
	w.parts = 0
	for range 2 {
		for _, a := range w.devices {
			for _, b := range w.devices {
				for a != b && w.pass(a, b, 100) {
				}
			}
		}
	}
}

// again opens the home from what is on its disk now.
func (w *world) again(a *actor, d *disk) {
	id := a.f.ID()
	a.view.cancel()
	a.home.Close()
	a.start(id, d)
}

func (a *actor) start(id crdt.FolderID, d *disk) {
	a.first = nil
	a.disk = d
	a.options = a.options.On(d)
	a.device.home = nil
	a.open(id)
	a.watch()
}

// reopen closes the home in order and opens it again: it must show the same.
func (w *world) reopen(a *actor) {
	if err := a.view.check(); err != nil {
		w.Fatalf("%s: %v", a.name(), err)
	}
	before, first := w.shows(a)
	id := a.f.ID()
	a.view.cancel()
	if err := a.home.Close(); err != nil {
		w.Fatal(err)
	}
	w.synced(a)
	a.start(id, a.disk)
	if after := a.dump(); after != before && !first {
		w.Fatalf("%s opened again shows\n%s\nand before\n%s", a.name(), after, before)
	}
}

// shows is what a device shows, unless that ends with its process.
func (w *world) shows(a *actor) (all string, first bool) {
	if a.f.Unconfirmed() {
		return "", true
	}
	return a.dump(), false
}

// update has a device run the next sheaf from now on.
func (w *world) update(a *actor) {
	if a.home.IsNewer() {
		return
	}
	w.say(a, "is updated")
	a.options = a.options.Newer()
	id := a.f.ID()
	a.view.cancel()
	if err := a.home.Close(); err != nil {
		w.Fatal(err)
	}
	w.synced(a)
	a.start(id, a.disk)
}

// agree holds that devices that hold the same, and can read the same of it, show the same.
func (w *world) agree() {
	var by [2]*actor
	for _, a := range w.devices {
		i := 0
		if a.home.IsNewer() {
			i = 1
		}
		if by[i] == nil {
			by[i] = a
		} else if got, want := a.dump(), by[i].dump(); got != want {
			w.Fatalf("before all are updated, %s shows\n%s\nbut %s shows\n%s", by[i].name(), want, a.name(), got)
		} else if x, y := by[i].digest(), a.digest(); x != y {
			w.Fatalf("before all are updated, %s and %s have the digests %v and %v", by[i].name(), a.name(), x, y)
		}
	}
}

// kill goes on with the home as a killed process would have left it.
func (w *world) kill(a *actor) {
	before, first := w.shows(a)
	w.again(a, a.disk.killed())
	if after := a.dump(); after != before && !first {
		w.Fatalf("%s killed shows\n%s\nand before\n%s", a.name(), after, before)
	}
}

// losePower has power lost at some write of what do does, and goes on with what that left.
// What do got from the home has not left the device.
func (w *world) losePower(a *actor, do func()) {
	typed, objects := a.typed, a.objects
	mayReturn := a.erased
	cfg := vfs.CrashCloneCfg{
		UnsyncedDataPercent: []int{0, 50, 100}[w.rnd.IntN(3)],
		RNG:                 rand.New(rand.NewPCG(w.rnd.Uint64(), 0)),
	}
	before := len(w.tokens)
	a.disk.arm(1+w.rnd.IntN(16), cfg)
	do()
	left := a.disk.lost()
	for _, tok := range slices.Concat(typed, w.tokens[before:]) {
		w.unsure[tok] = true
	}
	w.mayReturn(append(mayReturn, a.erased...)...)
	id := a.f.ID()
	a.view.cancel()
	a.home.Close()
	loseObjects(a.dir, slices.Concat(objects, a.objects), w.rnd)
	a.typed, a.objects, a.erased = nil, nil, nil
	clear(a.read)
	a.start(id, left)
	w.reset(a)
}

// reset has everyone who talks to a device find out anew what it has.
func (w *world) reset(a *actor) {
	clear(a.sent)
	for _, b := range w.devices {
		b.sent[a.device] = 0
	}
}

func (w *world) backUp(a *actor) {
	dir := filepath.Join(w.scratch, fmt.Sprintf("backup-%d", w.rnd.Uint64()))
	if err := os.CopyFS(dir, os.DirFS(a.dir)); err != nil {
		w.Fatal(err)
	}
	a.backup = &backup{dir, a.disk.killed()}
}

// restore has an older copy of the home come back. b has what it lost, for good.
func (w *world) restore(a, b *actor) {
	for w.pass(a, b, 100) {
	}
	if err := b.f.Sync(); err != nil {
		w.Fatal(err)
	}
	w.synced(b)
	id := a.f.ID()
	a.view.cancel()
	a.home.Close()
	if err := errors.Join(os.RemoveAll(a.dir), os.Rename(a.backup.dir, a.dir)); err != nil {
		w.Fatal(err)
	}
	w.synced(a)
	clear(a.read)
	a.start(id, a.backup.disk)
	a.backup = nil
	w.reset(a)
}

// list describes all that a device shows, the root first.
func (w *world) list(a *actor, kinds ...crdt.Kind) []crdt.Info {
	var all []crdt.Info
	if slices.Contains(kinds, crdt.Dir) {
		all = append(all, crdt.Info{Node: crdt.Root, Kind: crdt.Dir})
	}
	var walk func(crdt.NodeID)
	walk = func(dir crdt.NodeID) {
		is, err := a.f.ReadDir(dir)
		if err != nil {
			w.Fatal(err)
		}
		for _, i := range is {
			if slices.Contains(kinds, i.Kind) {
				all = append(all, i)
			}
			if i.Kind == crdt.Dir {
				walk(i.Node)
			}
		}
	}
	walk(crdt.Root)
	return all
}

// showing returns the bytes of all that a device shows.
func (w *world) showing(a *actor) string {
	var b strings.Builder
	for _, i := range w.list(a, crdt.File) {
		b.WriteString(w.bytes(a, i.Node, i.Version))
	}
	return b.String()
}

func (w *world) bytes(a *actor, n crdt.NodeID, v crdt.Version) string {
	c, err := a.f.ContentAt(n, v)
	if errors.Is(err, crdt.ErrComing) {
		return ""
	}
	if err != nil {
		w.Fatal(err)
	}
	if c.Object == nil {
		return c.Text
	} else if a.home.Objects().Has(blob.Hash(c.Object.Hash)) {
		return a.objectBytes(c.Object.Hash)
	}
	return ""
}

// check holds what must be true once everything went through.
func (w *world) check() {
	want := w.devices[0].dump()
	for _, a := range w.devices {
		if a.f.Unconfirmed() {
			w.Fatalf("%s has everything, and its first view does not end", a.name())
		}
		if got := a.dump(); got != want {
			w.Fatalf("%s shows\n%s\nbut %s shows\n%s", w.devices[0].name(), want, a.name(), got)
		}
		if first, sum := w.devices[0].digest().Sum, a.digest().Sum; first != sum {
			w.Fatalf("they show the same, and have the digests %v and %v", first, sum)
		}
		w.reopen(a)
	}
	for _, a := range w.devices {
		w.synced(a)
	}
	last := w.devices[len(w.devices)-1]
	showing, ever := w.showing(last), w.everything(last)
	for _, tok := range w.tokens {
		switch {
		case w.unsure[tok]:
		case !strings.Contains(ever, tok):
			w.Fatalf("%s was typed and is nowhere", tok)
		case !w.taken[tok] && !strings.Contains(showing, tok):
			w.Fatalf("%s is not shown, and nobody took it away:\n%s", tok, want)
		}
	}
	for _, tok := range slices.Sorted(maps.Keys(w.erased)) {
		if !w.back[tok] && strings.Contains(showing, tok) {
			w.Fatalf("%s was deleted, nobody brought it back, and it is shown:\n%s", tok, want)
		}
	}
}

// everything joins every version of every file that was ever there.
func (w *world) everything(a *actor) string {
	var b strings.Builder
	for _, n := range a.f.Nodes() {
		log, err := a.f.Log(n)
		if err != nil && !errors.Is(err, crdt.ErrNotExist) { // it was removed, and never had content
			w.Fatal(err)
		}
		for _, r := range log {
			b.WriteString(w.bytes(a, n, r.Version))
		}
	}
	return b.String()
}

// empty has one device remove all that there is. It stays so, whatever comes again.
func (w *world) empty() {
	a := w.devices[w.rnd.IntN(len(w.devices))]
	for range 200 {
		all := w.list(a, crdt.File, crdt.Dir, crdt.Symlink)
		if len(all) == 1 {
			break
		}
		for _, i := range slices.Backward(all[1:]) {
			a.update(func(tx *crdt.Tx) error {
				remove := func() error { return tx.Remove(i.Node) }
				if i.Alt {
					remove = func() error { return tx.Resolve(i.Node, i.Version) }
				}
				// What stood in it, or beside it, may have changed since it was listed.
				if err := remove(); !errors.Is(err, crdt.ErrNotEmpty) && !errors.Is(err, crdt.ErrNotExist) {
					return err
				}
				return nil
			})
		}
	}
	for _, b := range w.devices {
		clear(b.sent)
	}
	w.settle()
	for _, b := range w.devices {
		if got := b.dump(); got != "" {
			w.Fatalf("%s removed everything, and %s shows\n%s", a.name(), b.name(), got)
		}
		w.reopen(b)
	}
}
