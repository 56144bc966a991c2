package crdt

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// DigestVersion says what a Digest covers and how it is made. Digests of different versions
// say nothing of each other; it changes with everything that may change one, the rules of
// merging included.
const DigestVersion = 3

// Digest is what a folder's entries have made of it, in 32 bytes: where every node is, its
// attributes and versions, the text that each version has, and who is a member. Devices with the
// same entries have the same digest, or one of them has not done what the entries say.
type Digest struct {
	Version  uint
	Frontier Hash // of the entries held, as Held has it; where some take a newer sheaf, another one
	Sum      Hash
}

// ErrBusy is what Digest returns while the folder changes.
var ErrBusy = errors.New("it is being changed")

// digestChunk is how many nodes are looked at before others get their turn.
const digestChunk = 128

// Digest makes the digest of a folder that is at rest; it fails with ErrBusy as soon as
// anything changes. It never holds a writer up for longer than a few nodes take. Texts are
// read once for each version that they have: what they come to is kept in the database.
func (f *Folder) Digest(ctx context.Context) (Digest, error) {
	f.mu.Lock()
	err := f.sealSoon()
	if err == nil && f.pending != nil {
		err = fail("digest", f.grant.Name, ErrBusy, nil) // it gathers
	}
	held := f.holding()
	d := &digesting{f: f, Digest: Digest{Version: DigestVersion}, order: held.order}
	nodes := f.tree.Nodes()
	d.members()
	all, late := len(f.unread) == 0, f.late
	f.mu.Unlock()
	if err == nil {
		d.Frontier, err = f.hashHeld(held)
	}
	if !all {
		d.Frontier = f.asRead(d.Frontier, late)
	}
	if err != nil {
		return Digest{}, err
	}
	for chunk := range slices.Chunk(nodes, digestChunk) {
		if err := d.add(ctx, chunk); err != nil {
			return Digest{}, err
		}
	}
	return d.Digest, nil
}

// digesting is one run of Folder.Digest.
type digesting struct {
	Digest
	f     *Folder
	order uint64
}

// members adds who is a member. It runs with mu held.
func (d *digesting) members() {
	for dev, m := range d.f.members {
		h := blake3.NewDeriveKey("sheaf 2026-01 digest of a member v1")
		h.Write(dev[:])
		h.Write([]byte(m.name))
		d.Sum = d.Sum.Xor(Hash(h.Sum(nil)))
	}
}

// add adds some nodes, and their texts.
func (d *digesting) add(ctx context.Context, nodes []NodeID) error {
	f := d.f
	began := time.Now()
	var missing []undigested
	err := func() error {
		f.mu.RLock()
		defer f.mu.RUnlock()
		if f.closed || f.broken != nil || f.order != d.order || f.pending != nil {
			return fail("digest", f.grant.Name, ErrBusy, nil)
		}
		d.Sum = d.Sum.Xor(f.tree.DigestOf(nodes))
		for _, id := range nodes {
			sum, u, err := f.textDigest(id)
			if err != nil {
				return err
			}
			if d.Sum = d.Sum.Xor(sum); u != nil {
				missing = append(missing, *u)
			}
		}
		return nil
	}()
	if err != nil || len(missing) == 0 {
		return errors.Join(err, ctx.Err())
	}
	b := f.home.db.Batch()
	for _, u := range missing {
		sum, err := f.readDigest(b, u)
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		d.Sum = d.Sum.Xor(sum)
	}
	if err := f.home.db.Commit(b); err != nil {
		return storage("digest", f.grant.Name, err)
	}
	// Reading every text of a large folder is no hurry: others have three quarters of the time.
	select {
	case <-time.After(3 * time.Since(began)):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// undigested is the texts of a file whose digest is not known yet.
type undigested struct {
	node    NodeID
	version []byte // names all of them
	texts   map[lineage]Version
}

// textDigest digests the texts that a file's newest versions have: zero if there are none, or if
// they have to be read first. It runs with mu held for reading.
func (f *Folder) textDigest(node NodeID) (Hash, *undigested, error) {
	info := f.tree.Get(node)
	if info == nil || info.Kind != File {
		return Hash{}, nil, nil
	}
	texts := map[lineage]Version{}
	h := blake3.NewDeriveKey("sheaf 2026-01 version of texts v1")
	h.Write([]byte{DigestVersion})         // what other rules made of it is not what was kept
	for _, e := range f.tree.Heads(node) { // sorted
		if e.Object == nil {
			texts[e.Text] = append(texts[e.Text], e.ID)
			h.Write(e.ID[:])
		}
	}
	if len(texts) == 0 {
		return Hash{}, nil, nil
	}
	version := h.Sum(nil)
	v, ok, err := f.home.db.Get(f.key('d', node[:]))
	if err != nil {
		return Hash{}, nil, storage("digest", f.grant.Name, err)
	}
	if ok && len(v) == 64 && string(v[:32]) == string(version) {
		return Hash(v[32:]), nil, nil
	}
	return Hash{}, &undigested{node, version, texts}, nil
}

// readDigest digests the texts of a file, and has b keep what they come to. Nobody waits for it.
func (f *Folder) readDigest(b *kv.Batch, u undigested) (sum Hash, err error) {
	for l, version := range u.texts {
		s, err := f.textOnce(u.node, l, version)
		if errors.Is(err, ErrClosed) {
			err = fail("digest", f.grant.Name, ErrBusy, err)
		}
		if err != nil {
			return Hash{}, err
		}
		h := blake3.NewDeriveKey("sheaf 2026-01 digest of a text v1")
		h.Write(u.node[:])
		h.Write(l[:])
		h.Write([]byte(s))
		sum = sum.Xor(Hash(h.Sum(nil)))
	}
	b.Set(f.key('d', u.node[:]), append(u.version, sum[:]...))
	return sum, nil
}

// textOnce is textAt for who will not ask again soon: the texts that are in memory stay as they
// are. A text can take seconds to read, so it is read without a lock: its version was seen under
// one, hence its events are stored, and stored events do not change.
func (f *Folder) textOnce(node NodeID, l lineage, v Version) (string, error) {
	ids := textIDs(v)
	if s, ok, err := f.texts.at(l, ids); ok || err != nil {
		return s, f.damagedText(node, err)
	}
	atLength()
	d, err := f.loadDoc(node, l, nil)
	if err != nil {
		return "", storage("read", f.Path(node), err)
	}
	s, err := d.At(ids)
	return s, f.damagedText(node, err)
}

func (f *Folder) damagedText(node NodeID, err error) error {
	if err == nil {
		return nil
	}
	return fail("digest", f.Path(node), ErrDamaged, err)
}

// at returns a version of a text that is in memory; false if it is not.
func (t *texts) at(l lineage, version []text.ID) (s string, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.docs[l]
	if e == nil {
		return "", false, nil
	}
	s, err = e.Value.(*kept).doc.At(version)
	return s, true, err
}

// deaf breaks this device on purpose: it does not hear what others do to modes.
func (f *Folder) deaf(w when, t *tree.Op) bool {
	return fault.On("crdt-deaf-to-modes") && t.Do == tree.OpMode && w.stamp.Feed.Device != f.home.device
}
