package crdt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Damage is one thing in a home that is not what was written.
type Damage struct {
	What   string `json:"what"`             // key, database, object, entry, text or state
	Folder string `json:"folder,omitempty"` // its name
	Path   string `json:"path"`             // in the folder, or on disk
	Text   string `json:"text"`
	Done   string `json:"done,omitempty"` // what Repair did about it; empty: nothing

	object blob.Hash
}

// Checkup is what was looked at, and what was wrong.
type Checkup struct {
	Objects int      `json:"objects"`
	Bytes   int64    `json:"bytes"` // of objects
	Entries int      `json:"entries"`
	Texts   int      `json:"texts"`
	Damage  []Damage `json:"damage"`
}

func (c *Checkup) add(d Damage) { c.Damage = append(c.Damage, d) }

// The directories of a home that a check or a repair makes.
const (
	checkDir   = "check"   // the state, made a second time; only while it runs
	damagedDir = "damaged" // what a repair set aside
)

// sayEvery is how often progress is told.
const sayEvery = time.Second

// Check reads everything in the home and holds it against what it must be: objects against their
// names; entries against their signatures, links and keys; and the state in use (names,
// attributes, versions, texts) against one that is made anew from the entries. It changes
// nothing, needs room for a second database while it runs, and may run while the home is in use;
// say gets its progress, about once a second. An error is why it could not go on; what is
// damaged is in the Checkup.
func (h *Home) Check(ctx context.Context, say func(string)) (*Checkup, error) {
	c := &checking{h: h, Checkup: &Checkup{Damage: []Damage{}}, say: say, said: time.Now()}
	c.database()
	if err := c.objects(ctx); err != nil {
		return c.Checkup, err
	}
	dir := filepath.Join(h.dir, checkDir)
	if err := os.RemoveAll(dir); err != nil {
		return c.Checkup, fail("check", dir, kindOf(err), err)
	}
	twin, err := h.beside(dir)
	if err != nil {
		return c.Checkup, err
	}
	for _, f := range h.sortedFolders() {
		if err = c.folder(ctx, f, twin); err != nil {
			break
		}
	}
	if cerr := errors.Join(twin.closeBeside(), os.RemoveAll(dir)); err == nil && cerr != nil {
		err = storage("check", dir, cerr)
	}
	return c.Checkup, err
}

// checking is one run of Check.
type checking struct {
	*Checkup
	h    *Home
	say  func(string)
	said time.Time
}

func (c *checking) progress() {
	if time.Since(c.said) < sayEvery {
		return
	}
	c.said = time.Now()
	c.say(fmt.Sprintf("checked so far: %d objects (%d MiB), %d entries, %d texts; damaged: %d",
		c.Objects, c.Bytes>>20, c.Entries, c.Texts, len(c.Damage)))
}

// database reads every key: whatever of the database does not read is found here.
func (c *checking) database() {
	if err := c.h.db.Scan(nil, func(_, _ []byte) error { return nil }); err != nil {
		c.add(Damage{What: "database", Path: filepath.Join(c.h.dir, "db"), Text: err.Error()})
	}
}

func (c *checking) objects(ctx context.Context) error {
	bad := map[Hash]int{}
	err := c.h.objects.All(func(h blob.Hash, path string, ok bool) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !ok {
			c.add(Damage{What: "object", Path: path, Text: "not a name that an object can have"})
			return nil
		}
		size, _ := c.h.objects.Size(h)
		c.Objects, c.Bytes = c.Objects+1, c.Bytes+size
		c.progress()
		err := c.h.objects.Verify(h)
		switch {
		case errors.Is(err, blob.ErrNotHere): // it expired meanwhile
		case err != nil:
			bad[Hash(h)] = len(c.Damage)
			c.add(Damage{What: "object", Path: path, Text: err.Error(), object: h})
		}
		return nil
	})
	if err != nil {
		return storage("check", filepath.Join(c.h.dir, "objects"), err)
	}
	for _, f := range c.h.sortedFolders() {
		f.mu.RLock()
		for _, id := range f.tree.FilesEver() {
			n := f.tree.Get(id)
			for _, e := range f.tree.History(id) {
				if e.Object == nil {
					continue
				}
				if i, ok := bad[e.Object.Hash]; ok && c.Damage[i].Folder == "" {
					d := &c.Damage[i]
					d.Folder, d.Path, d.Text = f.grant.Name, f.tree.LastPath(id), "a version of it has been damaged: "+d.Text
				}
				if n.Visible && n.Version.Has(e.ID) && e.Ready && !c.h.objects.Has(blob.Hash(e.Object.Hash)) {
					c.add(Damage{What: "object", Folder: f.grant.Name, Path: f.tree.LastPath(id),
						Text: "the file of its content is gone: " + c.h.objects.Path(blob.Hash(e.Object.Hash)), object: blob.Hash(e.Object.Hash)})
				}
			}
		}
		f.mu.RUnlock()
	}
	return nil
}

