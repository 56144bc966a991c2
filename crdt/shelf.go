package crdt

import (
	"bytes"
	"hash/maphash"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// An operation can build on what is not here: of a forked feed another branch was seen, or its
// maker does not follow the format. It waits until that comes, which may be never. A few such
// operations wait in memory; the database keeps the others by what they wait for, and whatever
// arrives is looked up there. To open the folder again is to replay its records, so what is kept
// here is what is too much for memory and nothing else.

// maxWaiting is how many operations wait in memory, of those on the tree and of those on texts.
var maxWaiting = tree.MaxWaiting

// waiting is an operation on a text for which a parent is missing.
type waiting struct {
	op   textOp
	when when
}

// shelf keeps what waits. It runs with mu held, for writing.
type shelf struct {
	f     *Folder
	texts map[tree.Need][]waiting // in memory
	count int                     // of these
	bytes int

	woken  []waiting // what they waited for is here
	waking bool

	fresh      map[tree.Need][]shelved // to be stored with the next batch
	freshBytes int
	gone       [][]byte // rows of what waits no more, to be deleted with the next batch
	filter     *filter  // what is waited for in the database; nil: nothing is
	err        error    // of reading it
}

// shelved is an operation in the database: one of Tree and Text.
type shelved struct {
	Feed    feed.ID  `cbor:"1,keyasint"`
	Seq     uint64   `cbor:"2,keyasint"`
	Index   uint32   `cbor:"3,keyasint"`
	Lamport uint64   `cbor:"4,keyasint"`
	Applied int64    `cbor:"5,keyasint"` // unix ns, by this device's clock
	Made    int64    `cbor:"6,keyasint"` // unix ms, by its maker's clock
	Tree    *tree.Op `cbor:"7,keyasint,omitempty"`
	Text    *textOp  `cbor:"8,keyasint,omitempty"`
}

func (s *shelved) stamp() tree.Stamp {
	st := tree.Stamp{Lamport: s.Lamport, Feed: s.Feed, Seq: s.Seq, Index: s.Index}
	if s.Tree != nil {
		st.Op = s.Tree.Hash()
	}
	return st
}

// newShelf returns the shelf of a folder that is about to be replayed.
func newShelf(f *Folder) (*shelf, error) {
	s := &shelf{f: f, texts: map[tree.Need][]waiting{}}
	n := len(f.key('w'))
	err := f.home.db.Scan(f.key('w'), func(k, _ []byte) error {
		var it tree.Need
		copy(it.Event[:], k[n+copy(it.Node[:], k[n:]):])
		s.remember(it)
		return nil
	})
	return s, storage("open", f.grant.Name, err)
}

func (s *shelf) remember(it tree.Need) {
	if s.filter == nil {
		s.filter = &filter{seed: maphash.MakeSeed()}
	}
	s.filter.add(it)
}

// Put is part of tree.Shelf.
func (s *shelf) Put(it tree.Need, o *tree.Stamped) {
	op := o.Op
	st := o.Stamp
	s.keep(it, shelved{Feed: st.Feed, Seq: st.Seq, Index: st.Index, Lamport: st.Lamport, Applied: o.Applied, Tree: &op})
}

func (s *shelf) keep(it tree.Need, o shelved) {
	if fault.On("crdt-drop-waiting") {
		return
	}
	if s.fresh == nil {
		s.fresh = map[tree.Need][]shelved{}
	}
	s.fresh[it] = append(s.fresh[it], o)
	s.freshBytes += o.size()
}

// size is about how many bytes of memory it takes.
func (s *shelved) size() int {
	if s.Text != nil {
		return 512 + len(s.Text.Event)
	}
	return 512 + len(s.Tree.Value) + len(EventID{})*(len(s.Tree.Seen)+len(s.Tree.Parents))
}

// wait keeps an operation on a text until something arrives.
func (s *shelf) wait(it tree.Need, w waiting) {
	size := 256 + len(w.op.Event)
	if s.count < maxWaiting && s.bytes+size <= tree.MaxWaitingBytes {
		s.texts[it] = append(s.texts[it], w)
		s.count, s.bytes = s.count+1, s.bytes+size
		return
	}
	st := w.when.stamp
	s.keep(it, shelved{
		Feed: st.Feed, Seq: st.Seq, Index: st.Index, Lamport: st.Lamport,
		Applied: w.when.applied, Made: w.when.made, Text: &w.op,
	})
}

// Arrived is part of tree.Shelf. Operations on texts are applied after those on the tree.
func (s *shelf) Arrived(it tree.Need) (ops []*tree.Stamped) {
	if s.count > 0 {
		for _, w := range s.texts[it] {
			s.woken = append(s.woken, w)
			s.count, s.bytes = s.count-1, s.bytes-256-len(w.op.Event)
		}
		delete(s.texts, it)
	}
	take := func(o *shelved) {
		if o.Tree != nil {
			ops = append(ops, &tree.Stamped{Stamp: o.stamp(), Op: *o.Tree, Applied: o.Applied})
		} else if o.Text != nil {
			s.woken = append(s.woken, waiting{*o.Text, when{stamp: o.stamp(), applied: o.Applied, made: o.Made}})
		}
	}
	for i := range s.fresh[it] {
		take(&s.fresh[it][i])
		s.freshBytes -= s.fresh[it][i].size()
	}
	delete(s.fresh, it)
	if s.filter == nil || !s.filter.has(it) {
		return ops
	}
	err := s.f.home.db.Scan(s.f.key('w', it.Node[:], it.Event[:]), func(k, v []byte) error {
		var o shelved
		if err := decode(v, &o); err != nil {
			return err
		}
		take(&o)
		s.gone = append(s.gone, bytes.Clone(k))
		return nil
	})
	if err != nil && s.err == nil {
		s.err = storage("read what waits", s.f.grant.Name, err)
	}
	return ops
}

// rows calls fn with what is to be stored, which counts as stored then.
func (s *shelf) rows(fn func(k, v []byte)) {
	for it, list := range s.fresh {
		for i := range list {
			v := encode(list[i])
			sum := blake3.Sum256(v)
			fn(s.f.key('w', it.Node[:], it.Event[:], sum[:16]), v)
		}
		s.remember(it)
	}
	s.fresh, s.freshBytes = nil, 0
}

// store has b store what is to be stored, and delete what waits no more.
func (s *shelf) store(b *kv.Batch) {
	for _, k := range s.gone {
		b.Delete(k)
	}
	s.gone = nil
	s.rows(func(k, v []byte) { b.Set(k, v) })
}

// storeReplayed stores what had to wait while records are replayed, where it is not there already.
func (s *shelf) storeReplayed() error {
	b, n := s.f.home.db.Batch(), len(s.gone)
	for _, k := range s.gone {
		b.Delete(k)
	}
	s.gone = nil
	var failed error
	s.rows(func(k, v []byte) {
		_, ok, err := s.f.home.db.Get(k)
		if err != nil {
			failed = err
		} else if !ok {
			b.Set(k, v)
			n++
		}
	})
	if failed == nil && n > 0 {
		failed = s.f.home.db.Commit(b)
	}
	return storage("open", s.f.grant.Name, failed)
}

// filter tells what is certainly not among some needs. It takes the same room for any number.
type filter struct {
	seed maphash.Seed // others choose the needs
	bits [1 << 14]uint64
}

func (f *filter) places(it tree.Need) (a, b uint64) {
	h := maphash.Comparable(f.seed, it)
	const places = uint64(len(f.bits) * 64)
	return h % places, (h >> 32) % places
}

func (f *filter) add(it tree.Need) {
	a, b := f.places(it)
	f.bits[a/64] |= 1 << (a % 64)
	f.bits[b/64] |= 1 << (b % 64)
}

func (f *filter) has(it tree.Need) bool {
	a, b := f.places(it)
	return f.bits[a/64]&(1<<(a%64)) != 0 && f.bits[b/64]&(1<<(b%64)) != 0
}

// wait keeps an operation until a version that it builds on is known. What is malformed has
// been sorted out.
func (f *Folder) wait(o textOp, w when) {
	ev, err := text.DecodeEvent(o.Event)
	if err != nil {
		return
	}
	for _, p := range eventIDs(ev.Parents) {
		if _, ok := f.tree.Event(o.Node, p); !ok {
			f.shelf.wait(tree.Need{Node: o.Node, Event: p}, waiting{o, w})
			return
		}
	}
}

// wake applies what waited on texts and need not any more. What that brings is taken in turn, not
// deeper and deeper: others decide how long a chain of it is.
func (f *Folder) wake(b *kv.Batch) (changes []tree.Change) {
	if f.shelf.waking {
		return nil
	}
	f.shelf.waking = true
	for len(f.shelf.woken) > 0 {
		w := f.shelf.woken[0]
		f.shelf.woken = f.shelf.woken[1:]
		_, c := f.apply(b, w.when, op{Text: &w.op})
		changes = append(changes, c...)
	}
	f.shelf.woken, f.shelf.waking = nil, false
	return changes
}
