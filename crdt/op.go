package crdt

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// op is one operation of an entry's payload: exactly one field is set.
type op struct {
	Tree  *tree.Op `cbor:"1,keyasint,omitempty"`
	Text  *textOp  `cbor:"2,keyasint,omitempty"`
	Admit *admitOp `cbor:"3,keyasint,omitempty"`
	Found *foundOp `cbor:"4,keyasint,omitempty"`
	Mark  *markOp  `cbor:"5,keyasint,omitempty"`
}

// textOp gives a file new text: an encoded text.Event, whose parents are
// versions of the file of any kind.
type textOp struct {
	Node  NodeID `cbor:"1,keyasint"`
	Event []byte `cbor:"2,keyasint"`
	By    string `cbor:"3,keyasint,omitempty"` // as tree.Op has it

	// whole is what Event encodes, where this device made it and it is all of a text: the bytes
	// of that are then in memory once.
	whole *text.Event
}

// event is the event that is encoded.
func (t *textOp) event() (text.Event, error) {
	if t.whole != nil {
		return *t.whole, nil
	}
	return text.DecodeEvent(t.Event)
}

// admitOp makes a device a member of the folder.
type admitOp struct {
	Device Device `cbor:"1,keyasint"`
	Name   string `cbor:"2,keyasint"`
}

// foundOp is the folder's first operation: who founded it.
type foundOp struct {
	Name string `cbor:"1,keyasint"` // of the founding device
}

// markOp says what the other operations of its entry are for. Entries of one ID are one
// action. It changes nothing.
type markOp struct {
	ID     ActionID  `cbor:"1,keyasint"`
	Label  string    `cbor:"2,keyasint,omitempty"`
	Undoes *ActionID `cbor:"3,keyasint,omitempty"` // the action that this one takes back
}

// record is what is kept of an entry for opening the folder again without its
// payload: texts are not in it.
type record struct {
	Feed    feed.ID    `cbor:"1,keyasint"`
	Seq     uint64     `cbor:"2,keyasint"`
	Lamport uint64     `cbor:"3,keyasint"`
	Applied int64      `cbor:"4,keyasint"` // unix ns, by this device's clock
	Time    int64      `cbor:"5,keyasint"` // unix ms, by its maker's clock
	Ops     []recorded `cbor:"6,keyasint"`
}

type recorded struct {
	Index uint32   `cbor:"1,keyasint"`
	Tree  *tree.Op `cbor:"2,keyasint,omitempty"` // a textOp as the version it makes
	Raw   *op      `cbor:"3,keyasint,omitempty"` // what is not of the tree, or waits for a parent
	Size  int64    `cbor:"4,keyasint,omitempty"` // bytes of the text of such a version, if it begins it
	Begin bool     `cbor:"5,keyasint,omitempty"` // the first of an Update of this device
	hash  tree.OpHash
}

// Limits of an entry that this device makes; feed's own are far higher.
const (
	maxPendingOps   = 4096
	maxPendingBytes = 4 << 20
)

// MaxOps is how many operations an entry has at most, of whichever device. They are far larger in
// memory than in an entry, where a thousand equal ones are a few bytes.
const MaxOps = 1 << 16

func encodeOps(ops []op) []byte {
	size := 0
	for i := range ops {
		if t := ops[i].Text; t != nil {
			size += len(t.Event) + len(t.By) + 64
		}
	}
	if size < longEncoding {
		return encode(ops)
	}
	// The library would keep a buffer as long as that for the next who encodes something.
	b := bytes.NewBuffer(make([]byte, 0, size+longEncoding))
	if err := encMode.MarshalToBuffer(ops, b); err != nil {
		panic(err) // as encode
	}
	return b.Bytes()
}

// longEncoding is how many bytes nobody should keep a buffer for.
const longEncoding = 1 << 20

func decodeOps(b []byte) ([]op, error) {
	var ops []op
	if err := opsMode.Unmarshal(b, &ops); err != nil {
		return nil, fmt.Errorf("malformed: %w", err)
	}
	return ops, nil
}

