package crdt

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
)

// Repair checks the home in dir as Check does and mends what it can. Nothing is deleted: what was
// damaged is moved to the directory "damaged" of the home. A damaged object is not here any more,
// so it is fetched from other devices once they are connected; a database that lost its end is
// opened with what is left; one whose entries or state are damaged is made anew from the entries
// that are whole, and the others are fetched. In all these cases the device goes on in a new run
// of its feeds. It fails with ErrInUse, and with ErrDamaged where nothing could be done.
func Repair(ctx context.Context, dir string, o Options, say func(string)) (*Checkup, error) {
	lock, err := lockDir(dir)
	if errors.Is(err, ErrNotExist) {
		return nil, noHome(dir)
	} else if err != nil {
		return nil, err
	}
	r := &repairing{dir: dir, aside: filepath.Join(dir, damagedDir, time.Now().Format("20060102-150405")),
		Checkup: &Checkup{Damage: []Damage{}}, say: say}
	r.h = &Home{dir: dir, lock: lock, log: o.Logger, speaks: cmp.Or(o.speaks, &today), folders: map[FolderID]*Folder{}}
	if r.h.log == nil {
		r.h.log = slog.New(slog.DiscardHandler)
	}
	err = r.run(ctx)
	if err = errors.Join(err, lock.Close()); err != nil || len(r.Damage) == 0 {
		return r.Checkup, err
	}
	return r.Checkup, r.tell()
}

// repairing is one run of Repair.
type repairing struct {
	*Checkup
	h     *Home
	dir   string
	aside string // where what was damaged goes
	say   func(string)
}

func (r *repairing) run(ctx context.Context) error {
	h, path := r.h, filepath.Join(r.dir, "db")
	var err error
	if h.objects, err = blob.Open(r.dir); err != nil {
		return storage("repair", r.dir, err)
	}
	if err := r.openDatabase(path); err != nil {
		return err
	}
	defer func() {
		if h.db != nil {
			h.db.Close()
		}
	}()
	if err := r.readKey(); err != nil {
		return err
	}
	remake, loaded := false, false
	switch err := h.loadAs(true); {
	case errors.Is(err, ErrNoSpace), errors.Is(err, ErrNewer):
		return err
	case err != nil:
		r.add(Damage{What: "database", Path: path, Text: err.Error()})
		remake = true
	default:
		loaded = len(r.Damage) == 0 // else it has holes, and knows no more than its entries
		h.flush = startFlusher(h)
		c, err := h.Check(ctx, r.say)
		for i := range c.Damage {
			remake = remake || c.Damage[i].What != "object"
		}
		r.Objects, r.Bytes, r.Entries, r.Texts = c.Objects, c.Bytes, c.Entries, c.Texts
		r.Damage = append(r.Damage, c.Damage...)
		h.flush.stop()
		for _, f := range h.folders {
			err = errors.Join(err, f.seal())
			f.stop()
		}
		if err != nil && !remake {
			return err
		}
	}
	if err := r.objectsAside(); err != nil {
		return err
	}
	if remake {
		return r.remake(ctx, loaded)
	}
	return nil
}

