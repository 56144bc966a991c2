package crdt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
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
	ops, err := f.lenders.ops(f, at.order)
	if err != nil {
		return text.Event{}, fmt.Errorf("the entry that a text is in: %w", err)
	}
	if uint64(at.index) >= uint64(len(ops)) || ops[at.index].Text == nil {
		return text.Event{}, damaged(errors.New("the entry that a text is in has no such text"))
	}
	ev, err := text.DecodeEvent(ops[at.index].Text.Event)
	return ev, damaged(err)
}

// lenders keeps the entries open that texts were read from last: who reads one file of an
// imported directory reads its neighbours next.
type lenders struct {
	mu   sync.Mutex
	last [4]lender // the most recent first: for who reads on from one into the next, and beside others
}

type lender struct {
	order uint64 // 0: none
	ops   func() ([]op, error)
}

func (c *lenders) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.last[:])
}

// ops returns the operations of an entry. They must not be changed. Who opens one keeps nobody
// from another, and who needs the same waits for it.
func (c *lenders) ops(f *Folder, order uint64) ([]op, error) {
	ops, err := c.lender(f, order).ops()
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range c.last {
			if c.last[i].order == order { // it is tried again
				c.last[i] = lender{}
			}
		}
	}
	return ops, err
}

func (c *lenders) lender(f *Folder, order uint64) lender {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.last[:], func(l lender) bool { return l.order == order })
	if i < 0 {
		i = len(c.last) - 1
		c.last[i] = lender{order, sync.OnceValues(func() ([]op, error) { return f.entryOps(order) })}
	}
	used := c.last[i]
	copy(c.last[1:i+1], c.last[:i])
	c.last[0] = used
	return used
}

// entryOps reads the operations of an entry.
func (f *Folder) entryOps(order uint64) ([]op, error) {
	v, ok, err := f.home.db.Get(f.key('e', be64(order)))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, damaged(errors.New("it is not there"))
	}
	e, err := feed.Decode(f.id, v)
	if err != nil {
		return nil, damaged(err)
	}
	ops, _, err := f.home.speaks.operations(e, f.grant.Key)
	return ops, damaged(err)
}