// lineage is a text's generation: the events that make one Automerge document.
type lineage = text.Node

// lineageOf tells which text an event with these parents belongs to: that of its parents when
// they are all events of one text, and of the file when there are none. Else it begins a new one
// (ok is false). It fails when a parent is not known yet.
func (f *Folder) lineageOf(node NodeID, parents []EventID) (l lineage, ok bool, err error) {
	if len(parents) == 0 {
		return lineage(node), true, nil
	}
	same := true
	for i, p := range parents {
		e, ok := f.tree.Event(node, p)
		if !ok {
			return lineage{}, false, errUnknownParent
		}
		switch {
		case e.Object != nil:
			same = false
		case i == 0:
			l = e.Text
		case e.Text != l:
			same = false
		}
	}
	return l, same, nil
}

// newLineage names the text that an event begins over versions that are not of one text. Two
// that begin it with different content do not merge: each is all that its writer left, and
// together they would be neither.
func newLineage(node NodeID, first text.Event) (l lineage) {
	id := first.ID(text.Node(node))
	h := blake3.NewDeriveKey("sheaf 2026-11 text generation v2")
	h.Write(id[:])
	copy(l[:], h.Sum(nil))
	return l
}

var errTooManyParents = errors.New("more parents than a version may have")

var errUnknownParent = errors.New("a parent is not known")

// resolved is what a textOp stands for: the version in the tree, and the event as its text
// holds it.
type resolved struct {
	op    tree.Op
	event text.Event
	enc   []byte // the event encoded
	text  lineage
	here  bool // it begins a text that this device made
}

// resolve finds what a textOp stands for. It fails where that is nothing, on every device, or with
// errUnknownParent.
func (f *Folder) resolve(t *textOp) (resolved, error) {
	ev, err := t.event()
	if err != nil {
		return resolved{}, err
	}
	parents := eventIDs(ev.Parents)
	if len(parents) > tree.MaxHeads {
		// The tree would not have it, and the entry's record could not be read again.
		return resolved{}, errTooManyParents
	}
	l, goesOn, err := f.lineageOf(t.Node, parents)
	if err != nil {
		return resolved{}, err
	}
	enc := t.Event
	if !goesOn {
		l = newLineage(t.Node, ev)
		ev.Parents = nil // the first event of its text
		enc = ev.Encode()
	}
	if len(ev.Parents) == 0 && !ev.Begins() {
		// It would stand for an empty text, in the place of what it builds on.
		return resolved{}, text.ErrMalformed
	}
	return resolved{
		tree.Op{Do: tree.OpContent, Node: t.Node, Event: EventID(text.EncodedID(l, enc)), Parents: parents, Text: l, By: authorOf(t.By)}, ev, enc, l, t.whole != nil && len(ev.Parents) == 0,
	}, nil
}

// objectEvent names the event that gives a file an object as its content.
func objectEvent(node NodeID, parents []EventID, o Object) EventID {
	h := blake3.NewDeriveKey("sheaf 2026-01 object event v1")
	h.Write(node[:])
	for _, p := range parents {
		h.Write(p[:])
	}
	h.Write(o.Hash[:])
	return EventID(h.Sum(nil))
}

// authorOf returns the author that an operation claims, none where it cannot be
// shown: the content is not to be lost for it.
func authorOf(by string) string {
	if len(by) > tree.MaxBy || !utf8.ValidString(by) || strings.ContainsFunc(by, unicode.IsControl) {
		return ""
	}
	return by
}

func eventIDs(ids []text.ID) []EventID {
	out := make([]EventID, len(ids))
	for i, id := range ids {
		out[i] = EventID(id)
	}
	return out
}

func textIDs(v []EventID) []text.ID {
	out := make([]text.ID, len(v))
	for i, id := range v {
		out[i] = text.ID(id)
	}
	slices.SortFunc(out, func(a, b text.ID) int { return slices.Compare(a[:], b[:]) })
	return out
}
