package crdt_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
)

func quiet(string) {}

// damaged is what a check of the device's home finds.
func (d *device) damaged() []crdt.Damage {
	d.t.Helper()
	c, err := d.home.Check(context.Background(), quiet)
	if err != nil {
		d.t.Fatal(err)
	}
	return c.Damage
}

// shows is everything that a device shows, with the bytes of objects as they are read.
func (d *device) shows() (string, error) {
	var b strings.Builder
	var walk func(dir crdt.NodeID, path string) error
	walk = func(dir crdt.NodeID, path string) error {
		is, err := d.f.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, i := range is {
			p := path + "/" + i.Name
			fmt.Fprintf(&b, "%s %v %o\n", p, i.Kind, i.Mode)
			if i.Kind == crdt.Dir {
				if err := walk(i.Node, p); err != nil {
					return err
				}
			}
			if i.Kind != crdt.File {
				continue
			}
			c, err := d.f.ContentAt(i.Node, i.Version)
			if err != nil {
				return err
			}
			if c.Object != nil {
				raw, err := os.ReadFile(d.home.Objects().Path(blob.Hash(c.Object.Hash)))
				if err != nil {
					return err
				}
				c.Text = string(raw)
			}
			fmt.Fprintf(&b, "%q\n", c.Text)
		}
		return nil
	}
	err := walk(crdt.Root, "")
	return b.String(), err
}

// written is a pair of devices with some of everything, in step, and what they show.
func written(t *testing.T) (a, b *device, want string) {
	t.Helper()
	a, b = pair(t)
	for i := range 12 {
		a.create("f"+strconv.Itoa(i), strings.Repeat("a line of "+strconv.Itoa(i)+"\n", 1+40*i))
		b.create("g"+strconv.Itoa(i), "of the other\n")
	}
	a.picture("pic", strings.Repeat("bytes", 1000))
	b.picture("other", strings.Repeat("more", 100))
	sync(t, a, b)
	for i := range 12 { // both edit at once
		name := "f" + strconv.Itoa(i)
		ca, cb := a.read(name), b.read(name)
		a.write(name, ca.Version, "first\n"+ca.Text)
		b.write(name, cb.Version, cb.Text+"last\n")
	}
	sync(t, a, b)
	want, err := a.shows()
	if err != nil {
		t.Fatal(err)
	}
	return a, b, want
}

// repair has a closed home repaired and opened again.
func (d *device) repair(id crdt.FolderID) *crdt.Checkup {
	d.t.Helper()
	c, err := crdt.Repair(context.Background(), d.dir, crdt.Options{}, quiet)
	if err != nil {
		d.t.Fatalf("%v; found %+v", err, c)
	}
	d.open(id)
	return c
}

// A healthy home has nothing to find, also while somebody works in it.
func TestCheckHealthy(t *testing.T) {
	a, b, want := written(t)
	a.create("pending", "not in an entry yet\n")
	for _, d := range []*device{a, b} {
		if found := d.damaged(); len(found) > 0 {
			t.Errorf("%s: %+v", d.home.DeviceName(), found)
		}
	}
	if _, err := os.Stat(filepath.Join(a.dir, "check")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the second database stays:", err)
	}
	if got, _ := b.shows(); got != want {
		t.Error("checking changed something")
	}
}

// A damaged object is named by the path it is content of, set aside, and fetched anew.
func TestRepairObject(t *testing.T) {
	a, b, want := written(t)
	id := a.f.ID()
	info := a.node("pic")
	path := a.home.Objects().Path(blob.Hash(info.Object.Hash))
	flip(t, path, 77)
	found := a.damaged()
	if len(found) != 1 || found[0].Path != "pic" || found[0].What != "object" {
		t.Fatalf("found %+v", found)
	}
	a.home.Close()
	if c := a.repair(id); len(c.Damage) != 1 || c.Damage[0].Done == "" {
		t.Errorf("repaired %+v", c.Damage)
	}
	if _, err := a.f.Resolve("pic"); err == nil {
		t.Error("damaged bytes are still shown")
	}
	if kept, _ := filepath.Glob(filepath.Join(a.dir, "damaged", "*", "objects", "*")); len(kept) != 1 {
		t.Errorf("set aside: %v", kept)
	}
	if n := a.f.Status().Notes; len(n) != 1 || n[0].Kind != "damaged" {
		t.Errorf("notes: %+v", n)
	}
	sync(t, a, b)
	if got, err := a.shows(); got != want || err != nil {
		t.Errorf("%v; shows\n%s", err, got)
	}
}

