package tree

import (
	"errors"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// OpKind says what an operation does.
type OpKind uint8

// The kinds of operations, and the fields of [Op] each uses besides Node.
const (
	// OpCreate makes a node: Kind, Parent, Name, Mode, Gen, and First for a file or Target for a
	// symlink. Node must be NodeIDFor of these. On a node that is there it puts it back there.
	OpCreate OpKind = 1
	// OpPlace renames or moves a node: Parent, Name.
	OpPlace OpKind = 2
	// OpRemove deletes a node: Seen, the version of a file its author saw ([Tree.Heads]).
	OpRemove OpKind = 3
	// OpContent gives a file new content: Event, Parents, and Object or Text; Time. The caller
	// has checked that Event follows from the node, the parents and the content. By.
	OpContent OpKind = 4
	// OpMode sets the permission bits: Mode.
	OpMode OpKind = 5
	// OpMtime sets the time of modification: Mtime.
	OpMtime OpKind = 6
	// OpXattr sets or deletes an extended attribute: Key, Value, Delete.
	OpXattr OpKind = 7
)

// Limits of the format. An operation beyond them does nothing, on every device.
const (
	MaxName   = 255      // bytes of a name
	MaxTarget = 4095     // bytes of a symlink's target
	MaxHeads  = 1024     // parents of an event, heads in Seen
	MaxKey    = 255      // bytes of an extended attribute's name
	MaxValue  = 64 << 10 // bytes of an extended attribute's value
	MaxBy     = 128      // bytes of an author's name
)

// Object is content as a whole: immutable bytes named by their hash.
type Object struct {
	Hash feed.Hash
	Size int64
}

// Op is one change of the tree. Which fields mean something depends on Do; the others are zero.
type Op struct {
	Do      OpKind
	Node    NodeID
	Kind    Kind
	Parent  NodeID
	Name    string
	Mode    uint32 // 07777 bits
	Target  string
	First   feed.Hash // of a file's first content
	Gen     uint32
	Seen    Version
	Event   EventID
	Parents Version
	Object  *Object  // nil: the event is text
	Text    [16]byte // the text that a text event belongs to: events of one text merge
	Time    int64    // unix ms by the author's clock; only shown
	Mtime   int64    // unix ns
	Key     string
	Value   []byte
	Delete  bool
	By      string // who made the event, if not the person at the device; only shown
}

// Stamped is an operation as it is applied.
type Stamped struct {
	Stamp   Stamp
	Op      Op
	Size    int64 // bytes of the text at an event of text, 0 where they are not known; local
	Applied int64 // unix ns when this device first applied it (an object: when its bytes came); local
}

// ValidName reports whether name can stand in a directory: 1 to MaxName bytes, without '/' and
// NUL, and neither "." nor "..".
func ValidName(name string) bool {
	return name != "" && len(name) <= MaxName && name != "." && name != ".." &&
		!strings.ContainsAny(name, "/\x00")
}

// first returns what the id of a created node is derived from, besides its birthplace.
func (op *Op) first() []byte {
	switch op.Kind {
	case File:
		return op.First[:]
	case Symlink:
		return []byte(op.Target)
	}
	return nil
}

// Hash is what tells this operation from another one of the same place in the order.
func (op *Op) Hash() OpHash {
	sum := blake3.Sum256(op.Encode())
	return OpHash(sum[:len(OpHash{})])
}

// Check fails where the operation is beyond the limits of the format: it would not decode, or would
// do nothing anywhere, whatever the tree. That it is not larger than MaxOp when it is encoded is
// left to who encodes it.
func (op *Op) Check() error {
	if !op.valid() || len(op.Seen) > MaxHeads || len(op.Parents) > MaxHeads {
		return errors.New("beyond the limits of an operation")
	}
	return nil
}

// valid checks all that can be checked without the tree.
func (op *Op) valid() bool {
	if op.Node == Root && (op.Do == OpCreate || op.Do == OpPlace || op.Do == OpRemove || op.Do == OpContent) {
		return false
	}
	switch op.Do {
	case OpCreate:
		if op.Kind < File || op.Kind > Symlink || !ValidName(op.Name) {
			return false
		}
		if op.Kind == Symlink && (op.Target == "" || len(op.Target) > MaxTarget || strings.Contains(op.Target, "\x00")) {
			return false
		}
		return op.Node == NodeIDFor(op.Kind, op.Parent, op.Name, op.first(), op.Gen)
	case OpPlace:
		return ValidName(op.Name)
	case OpRemove:
		return len(op.Seen) <= MaxHeads && ascending(op.Seen)
	case OpContent:
		return len(op.Parents) <= MaxHeads && ascending(op.Parents) && (op.Object == nil || op.Object.Size >= 0) && len(op.By) <= MaxBy
	case OpMode, OpMtime:
		return true
	case OpXattr:
		return op.Key != "" && len(op.Key) <= MaxKey && !strings.Contains(op.Key, "\x00") && len(op.Value) <= MaxValue
	}
	return false
}
