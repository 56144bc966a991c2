package text

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/blake3"
)

// Limits of the format. Makers obey them too, so that every device accepts the same events.
const (
	MaxText    = 16 << 20 // bytes of a text; larger content is an object
	MaxEvent   = 20 << 20 // bytes of an encoded event
	MaxSplices = 1 << 17  // splices of an event, over all its hunks
	MaxParents = 4096     // parents of an event
	NonceSize  = 16       // bytes of a nonce
)

// Errors of this package, for errors.Is.
var (
	ErrMalformed      = errors.New("malformed text event")
	ErrMissingParent  = errors.New("parent event is not here")
	ErrUnknownVersion = errors.New("version is not here")
)

// Node names a text. The same events under another name are other events.
type Node [16]byte

// ID names an event: a hash of its text's name, its parents and its content.
type ID [32]byte

// String is the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Compare orders ids by their bytes.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Splice replaces Del code points at Pos by Ins. Positions are those of the parents' text.
type Splice struct {
	Pos int
	Del int
	Ins string
}

// Hunk is a list of ascending splices that count as one change: where two events with the same parents hold an equal
// hunk, it takes effect once. Splices take effect from the last to the first, each deleting before it inserts.
type Hunk []Splice

// Event is one save.
//
// Its splices, over all hunks, ascend and leave at least one untouched code point between each other. An event that
// breaks this, reaches beyond its parents' text, or would insert what is not text, changes nothing.
type Event struct {
	Parents []ID // ascending, no doubles; none for a first event
	Hunks   []Hunk
	Nonce   []byte // nil, or 16 bytes that keep equal appends apart
}

// check tells whether the event is within the format, whatever its parents are.
func (e *Event) check() error {
	if len(e.Parents) > MaxParents {
		return fmt.Errorf("%w: %d parents, at most %d", ErrMalformed, len(e.Parents), MaxParents)
	}
	for i := 1; i < len(e.Parents); i++ {
		if e.Parents[i-1].Compare(e.Parents[i]) >= 0 {
			return fmt.Errorf("%w: parents do not ascend", ErrMalformed)
		}
	}
	if n := len(e.Nonce); n != 0 && n != NonceSize {
		return fmt.Errorf("%w: nonce of %d bytes", ErrMalformed, n)
	}
	n := 0
	for _, h := range e.Hunks {
		n += len(h)
	}
	if n > MaxSplices || len(e.Hunks) > MaxSplices {
		return fmt.Errorf("%w: more than %d splices", ErrMalformed, MaxSplices)
	}
	return nil
}

// Begins reports whether the event changes the empty text as it says: one that does not can be no text's first.
func (e *Event) Begins() bool { return e.fits(0) }

// fits tells whether the hunks can be made in a text of n code points.
func (e *Event) fits(n int) bool {
	free := 0 // first position that a splice may start at
	for _, h := range e.Hunks {
		if len(h) == 0 {
			return false
		}
		for _, s := range h {
			if s.Pos < free || s.Pos > n || s.Del < 0 || s.Del > n-s.Pos || s.Del == 0 && s.Ins == "" {
				return false
			}
			if !plain(s.Ins) {
				return false
			}
			free = s.Pos + s.Del + 1
		}
	}
	return true
}

// purpose is BLAKE3 in key derivation mode: a hash that only one purpose of one format makes. Hashers are large, so they
// are kept for the next.
type purpose struct{ hashers sync.Pool }

func newPurpose(context string) *purpose {
	return &purpose{sync.Pool{New: func() any { return blake3.NewDeriveKey(context) }}}
}

var (
	forEvent   = newPurpose("sheaf 1 text event")
	forChange  = newPurpose("sheaf 1 text change")
	forNothing = newPurpose("sheaf 1 text nothing")
	forEcho    = newPurpose("sheaf 1 text echo")
	forGenesis = newPurpose("sheaf 1 text genesis")
)

