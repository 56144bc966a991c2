package crdt_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// world is devices that act at random, with a network that delivers some of
// what they make, late, twice or in small pieces.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	devices []*actor
	tokens  []string
	taken   map[string]bool // tokens that somebody deleted on purpose
	trace   []string
}

type actor struct {
	*device
	read   map[crdt.NodeID]crdt.Content // what its editor has open, maybe long ago
	backup string                       // a copy of its home
}

func newWorld(t *testing.T, seed uint64, n int) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), taken: map[string]bool{}}
	for i := range n {
		w.devices = append(w.devices, &actor{device: newDevice(t, "d"+strconv.Itoa(i)), read: map[crdt.NodeID]crdt.Content{}})
	}
	first := w.devices[0]
	f, err := first.home.CreateFolder("sim")
	if err != nil {
		t.Fatal(err)
	}
	first.f = f
	for _, d := range w.devices[1:] {
		first.invite(d.device)
	}
	w.settle()
	return w
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// pick returns a random node of a kind; ok is false if there is none.
func (w *world) pick(a *actor, kind crdt.Kind) (crdt.Info, bool) {
	var all []crdt.Info
	var walk func(crdt.NodeID)
	walk = func(dir crdt.NodeID) {
		is, err := a.f.ReadDir(dir)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, i := range is {
			if i.Kind == kind && !i.Alt {
				all = append(all, i)
			}
			if i.Kind == crdt.Dir {
				walk(i.Node)
			}
		}
	}
	walk(crdt.Root)
	if kind == crdt.Dir {
		all = append(all, crdt.Info{Node: crdt.Root, Kind: crdt.Dir})
	}
	if len(all) == 0 {
		return crdt.Info{}, false
	}
	return all[w.rnd.IntN(len(all))], true
}

func (w *world) token() string {
	s := fmt.Sprintf("t%dx", len(w.tokens))
	w.tokens = append(w.tokens, s)
	return s
}

// edit is what a person does to a text: a new line somewhere, or a line gone.
func (w *world) edit(s string) string {
	ls := strings.SplitAfter(s, "\n")
	i := w.rnd.IntN(len(ls))
	if w.rnd.IntN(4) == 0 && len(ls) > 1 {
		w.take(ls[i])
		ls = append(ls[:i:i], ls[i+1:]...)
	}
	i = w.rnd.IntN(len(ls))
	// Lines that share no words: else one replaced by another is an edit inside it.
	tok := w.token()
	line := tok + strings.NewReplacer("#", tok).Replace(" é# 漢# a😀b#\n")
	return strings.Join(ls[:i], "") + line + strings.Join(ls[i:], "")
}

var tokenForm = regexp.MustCompile(`t\d+x`)

// take notes which tokens somebody who saw them deletes.
func (w *world) take(s string) {
	for _, tok := range tokenForm.FindAllString(s, -1) {
		w.taken[tok] = true
	}
}