// openDatabase opens what there is of the database, or begins a new one where nothing can be
// opened. Before anything is dropped the whole of it is set aside.
func (r *repairing) openDatabase(path string) error {
	kept, spareErr := readSpare(r.dir)
	if spareErr != nil {
		r.add(Damage{What: "database", Path: filepath.Join(r.dir, spareFile), Text: spareErr.Error(), Done: "it is written anew"})
	}
	var err error
	r.h.db, err = kv.Open(path, kv.Options{Logger: r.h.log, MustExist: true})
	if errors.Is(err, kv.ErrDamaged) {
		d := Damage{What: "database", Path: path, Text: err.Error()}
		to := filepath.Join(r.aside, "db")
		if err := r.copyAside(path, to); err != nil {
			return err
		}
		d.Done = "opened with what is left of it, the rest comes from other devices as far as they have it; as it was it is in " + to
		r.h.db, err = kv.Open(path, kv.Options{Logger: r.h.log, MustExist: true, AcceptLoss: true})
		if errors.Is(err, kv.ErrDamaged) && len(kept.Pairs) > 0 {
			d.Done = "begun anew with the folders that were in it, the rest comes from other devices as far as they have it; as it was it is in " + to
			if err := os.RemoveAll(path); err != nil { // there is a copy
				return fail("repair", path, kindOf(err), err)
			}
			r.h.db, err = kv.Open(path, kv.Options{Logger: r.h.log})
		}
		if err != nil {
			r.add(Damage{What: d.What, Path: d.Path, Text: d.Text})
			return storage("repair", path, err)
		}
		r.add(d)
	} else if err != nil {
		return storage("repair", path, err)
	}
	if n, err := kept.restore(r.h.db); err != nil {
		r.h.log.Warn("repair: the list of folders", "err", err) // reading the database tells more
	} else if n > 0 && len(r.Damage) == 0 {
		r.add(Damage{What: "database", Path: path, Text: "folders or settings were missing in it", Done: "put back from " + spareFile})
	}
	return nil
}

// copyAside copies a directory to where what was damaged goes.
func (r *repairing) copyAside(path, to string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fail("repair", to, kindOf(err), err)
	}
	if err := os.CopyFS(to, os.DirFS(path)); err != nil {
		return fail("repair", to, kindOf(err), err)
	}
	return nil
}

// readKey reads the key, and finds it where one character of it is wrong: the database knows
// which device it is of.
func (r *repairing) readKey() error {
	path := filepath.Join(r.dir, keyFile)
	want, known, err := r.h.db.Get([]byte(deviceKey))
	if err != nil {
		return storage("repair", r.dir, err)
	}
	key, err := readKey(path)
	if err == nil && (!known || string(want) == string(key.Public().(ed25519.PublicKey))) {
		r.h.key, r.h.device = key, feed.DeviceOf(key)
		return nil
	}
	d := Damage{What: "key", Path: path, Text: "it is not this device's key"}
	raw, rerr := os.ReadFile(path)
	if key = nearKey(raw, want); rerr != nil || key == nil {
		r.add(d)
		return &Error{Op: "repair", Path: path, Kind: ErrDamaged, Err: errors.Join(err, rerr),
			Hint: "restore the key file from a backup, or join again with a new --home"}
	}
	if err := os.MkdirAll(r.aside, 0o700); err != nil {
		return fail("repair", r.aside, kindOf(err), err)
	}
	if err := os.Rename(path, filepath.Join(r.aside, keyFile)); err != nil {
		return fail("repair", path, kindOf(err), err)
	}
	if err := writeKey(path, key.Seed()); err != nil {
		return fail("repair", path, kindOf(err), err)
	}
	d.Done = "one character was wrong; it is right again"
	r.add(d)
	r.h.key, r.h.device = key, feed.DeviceOf(key)
	return nil
}

// nearKey returns the key of a device that differs from a key file's in one byte; nil if none does.
func nearKey(file, device []byte) ed25519.PrivateKey {
	if len(file) < len(keyPrefix)+2*ed25519.SeedSize {
		return nil
	}
	text := slices.Clone(file[len(keyPrefix):][:2*ed25519.SeedSize])
	for i, was := range text {
		for _, c := range []byte("0123456789abcdef") {
			text[i] = c
			seed := make([]byte, ed25519.SeedSize)
			if _, err := hex.Decode(seed, text); err != nil {
				continue
			}
			if k := ed25519.NewKeyFromSeed(seed); string(k.Public().(ed25519.PublicKey)) == string(device) {
				return k
			}
		}
		text[i] = was
	}
	return nil
}

