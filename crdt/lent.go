package crdt

import (
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/text"
)

// The first text of a file is in its entry already. Where that entry is small enough to be
// opened for one text, the text is not stored a second time: what is stored of its event says
// where the entry is. An imported tree thus takes the room of its entries, and the database
// has a small row a file to sort instead of the file.

// maxLending is how large an entry's operations may be, in bytes, for its texts to be read
// from it: more than that costs milliseconds to decrypt, unpack and decode.
const maxLending = 512 << 10

// lentMark is the first byte of a reference; an encoded event begins with another one.
const lentMark = 0

// lent is where an event is that is not stored by itself.
type lent struct {
	order uint64 // of the entry
	index uint32 // of the operation in it
}

func (l lent) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{lentMark}, l.order)
	return binary.BigEndian.AppendUint32(b, l.index)
}

var errUnknownForm = damaged(errors.New("a text's event of an unknown form"))

// damaged says of what this device stored itself, and reads, that it is not what was written.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", kv.ErrDamaged, err)
}

// storedEvent reads the value of a text's event.
func (f *Folder) storedEvent(v []byte) (lineage, text.Event, error) {
	var l lineage
	if len(v) <= len(l) {
		return l, text.Event{}, errUnknownForm
	}
	l = lineage(v[:len(l)])
	if v = v[len(l):]; v[0] != lentMark {
		ev, err := text.DecodeEvent(v)
		return l, ev, damaged(err)
	}
	at, ok := lentAt(v)
	if !ok {
		return l, text.Event{}, errUnknownForm
	}
	ev, err := f.lentEvent(at)
	return l, ev, err
}

// lentAt reads what encode wrote.
func lentAt(v []byte) (at lent, ok bool) {
	if len(v) != 1+8+4 || v[0] != lentMark {
		return lent{}, false
	}
	at = lent{binary.BigEndian.Uint64(v[1:]), binary.BigEndian.Uint32(v[9:])}
	return at, at.order != 0
}

func (f *Folder) lentEvent(at lent) (text.Event, error) {
	o, err := f.lenders.op(f, at)
	if err != nil {
		return text.Event{}, fmt.Errorf("the entry that a text is in: %w", err)
	}
	if o.Text == nil {
		return text.Event{}, damaged(errors.New("the entry that a text is in has no such text"))
	}
	ev, err := text.DecodeEvent(o.Text.Event)
	return ev, damaged(err)
}

// lenders keeps the entries open that texts were read from last: who reads one file of an
// imported directory reads its neighbours next, in whatever order.
type lenders struct {
	mu    sync.Mutex
	known map[uint64]*list.Element // of *lender, by order
	used  *list.List               // most recent first
	bytes int                      // of those that are open
}

// maxOpened bounds the memory of entries that are kept open: at a hundred KiB each they are a few
// large packages of a source tree. A daemon at rest keeps none (Home.Rest).
const maxOpened = 8 << 20

type lender struct {
	order uint64
	open  func() (*openedEntry, error)
	bytes int // under lenders.mu; 0: it is being opened
}

// openedEntry is the operations of an entry.
type openedEntry struct {
	encoded []encodedOp // as rules 1 have them: of the many in one, few are read
	ops     []op        // by other rules
	bytes   int
}

// encodedOp is an operation as its entry has it.
type encodedOp []byte

// UnmarshalCBOR keeps b, which is part of what is unmarshalled.
func (o *encodedOp) UnmarshalCBOR(b []byte) error {
	*o = b
	return nil
}

// op is the operation of that number, one that does nothing if there is none.
func (e *openedEntry) op(i uint32) (o op, err error) {
	switch n := uint64(i); {
	case n < uint64(len(e.ops)):
		return e.ops[n], nil
	case n < uint64(len(e.encoded)):
		err = damaged(opsMode.Unmarshal(e.encoded[n], &o))
	}
	return o, err
}

func (c *lenders) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.used, c.bytes = map[uint64]*list.Element{}, list.New(), 0
}

// op returns an operation of an entry. It must not be changed. Who opens an entry keeps nobody from
// another, and who needs the same waits for it.
func (c *lenders) op(f *Folder, at lent) (op, error) {
	l := c.lender(f, at.order)
	e, err := l.open()
	if c.settle(l, e); err != nil {
		return op{}, err
	}
	return e.op(at.index)
}

func (c *lenders) lender(f *Folder, order uint64) *lender {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.known[order]; e != nil {
		c.used.MoveToFront(e)
		return e.Value.(*lender)
	}
	l := &lender{order: order, open: sync.OnceValues(func() (*openedEntry, error) { return f.openEntry(order) })}
	c.known[order] = c.used.PushFront(l)
	return l
}

// settle counts an entry that was opened; one that could not be, nil, is tried again.
func (c *lenders) settle(l *lender, e *openedEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.known[l.order]
	if at == nil || at.Value != l || l.bytes > 0 {
		return // forgotten meanwhile, or counted
	}
	if e == nil {
		c.drop(at)
		return
	}
	l.bytes = max(e.bytes, 1)
	for c.bytes += l.bytes; c.used.Len() > 1 && c.bytes > maxOpened; {
		c.drop(c.used.Back())
	}
}

func (c *lenders) drop(e *list.Element) {
	l := c.used.Remove(e).(*lender)
	delete(c.known, l.order)
	c.bytes -= l.bytes
}

// openEntry reads the operations of an entry.
func (f *Folder) openEntry(order uint64) (*openedEntry, error) {
	v, ok, err := f.home.db.Get(f.key('e', be64(order)))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, damaged(errors.New("it is not there"))
	}
	e, err := feed.DecodeStored(f.id, v)
	if err != nil {
		return nil, damaged(err)
	}
	plain, err := e.Open(f.grant.Key)
	if err != nil {
		return nil, damaged(err)
	}
	o := &openedEntry{bytes: len(plain)}
	if _, numbered := leadingNumber(plain); numbered {
		o.ops, err = f.home.speaks.decode(plain)
	} else {
		err = opsMode.Unmarshal(plain, &o.encoded)
	}
	if err != nil {
		return nil, damaged(err)
	}
	return o, nil
}