// step has one device do one thing. Errors that a person could get, such as a
// name that is taken, are no failures.
func (w *world) step() {
	a := w.devices[w.rnd.IntN(len(w.devices))]
	name := "n" + strconv.Itoa(w.rnd.IntN(6))
	dir, _ := w.pick(a, crdt.Dir)
	switch w.rnd.IntN(13) {
	case 0, 1:
		text := ""
		if w.rnd.IntN(3) > 0 {
			text = w.token() + " first\n"
		}
		err := a.f.Update(func(tx *crdt.Tx) error {
			_, _, err := tx.Create(dir.Node, name, 0o644, crdt.NewContent{Text: text})
			return err
		})
		if err != nil && text != "" {
			w.tokens = w.tokens[:len(w.tokens)-1]
		}
		w.say("%s create %s %q: %v", a.home.DeviceName(), name, text, err)
	case 2:
		err := a.f.Update(func(tx *crdt.Tx) error { _, err := tx.Mkdir(dir.Node, name, 0o755); return err })
		w.say("%s mkdir %s: %v", a.home.DeviceName(), name, err)
	case 3:
		if n, ok := w.pick(a, crdt.Dir); ok && n.Node != crdt.Root {
			err := a.f.Update(func(tx *crdt.Tx) error { return tx.Move(n.Node, dir.Node, name) })
			w.say("%s move directory %s to %s: %v", a.home.DeviceName(), n.Name, name, err)
		}
	case 4:
		if n, ok := w.pick(a, crdt.File); ok {
			err := a.f.Update(func(tx *crdt.Tx) error { return tx.Move(n.Node, dir.Node, name) })
			w.say("%s move file %s to %s: %v", a.home.DeviceName(), n.Name, name, err)
		}
	case 5:
		kind := crdt.File
		if w.rnd.IntN(3) == 0 {
			kind = crdt.Dir
		}
		if n, ok := w.pick(a, kind); ok && n.Node != crdt.Root {
			if kind == crdt.File {
				c, err := a.f.Content(n.Node)
				if err != nil {
					w.t.Fatal(err)
				}
				w.take(c.Text)
			}
			err := a.f.Update(func(tx *crdt.Tx) error { return tx.Remove(n.Node) })
			w.say("%s remove %s: %v", a.home.DeviceName(), n.Name, err)
		}
	case 6:
		if n, ok := w.pick(a, crdt.File); ok {
			a.update(func(tx *crdt.Tx) error { return tx.SetMode(n.Node, uint32(0o600+w.rnd.IntN(64))) })
		}
	case 7: // opens a file in an editor
		if n, ok := w.pick(a, crdt.File); ok {
			if c, err := a.f.Content(n.Node); err == nil && c.Object == nil {
				a.read[n.Node] = c
			}
		}
	case 8, 9, 10: // saves a buffer, stale or not
		n, ok := w.pick(a, crdt.File)
		if !ok {
			return
		}
		c, open := a.read[n.Node]
		if !open {
			var err error
			if c, err = a.f.Content(n.Node); err != nil {
				w.t.Fatal(err)
			}
			if c.Object != nil {
				return
			}
		}
		text := w.edit(c.Text)
		a.update(func(tx *crdt.Tx) (err error) {
			c.Version, err = tx.Write(n.Node, c.Version, crdt.NewContent{Text: text})
			return err
		})
		c.Text = text
		a.read[n.Node] = c
		w.say("%s save %s %v", a.home.DeviceName(), n.Name, w.tokens[len(w.tokens)-1])
	case 11:
		if n, ok := w.pick(a, crdt.File); ok && n.Object == nil {
			line := w.token() + " appended\n"
			a.update(func(tx *crdt.Tx) error { _, err := tx.Append(n.Node, []byte(line)); return err })
			w.say("%s append %s", a.home.DeviceName(), n.Name)
		}
	case 12: // the same change on two devices
		for _, d := range w.devices {
			err := d.f.Update(func(tx *crdt.Tx) error {
				_, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Text: "same\n"})
				return err
			})
			w.say("%s create the same %s: %v", d.home.DeviceName(), name, err)
		}
	}
	w.mishap()
}

func (w *world) mishap() {
	a := w.devices[w.rnd.IntN(len(w.devices))]
	switch w.rnd.IntN(30) {
	case 0, 1, 2, 3, 4, 5: // some entries cross, some of them twice
		b := w.devices[w.rnd.IntN(len(w.devices))]
		if a == b {
			return
		}
		after := a.sent[b.device]
		ls, err := a.f.Since(after-min(after, uint64(w.rnd.IntN(3))), 1+w.rnd.IntN(8))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range ls {
			if _, err := b.f.Receive([]*feed.Entry{l.Entry}); err != nil {
				w.t.Fatalf("%v\n%s", err, strings.Join(w.trace, "\n"))
			}
			a.sent[b.device] = max(a.sent[b.device], l.Order)
		}
	case 6:
		a.reopen()
		w.say("%s opened again", a.home.DeviceName())
	case 7: // killed: what the kernel has is there
		a.crash()
		w.say("%s killed", a.home.DeviceName())
	case 8:
		a.backup = a.copyHome("backup")
		w.say("%s backed up", a.home.DeviceName())
	case 9: // an older copy of its home comes back; others have what it lost
		if a.backup == "" {
			return
		}
		for _, b := range w.devices {
			if a != b {
				a.send(b.device)
				b.sent[a.device] = 0
			}
		}
		clear(a.sent)
		clear(a.read)
		id := a.f.ID()
		a.home.Close()
		a.dir, a.backup = a.backup, ""
		a.open(id)
		w.say("%s restored", a.home.DeviceName())
	}
}