// objectsAside takes damaged objects out of the store. What is not here is fetched.
func (r *repairing) objectsAside() error {
	for i := range r.Damage {
		d := &r.Damage[i]
		if d.What != "object" || d.object == (blob.Hash{}) {
			continue
		}
		if !r.h.objects.Has(d.object) {
			d.Done = "it is fetched from other devices, if one has it"
			continue
		}
		to, err := r.h.objects.SetAside(d.object, filepath.Join(r.aside, "objects"))
		if err != nil {
			return storage("repair", r.dir, err)
		}
		d.Done = "set aside as " + to + "; it is fetched from other devices, if one has it"
	}
	return nil
}

const (
	remakeDir   = "db.remade"   // beside the database, until it is whole
	ackSettings = "l/peer/ack/" // what other devices are known to hold, by this device's order
)

// remake makes the database anew from the entries that are whole and puts it in the place of the
// damaged one. Where the damaged one shows more than what could be made, and no other device
// has the rest, it stays.
func (r *repairing) remake(ctx context.Context, loaded bool) error {
	dir := filepath.Join(r.dir, remakeDir)
	if err := os.RemoveAll(dir); err != nil {
		return fail("repair", dir, kindOf(err), err)
	}
	twin, err := r.h.beside(dir)
	if err != nil {
		return err
	}
	keep, err := r.fill(ctx, twin, loaded)
	if err = errors.Join(err, twin.closeBeside()); err != nil || keep {
		return errors.Join(err, os.RemoveAll(dir))
	}
	err = r.h.db.Close()
	r.h.db = nil
	if err != nil {
		r.h.log.Warn("closing a damaged database", "err", err)
	}
	old, to := filepath.Join(r.dir, "db"), filepath.Join(r.aside, "db.second")
	if err := os.MkdirAll(r.aside, 0o700); err != nil {
		return fail("repair", r.aside, kindOf(err), err)
	}
	if err := os.Rename(old, to); err != nil {
		return fail("repair", old, kindOf(err), err)
	}
	if err := errors.Join(os.Rename(dir, old), syncDir(r.dir), syncDir(r.aside)); err != nil {
		return fail("repair", old, kindOf(err), err)
	}
	for i := range r.Damage {
		if d := &r.Damage[i]; d.Done == "" && d.What != "object" {
			d.Done = "the database was made anew from its entries; the old one is in " + to
			if d.What == "entry" {
				d.Done += "; this entry comes from other devices, if one has it"
			}
		}
	}
	return nil
}

// fill fills a new database from the damaged one; keep says that the damaged one is to stay.
func (r *repairing) fill(ctx context.Context, twin *Home, loaded bool) (keep bool, err error) {
	from := r.h.db
	for _, p := range sparePrefixes {
		err := copyKeys(from, twin.db, []byte(p), func(k []byte) bool { return !strings.HasPrefix(string(k), ackSettings) })
		if err != nil && p == grantPrefix {
			return false, &Error{Op: "repair", Path: r.dir, Kind: ErrDamaged, Err: fmt.Errorf("the folders' keys cannot be read: %w", err),
				Hint: "join again with a new --home"}
		} else if err != nil {
			r.add(Damage{What: "database", Path: filepath.Join(r.dir, "db"), Text: "a local setting: " + err.Error()})
		}
	}
	b := twin.db.Batch()
	b.Set([]byte(rulesKey), be64(twin.speaks.rules)) // an older sheaf must not open what is made by these
	if err := twin.db.Commit(b); err != nil {
		return false, storage("repair", r.dir, err)
	}
	var grants []Grant
	err = from.Scan([]byte(grantPrefix), func(_, v []byte) error {
		g, err := DecodeGrant(v)
		grants = append(grants, g)
		return err
	})
	if err != nil {
		return false, &Error{Op: "repair", Path: r.dir, Kind: ErrDamaged, Err: fmt.Errorf("a folder's key is damaged: %w", err),
			Hint: "join again with a new --home"}
	}
	for _, g := range grants {
		stay, err := r.fillFolder(ctx, twin, g, loaded)
		if err != nil || stay {
			return stay, err
		}
	}
	return false, nil
}

