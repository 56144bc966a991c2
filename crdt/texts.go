package crdt

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// texts keeps the texts that were used lately in memory. Its lock is taken
// after the folder's.
type texts struct {
	mu    sync.Mutex
	docs  map[lineage]*list.Element // of *kept
	used  *list.List                // most recent first
	bytes int
}

type kept struct {
	lineage lineage
	doc     *text.Doc
	bytes   int
}

// maxKeptBytes bounds the memory that texts nobody uses right now may take.
const maxKeptBytes = 16 << 20

func (t *texts) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.docs, t.used, t.bytes = map[lineage]*list.Element{}, list.New(), 0
}

// add gives a text that is in memory one more event.
func (t *texts) add(l lineage, ev text.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.docs[l]
	if e == nil {
		return
	}
	k := e.Value.(*kept)
	if _, err := k.doc.Add(ev); err != nil {
		t.drop(e) // it will be read again
		return
	}
	t.weigh(e)
}

// unbegun reports whether nothing is here of the text that an operation begins. One that is not based
// on anything is of the text that others began, too, who saw an empty file.
func (f *Folder) unbegun(o *tree.Op) bool {
	if len(o.Parents) > 0 {
		_, known := f.tree.Event(o.Node, o.Event)
		return !known
	}
	return len(f.tree.Heads(o.Node)) == 0
}

// keptAtOnce is how many bytes of a text that was made here are worth keeping it: its maker has it
// in memory, and is about to change it.
const keptAtOnce = 64 << 10

// begin is add for the first event of a long text that nothing is here of, made on this device. It is
// kept from then on, with the bytes that its maker has: read again, they would be there twice.
func (t *texts) begin(l lineage, ev text.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.docs[l]; e != nil {
		t.drop(e)
	}
	d := text.NewDoc(l)
	if _, err := d.Add(ev); err != nil {
		return // it will be read
	}
	e := t.used.PushFront(&kept{lineage: l, doc: d})
	t.docs[l] = e
	t.weigh(e)
}

func (t *texts) drop(e *list.Element) {
	k := e.Value.(*kept)
	t.used.Remove(e)
	delete(t.docs, k.lineage)
	t.bytes -= k.bytes
}

func (t *texts) weigh(e *list.Element) {
	k := e.Value.(*kept)
	t.bytes -= k.bytes
	k.bytes = k.doc.Memory()
	t.bytes += k.bytes
	t.used.MoveToFront(e)
	for t.used.Len() > 1 && t.bytes > maxKeptBytes {
		t.drop(t.used.Back())
	}
}

// unstored is what is in a batch that is not committed yet: who looks for it in
// the database must find it here.
type unstored struct {
	events  map[lineage][]text.Event
	entries map[feed.Head]located
}

// storeText stores a text's event: which text it is of, and the event as that
// text holds it, or where it can be read.
func (f *Folder) storeText(b *kv.Batch, w when, v resolved) {
	enc := v.enc
	if w.lends > 0 && len(v.op.Parents) == 0 && sizeOf(v.event) >= longEvent {
		enc = lent{w.lends, w.stamp.Index}.encode()
	}
	b.Set(f.textKey(w.stamp, &v.op), v.text[:], enc)
	if f.unstored.events == nil {
		f.unstored.events = map[lineage][]text.Event{}
	}
	f.unstored.events[v.text] = append(f.unstored.events[v.text], v.event)
}

// textKey is where an event is stored. Lamport times order the keys, and so
// parents before children.
func (f *Folder) textKey(s tree.Stamp, t *tree.Op) []byte {
	return f.key('t', t.Node[:], be64(s.Lamport), be32(s.Index), t.Event[:])
}

// sizeOf is the size of a text at an event that begins it, 0 for another one.
func sizeOf(ev text.Event) int64 {
	if len(ev.Parents) == 0 && len(ev.Hunks) == 1 && len(ev.Hunks[0]) == 1 {
		return int64(len(ev.Hunks[0][0].Ins))
	}
	return 0
}

// storeSize keeps the size of a file's text at one version, so that stat reads none.
func (f *Folder) storeSize(b *kv.Batch, node NodeID, version EventID, size int64) {
	f.tree.SetTextSize(node, version, size)
	b.Set(f.key('z', node[:]), append(version[:], be64(uint64(size))...))
}