func (p *purpose) id(node Node, b []byte) (id ID) {
	h := p.hashers.Get().(*blake3.Hasher)
	defer p.hashers.Put(h)
	h.Reset()
	h.Write(node[:])
	h.Write(b)
	h.Sum(id[:0])
	return id
}

// ID names the event as one of the given text.
func (e *Event) ID(node Node) ID {
	if len(e.Hunks) != 1 || len(e.Hunks[0]) != 1 {
		return forEvent.id(node, e.Encode())
	}
	// Of a whole text, the encoding is not made for its hash alone.
	h := forEvent.hashers.Get().(*blake3.Hasher)
	defer forEvent.hashers.Put(h)
	h.Reset()
	h.Write(node[:])
	s := &e.Hunks[0][0]
	b := appendHead(e.appendStart(make([]byte, 0, 64+34*len(e.Parents))), majorArray, 1)
	b = s.appendStart(appendHead(b, majorArray, 1))
	h.Write(b)
	h.WriteString(s.Ins)
	h.Write(appendBytes(b[:0], e.Nonce))
	var id ID
	h.Sum(id[:0])
	return id
}

// EncodedID is ID of an event that is encoded already: enc is what its Encode returns.
func EncodedID(node Node, enc []byte) ID { return forEvent.id(node, enc) }

// ChangeID names the change that a hunk stands for. It is the Automerge actor of that change, so it also decides the
// order of concurrent insertions at one place. It covers what makes two hunks one change: text, parents, splices, nonce.
func (e *Event) ChangeID(node Node, hunk int) ID {
	return forChange.id(node, appendEvent(nil, e.Parents, e.Hunks[hunk:hunk+1], e.Nonce))
}

// changeIDs gives the ChangeID of every hunk. What they share, the parents, is hashed once.
func (e *Event) changeIDs(node Node) []ID {
	ids := make([]ID, len(e.Hunks))
	if len(ids) == 1 {
		ids[0] = e.ChangeID(node, 0)
		return ids
	}
	shared := forChange.hashers.Get().(*blake3.Hasher)
	defer forChange.hashers.Put(shared)
	h := forChange.hashers.Get().(*blake3.Hasher)
	defer forChange.hashers.Put(h)
	shared.Reset()
	shared.Write(node[:])
	b := appendParents(nil, e.Parents)
	shared.Write(b)
	for i := range ids {
		*h = *shared
		b = appendBytes(appendHunks(b[:0], e.Hunks[i:i+1]), e.Nonce)
		h.Write(b)
		h.Sum(ids[i][:0])
	}
	return ids
}

// EmptyChangeID is the Automerge actor of the change without operations that stands for an event that changes nothing.
func (e *Event) EmptyChangeID(node Node) ID {
	return forNothing.id(node, e.Encode())
}

// EchoChangeID is the Automerge actor of the change that deletes the echoes of an event's parents, if there are any: the
// same for all events on these parents.
func (e *Event) EchoChangeID(node Node) ID {
	return forEcho.id(node, appendParents(nil, e.Parents))
}

// SortIDs sorts ids and drops doubles, in place: the form that Event.Parents and versions have.
func SortIDs(ids []ID) []ID {
	slices.SortFunc(ids, ID.Compare)
	return slices.Compact(ids)
}

// IsText tells whether content is kept as text: valid UTF-8 without NUL, at most MaxText bytes.
func IsText(b []byte) bool {
	return len(b) <= MaxText && bytes.IndexByte(b, 0) < 0 && utf8.Valid(b)
}

// IsTextString is IsText for a string, without a copy.
func IsTextString(s string) bool { return len(s) <= MaxText && plain(s) }

// plain tells whether a string may be part of a text.
func plain(s string) bool {
	return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s)
}

// GenesisID is the Automerge actor of the change that makes the empty text.
func GenesisID(node Node) ID { return forGenesis.id(node, nil) }