func (r *repairing) fillFolder(ctx context.Context, twin *Home, g Grant, loaded bool) (keep bool, err error) {
	from, old := r.h.db, &Folder{id: g.Folder, grant: g}
	for _, kind := range []byte("axkns") {
		if err := copyKeys(from, twin.db, old.key(kind), func([]byte) bool { return true }); err != nil {
			r.add(Damage{What: "database", Folder: g.Name, Path: filepath.Join(r.dir, "db"), Text: "local notes: " + err.Error()})
		}
	}
	f, err := twin.JoinFolder(g)
	if err != nil {
		return false, err
	}
	lost := 0
	named := map[string]bool{}
	for _, d := range r.Damage {
		named[d.Path] = true
	}
	run := &replaying{from: from, to: f, step: func(int) {},
		bad: func(_ uint64, h feed.Head, err error) {
			lost++
			if path := fmt.Sprintf("%s#%d", h.Feed, h.Seq); lost <= maxNamed && !named[path] {
				r.add(Damage{What: "entry", Folder: g.Name, Path: path, Text: err.Error()})
			}
		},
	}
	if run.index, err = old.indexed(from); err != nil {
		run.index = run.search()
	}
	last := uint64(0)
	for n := range maps.Keys(run.index) {
		last = max(last, n)
	}
	f.appliedAt = run.appliedAt()
	if err := run.run(ctx, 0, last); err != nil {
		return false, err
	}
	if lost > 0 && loaded && len(f.members) < 2 {
		return true, nil
	}
	return false, copyPending(from, twin.db, f)
}

// search finds the entries themselves, where the index does not read.
func (r *replaying) search() map[uint64]feed.Head {
	const enough = 1 << 14 // in a row that are not there
	out := map[uint64]feed.Head{}
	for n, none := uint64(1), 0; none < enough; n++ {
		none++
		if v, ok, err := r.from.Get(r.to.key('e', be64(n))); err == nil && ok {
			if e, err := feed.Decode(r.to.id, v); err == nil {
				out[n], none = e.Head(), 0
			}
		}
	}
	return out
}

// copyPending copies the operations that are not in an entry yet, and the texts that they made.
// They are sealed when the database is opened.
func copyPending(from, to *kv.DB, f *Folder) error {
	v, ok, err := from.Get(f.key('P'))
	var h pendingHeader
	if err != nil || !ok || decode(v, &h) != nil {
		return nil // none, or none that can be read: they are in the old database
	}
	lamport := be64(h.Lamport)
	n := len(f.key('t')) + len(NodeID{})
	all := func([]byte) bool { return true }
	return errors.Join(
		copyKeys(from, to, f.key('P'), all),
		copyKeys(from, to, f.key('p'), all),
		copyKeys(from, to, f.key('t'), func(k []byte) bool {
			return len(k) > n+len(lamport) && string(k[n:n+len(lamport)]) == string(lamport)
		}),
	)
}

// tell opens the home as it is now, which shows that it is whole, and leaves notes for status.
func (r *repairing) tell() error {
	h, err := Open(r.dir, Options{Logger: r.h.log, speaks: r.h.speaks})
	if err != nil {
		return err
	}
	for _, f := range h.Folders() {
		f.mu.Lock()
		b := h.db.Batch()
		for _, d := range r.Damage {
			if d.Folder != f.grant.Name && d.Folder != "" {
				continue
			}
			what := "not repaired"
			if d.Done != "" {
				what = d.Done
			}
			f.note(b, Note{Time: nowTime(), Kind: "damaged", Path: d.Path, Text: d.Text + ": " + what})
		}
		err = errors.Join(err, storage("repair", r.dir, h.db.Commit(b)))
		f.mu.Unlock()
	}
	return errors.Join(err, h.Close())
}
