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
const DigestVersion = 2

// Digest is what a folder's entries have made of it, in 32 bytes: where every node is, its
// attributes and versions, the text that each version has, and who is a member. Devices with the
// same frontier have the same digest, or one of them has not done what the entries say.
type Digest struct {
	Version  uint
	Frontier Hash // of the entries held
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
	d := &digesting{f: f, Digest: Digest{Version: DigestVersion, Frontier: f.frontier.Hash()}, order: f.order}
	nodes := f.tree.Nodes()
	d.members()
	f.mu.Unlock()
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
	began, read := time.Now(), 0
	b := f.home.db.Batch()
	err := func() error {
		f.mu.RLock()
		defer f.mu.RUnlock()
		if f.closed || f.broken != nil || f.order != d.order || f.pending != nil {
			return fail("digest", f.grant.Name, ErrBusy, nil)
		}
		d.Sum = d.Sum.Xor(f.tree.DigestOf(nodes))
		for _, id := range nodes {
			sum, fresh, err := f.textDigest(b, id)
			if err != nil {
				return err
			}
			if d.Sum = d.Sum.Xor(sum); fresh {
				read++
			}
		}
		return nil
	}()
	if err != nil || read == 0 {
		return errors.Join(err, ctx.Err())
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

// textDigest digests the texts that a file's newest versions have; zero if there are none. What
// had to be read goes to b. It runs with mu held for reading.
func (f *Folder) textDigest(b *kv.Batch, node NodeID) (sum Hash, fresh bool, err error) {
	info := f.tree.Get(node)
	if info == nil || info.Kind != File {
		return Hash{}, false, nil
	}
	texts := map[lineage]Version{}
	h := blake3.NewDeriveKey("sheaf 2026-01 version of texts v1")
	h.Write([]byte{DigestVersion}) // what other rules made of it is not what was kept
	for _, e := range info.Heads { // sorted
		if e.Object == nil {
			texts[e.Text] = append(texts[e.Text], e.ID)
			h.Write(e.ID[:])
		}
	}
	if len(texts) == 0 {
		return Hash{}, false, nil
	}
	version := h.Sum(nil)
	key := f.key('d', node[:])
	v, ok, err := f.home.db.Get(key)
	if err != nil {
		return Hash{}, false, storage("digest", f.grant.Name, err)
	}
	if ok && len(v) == 64 && string(v[:32]) == string(version) {
		return Hash(v[32:]), false, nil
	}
	for l, version := range texts {
		s, err := f.textOnce(node, l, version)
		if err != nil {
			return Hash{}, false, err
		}
		h := blake3.NewDeriveKey("sheaf 2026-01 digest of a text v1")
		h.Write(node[:])
		h.Write(l[:])
		h.Write([]byte(s))
		sum = sum.Xor(Hash(h.Sum(nil)))
	}
	b.Set(key, append(version, sum[:]...))
	return sum, true, nil
}

// textOnce is textAt for who will not ask again soon: the texts that are in memory stay.
func (f *Folder) textOnce(node NodeID, l lineage, v Version) (s string, err error) {
	f.texts.mu.Lock()
	defer f.texts.mu.Unlock()
	var d *text.Doc
	if e := f.texts.docs[l]; e != nil {
		d = e.Value.(*kept).doc
	} else if d, err = f.loadDoc(node, l); err != nil {
		return "", err
	}
	if s, err = d.At(textIDs(v)); err != nil {
		return "", fail("digest", f.tree.Path(node), ErrDamaged, err)
	}
	return s, nil
}

// deaf breaks this device on purpose: it does not hear what others do to modes.
func (f *Folder) deaf(w when, t *tree.Op) bool {
	return fault.On("crdt-deaf-to-modes") && t.Do == tree.OpMode && w.stamp.Feed.Device != f.home.device
}