// crash goes on with the home as a killed process would have left it.
func (d *device) crash() {
	d.t.Helper()
	id, dir := d.f.ID(), d.copyHome("crashed")
	d.home.Close()
	d.dir = dir
	d.open(id)
}

// copyHome copies the home as it is now, open. A copy is made file by file, so it is of one
// moment only if nothing was written meanwhile: what is pending is synced soon, then it rests.
func (d *device) copyHome(name string) string {
	d.t.Helper()
	var err error
	for range 50 {
		dir := filepath.Join(d.scratch, fmt.Sprintf("%s-%d", name, rand.Uint64()))
		before := d.fingerprint()
		if err = os.CopyFS(dir, os.DirFS(d.dir)); err == nil && d.fingerprint() == before {
			return dir
		}
		// The database may remove a file of its own meanwhile.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.t.Fatal(err)
		}
		os.RemoveAll(dir)
	}
	d.t.Fatalf("%s does not come to rest: %v", d.dir, err)
	return ""
}

// fingerprint tells whether a file of the home was written.
func (d *device) fingerprint() string {
	var b strings.Builder
	filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if fi, err := e.Info(); err == nil {
				fmt.Fprintln(&b, path, fi.Size(), fi.ModTime().UnixNano())
			}
		}
		return nil
	})
	return b.String()
}

// settle lets everything through.
func (w *world) settle() {
	w.t.Helper()
	for range 2 {
		for _, a := range w.devices {
			for _, b := range w.devices {
				if a != b {
					a.send(b.device)
				}
			}
		}
	}
}

// check holds what must be true after everything went through.
func (w *world) check() {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Log(strings.Join(w.trace, "\n"))
		}
	}()
	want := w.devices[0].dump()
	for _, d := range w.devices[1:] {
		if got := d.dump(); got != want {
			w.t.Errorf("%s shows\n%s\nbut %s shows\n%s", w.devices[0].home.DeviceName(), want, d.home.DeviceName(), got)
			return
		}
	}
	for _, d := range w.devices {
		before := d.dump()
		d.reopen()
		if after := d.dump(); after != before {
			w.t.Errorf("%s opened again shows\n%s\nand before\n%s", d.home.DeviceName(), after, before)
		}
	}
	all := w.devices[0].everything()
	for _, tok := range w.tokens {
		if !strings.Contains(all, tok) {
			w.t.Errorf("%s was typed and is nowhere", tok)
		}
		if !w.taken[tok] && !strings.Contains(want, tok) {
			w.t.Errorf("%s is not shown, and nobody deleted it", tok)
		}
	}
}

// everything joins every version of every file that was ever there.
func (d *device) everything() string {
	var b strings.Builder
	for _, n := range d.f.Nodes() {
		log, err := d.f.Log(n)
		if err != nil {
			continue
		}
		for _, r := range log {
			c, err := d.f.ContentAt(n, r.Version)
			if err != nil {
				d.t.Fatal(err)
			}
			b.WriteString(c.Text)
		}
	}
	return b.String()
}

// TestSimulate runs many small worlds. SHEAF_SEEDS says how many, SHEAF_FIRST
// from which seed on.
func TestSimulate(t *testing.T) {
	seeds, first := uint64(20), uint64(1)
	if s, err := strconv.ParseUint(os.Getenv("SHEAF_SEEDS"), 10, 64); err == nil {
		seeds = s
	}
	if s, err := strconv.ParseUint(os.Getenv("SHEAF_FIRST"), 10, 64); err == nil {
		first = s
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := newWorld(t, seed, 3)
			for range 120 {
				w.step()
			}
			w.settle()
			w.check()
		})
	}
}