// A key that is off by one character is another device's key, and well formed.
func TestRepairKey(t *testing.T) {
	a, b, want := written(t)
	id, device := a.f.ID(), a.home.Device()
	a.home.Close()
	key := filepath.Join(a.dir, "key")
	raw, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	i := len(raw) - 20
	raw[i] = "0123456789abcdef0"[strings.IndexByte("0123456789abcdef", raw[i])+1]
	if err := os.WriteFile(key, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := crdt.Open(a.dir, crdt.Options{}); !errors.Is(err, crdt.ErrDamaged) {
		t.Fatal(err)
	}
	a.repair(id)
	if a.home.Device() != device {
		t.Error("it is another device")
	}
	sync(t, a, b)
	if got, err := a.shows(); got != want || err != nil {
		t.Errorf("%v; shows\n%s", err, got)
	}
}

func flip(t testing.TB, path string, at int) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 1 << (at % 8)
	os.Remove(path) // objects are read-only
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedByte flips bytes anywhere in copies of a home: what it shows is right, or the damage
// is named; and after a repair the device has everything again that its peer has. SHEAF_FLIPS
// says how many, SHEAF_FIRST with which seed it begins.
func TestFlippedByte(t *testing.T) {
	flips, first := 15, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("SHEAF_FLIPS")); err == nil {
		flips = n
	}
	if n, err := strconv.ParseUint(os.Getenv("SHEAF_FIRST"), 10, 64); err == nil {
		first = n
	}
	a, b, _ := written(t)
	id := a.f.ID()
	a.reopen() // some of it in tables, some in the log
	a.create("late", "in the log\n")
	sync(t, a, b)
	want, err := a.shows()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.home.Close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	filepath.WalkDir(a.dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if fi, err := e.Info(); err == nil && fi.Size() > 0 {
				rel, _ := filepath.Rel(a.dir, p)
				files = append(files, rel)
			}
		}
		return nil
	})
	hopeless := 0
	for seed := first; seed < first+uint64(flips); seed++ {
		rnd := rand.New(rand.NewPCG(seed, 7))
		c := &device{t: t, dir: filepath.Join(a.scratch, fmt.Sprint("flip-", seed)), scratch: a.scratch, sent: map[*device]uint64{}}
		if err := os.CopyFS(c.dir, os.DirFS(a.dir)); err != nil {
			t.Fatal(err)
		}
		file := files[rnd.IntN(len(files))]
		fi, err := os.Stat(filepath.Join(c.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		at := rnd.IntN(int(fi.Size()))
		flip(t, filepath.Join(c.dir, file), at)
		what := fmt.Sprintf("seed %d: %s byte %d of %d", seed, file, at, fi.Size())
		named := ""
		if h, err := crdt.Open(c.dir, crdt.Options{}); errors.Is(err, crdt.ErrDamaged) {
			named = err.Error()
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		} else {
			c.home = h
			if c.f, err = h.Folder(id); err != nil {
				t.Errorf("%s: %v", what, err)
				h.Close()
				continue
			}
			got, err := c.shows()
			found := c.damaged()
			if (got != want || err != nil) && len(found) == 0 {
				t.Errorf("%s: nothing is named; %v; shows\n%s", what, err, got)
			}
			if len(found) > 0 {
				named = fmt.Sprint(found[0].What, " ", found[0].Path, ": ", found[0].Text)
			}
			h.Close()
		}
		_, err = crdt.Repair(context.Background(), c.dir, crdt.Options{}, quiet)
		if err != nil {
			// Only what cannot be opened at all, and then it is named.
			if !errors.Is(err, crdt.ErrDamaged) {
				t.Errorf("%s (%s): repair: %v", what, named, err)
			}
			t.Logf("%s: not repaired: %v", what, err)
			hopeless++
			continue
		}
		c.open(id)
		clear(b.sent)
		sync(t, c, b)
		if got, err := c.shows(); got != want || err != nil {
			t.Errorf("%s (%s): after the repair %v; shows\n%s", what, named, err, got)
		}
		if found := c.damaged(); len(found) > 0 {
			t.Errorf("%s: after the repair there is %+v", what, found)
		}
		c.home.Close()
		os.RemoveAll(c.dir)
	}
	t.Logf("%d of %d could not be repaired", hopeless, flips)
	if hopeless > flips/2 {
		t.Error("that is too many")
	}
}