// loadSizes tells the tree the sizes that were kept. Where they are of other rules of merging, those
// of texts that were merged are not true any more: who reads would be given less than there is.
func (f *Folder) loadSizes() error {
	rules, _, err := f.home.db.Get(f.key('v'))
	if err != nil {
		return storage("open", f.grant.Name, err)
	}
	same := string(rules) == string(be32(DigestVersion))
	b := f.home.db.Batch()
	n := len(f.key('z'))
	err = f.home.db.Scan(f.key('z'), func(k, v []byte) error {
		if len(k) != n+16 || len(v) != 32+8 {
			return errors.New("a size of an unknown form")
		}
		if node := NodeID(k[n:]); same || !f.tree.Merges(node) {
			f.tree.SetTextSize(node, EventID(v[:32]), int64(binary.BigEndian.Uint64(v[32:])))
		} else {
			b.Delete(bytes.Clone(k))
		}
		return nil
	})
	if err != nil || same {
		return storage("open", f.grant.Name, err)
	}
	b.Set(f.key('v'), be32(DigestVersion))
	if err := f.home.db.Commit(b); err != nil { // it is done again when the folder is opened next
		f.home.log.Warn("the sizes of merged texts are not forgotten yet", "folder", f.grant.Name, "err", err)
	}
	return nil
}

// withDoc calls fn with a text, read from the database if need be. It runs
// with mu held, for reading at least.
func (f *Folder) withDoc(node NodeID, l lineage, fn func(*text.Doc) error) error {
	f.texts.mu.Lock()
	defer f.texts.mu.Unlock()
	e := f.texts.docs[l]
	if e == nil {
		d, err := f.loadDoc(node, l, f.unstored.events[l])
		if err != nil {
			return storage("read", f.tree.Path(node), err)
		}
		e = f.texts.used.PushFront(&kept{lineage: l, doc: d})
		f.texts.docs[l] = e
	}
	defer f.texts.weigh(e) // reading makes a text larger, too
	return fn(e.Value.(*kept).doc)
}

// loadDoc reads a text from the database, and more events of it that are not there yet.
func (f *Folder) loadDoc(node NodeID, l lineage, unstored []text.Event) (*text.Doc, error) {
	d := text.NewDoc(l)
	var late []text.Event
	err := f.home.db.Scan(f.key('t', node[:]), func(_, v []byte) error {
		if len(v) >= len(l) && lineage(v[:len(l)]) != l {
			return nil
		}
		_, ev, err := f.storedEvent(v)
		if err != nil {
			return err
		}
		if _, err = d.Add(ev); errors.Is(err, text.ErrMissingParent) {
			late = append(late, ev)
			return nil
		}
		return err
	})
	if err == nil {
		addLate(d, append(late, unstored...))
	}
	return d, err
}

// addLate adds events in any order: those that had to wait for a parent may be stored before it, and
// who made them decides how many. One whose parent never came stays out.
func addLate(d *text.Doc, late []text.Event) {
	waits := map[text.ID][]text.Event{}
	for len(late) > 0 {
		ev := late[len(late)-1]
		late = late[:len(late)-1]
		if i := slices.IndexFunc(ev.Parents, func(p text.ID) bool { return !d.Has(p) }); i >= 0 {
			waits[ev.Parents[i]] = append(waits[ev.Parents[i]], ev)
			continue
		}
		id, err := d.Add(ev)
		if err != nil {
			continue
		}
		late = append(late, waits[id]...)
		delete(waits, id)
	}
}

// textAt returns a text at a version of one lineage.
func (f *Folder) textAt(node NodeID, v Version) (s string, err error) {
	err = f.docAt(node, v, func(d *text.Doc) (err error) {
		s, err = d.At(textIDs(v))
		return err
	})
	return s, err
}

// bodyAt is textAt for a text in pieces.
func (f *Folder) bodyAt(node NodeID, v Version) (b *text.Body, err error) {
	err = f.docAt(node, v, func(d *text.Doc) (err error) {
		b, err = d.BodyAt(textIDs(v))
		return err
	})
	return b, err
}

// docAt calls fn with the text that a version is of, if it is one.
func (f *Folder) docAt(node NodeID, v Version, fn func(*text.Doc) error) error {
	if len(v) == 0 {
		return nil
	}
	e, ok := f.tree.Event(node, v[0])
	if !ok || e.Object != nil {
		return fail("read", f.tree.Path(node), ErrInvalid, errors.New("not a version of this text"))
	}
	return f.withDoc(node, e.Text, func(d *text.Doc) error {
		if err := fn(d); err != nil {
			return fail("read", f.tree.Path(node), ErrInvalid, err)
		}
		return nil
	})
}

// textSize returns the bytes of a text at its visible version.
func (f *Folder) textSize(node NodeID, v Version) (int64, error) {
	if len(v) == 0 {
		return 0, nil
	}
	if len(v) == 1 {
		if size, ok := f.tree.TextSize(node, v[0]); ok {
			return size, nil
		}
	}
	if size, ok := f.firstSize(node, v); ok {
		return size, nil
	}
	b, err := f.bodyAt(node, v)
	if err != nil {
		return 0, err
	}
	if len(v) == 1 {
		f.tree.SetTextSize(node, v[0], int64(b.Len()))
	}
	return int64(b.Len()), nil
}