// maxNamed is how many entries or paths of one folder are named one by one.
const maxNamed = 20

// folder makes the folder's state a second time and compares.
func (c *checking) folder(ctx context.Context, f *Folder, twin *Home) error {
	g, err := twin.JoinFolder(f.grant)
	if err != nil {
		return err
	}
	named := 0
	name := func(d Damage) {
		if named++; named <= maxNamed {
			c.add(d)
		}
	}
	r := &replaying{from: f.home.db, to: g,
		bad: func(_ uint64, h feed.Head, err error) {
			name(Damage{What: "entry", Folder: f.grant.Name, Path: fmt.Sprintf("%s#%d", h.Feed, h.Seq), Text: err.Error()})
		},
		step: func(n int) { c.Entries += n; c.progress() },
	}
	// People go on working: what they did meanwhile is taken in too, the last of it while they wait.
	var last uint64
	for range 2 {
		to := f.Last()
		if r.index, err = f.indexed(f.home.db); err != nil {
			c.add(Damage{What: "database", Folder: f.grant.Name, Path: filepath.Join(c.h.dir, "db"), Text: err.Error()})
			return nil
		}
		if err := r.run(ctx, last, to); err != nil {
			return err
		}
		last = to
	}
	different, err := c.compareTrees(ctx, f, r, last)
	if err != nil {
		return err
	}
	for _, path := range different {
		name(Damage{What: "state", Folder: f.grant.Name, Path: path, Text: "it is not what the entries make of it"})
	}
	if err := c.compareTexts(ctx, f, g, name); err != nil {
		return err
	}
	if named > maxNamed {
		c.add(Damage{What: "state", Folder: f.grant.Name, Text: fmt.Sprintf("and %d more", named-maxNamed)})
	}
	return nil
}

// compareTrees returns the paths of the nodes that differ.
func (c *checking) compareTrees(ctx context.Context, f *Folder, r *replaying, last uint64) (paths []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sealLocked(); err != nil {
		return nil, err
	}
	if f.order > last {
		if r.index, err = f.indexed(f.home.db); err != nil {
			return nil, storage("check", f.grant.Name, err)
		}
		if err := r.run(ctx, last, f.order); err != nil {
			return nil, err
		}
	}
	r.to.mu.RLock()
	defer r.to.mu.RUnlock()
	if f.tree.Digest() == r.to.tree.Digest() {
		return nil, nil
	}
	want := map[NodeID]feed.Hash{}
	r.to.tree.Digests(func(id NodeID, d feed.Hash) { want[id] = d })
	f.tree.Digests(func(id NodeID, d feed.Hash) {
		if want[id] != d {
			paths = append(paths, pathOr(f.tree, id))
		}
		delete(want, id)
	})
	for id := range want {
		paths = append(paths, pathOr(r.to.tree, id))
	}
	return paths, nil
}

func pathOr(t *tree.Tree, id NodeID) string {
	if p := t.LastPath(id); p != "" {
		return p
	}
	return id.String()
}

// compareTexts compares every text that is shown. A version never changes, so nobody has to wait.
func (c *checking) compareTexts(ctx context.Context, f, g *Folder, name func(Damage)) error {
	f.mu.RLock()
	files := f.tree.FilesEver()
	f.mu.RUnlock()
	for _, id := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.mu.RLock()
		n, ok := f.shown(id)
		f.mu.RUnlock()
		if !ok || n.Object != nil || len(n.Version) == 0 || !g.knows(id, n.Version) {
			continue // another one is named already, or came meanwhile
		}
		c.Texts++
		c.progress()
		have, err := f.ContentAt(id, n.Version)
		if err != nil {
			name(Damage{What: "text", Folder: f.grant.Name, Path: f.Path(id), Text: err.Error()})
			continue
		}
		want, err := g.ContentAt(id, n.Version)
		if err != nil {
			return err
		}
		if have.Text != want.Text {
			name(Damage{What: "text", Folder: f.grant.Name, Path: f.Path(id), Text: "it is not what its changes make of it"})
		}
	}
	return nil
}

// knows reports whether all events of a version are here.
func (f *Folder) knows(node NodeID, v Version) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, id := range v {
		if _, ok := f.tree.Event(node, id); !ok {
			return false
		}
	}
	return true
}
