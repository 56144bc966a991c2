package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// MaxOp bounds an encoded operation, in bytes.
const MaxOp = 128 << 10

// ErrMalformed is returned for bytes that are not an operation in its one encoding.
var ErrMalformed = errors.New("malformed operation")

// An operation is a CBOR map from the numbers below to the fields that are not zero, Do and
// Node always, in the deterministic encoding of RFC 8949. Names are byte strings: a file
// system promises no encoding of them. The code is by hand because a folder's operations are
// all decoded when it is opened, and so that there is one encoding only, by construction.
const (
	keyDo = iota
	keyNode
	keyKind
	keyParent
	keyName
	keyMode
	keyTarget
	keyFirst
	keyGen
	keySeen
	keyEvent
	keyParents
	keyObject
	keyText
	keyTime
	keyMtime
	keyKey
	keyValue
	keyDelete
	keyBy
	numKeys
)

// Keys of an Object's map.
const (
	keyHash = 1
	keySize = 2
)

// Major types of CBOR, and the simple value for true.
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple

	simpleTrue = 21
)

// Encode returns the operation's canonical CBOR: equal operations have equal bytes.
func (op *Op) Encode() []byte {
	w := writer{b: make([]byte, 1, 160)}
	w.uint(keyDo, uint64(op.Do), true)
	w.bytes(keyNode, op.Node[:], true)
	w.uint(keyKind, uint64(op.Kind), op.Kind != 0)
	w.bytes(keyParent, op.Parent[:], op.Parent != NodeID{})
	w.bytes(keyName, []byte(op.Name), op.Name != "")
	w.uint(keyMode, uint64(op.Mode), op.Mode != 0)
	w.bytes(keyTarget, []byte(op.Target), op.Target != "")
	w.bytes(keyFirst, op.First[:], !op.First.IsZero())
	w.uint(keyGen, uint64(op.Gen), op.Gen != 0)
	w.version(keySeen, op.Seen)
	w.bytes(keyEvent, op.Event[:], !op.Event.IsZero())
	w.version(keyParents, op.Parents)
	if op.Object != nil {
		w.key(keyObject)
		w.head(majorMap, 2)
		w.head(majorUint, keyHash)
		w.string(op.Object.Hash[:])
		w.head(majorUint, keySize)
		w.int(op.Object.Size)
	}
	w.bytes(keyText, op.Text[:], op.Text != [16]byte{})
	w.signed(keyTime, op.Time)
	w.signed(keyMtime, op.Mtime)
	w.bytes(keyKey, []byte(op.Key), op.Key != "")
	w.bytes(keyValue, op.Value, len(op.Value) > 0)
	if op.Delete {
		w.key(keyDelete)
		w.head(majorSimple, simpleTrue)
	}
	w.bytes(keyBy, []byte(op.By), op.By != "")
	w.b[0] = majorMap<<5 | w.pairs // numKeys is below 24
	return w.b
}

// DecodeOp is the inverse of Encode. It accepts nothing but what Encode returns and wraps
// ErrMalformed otherwise. An operation that decodes may still be invalid: it then does nothing.
func DecodeOp(b []byte) (Op, error) {
	var op Op
	if err := op.UnmarshalCBOR(b); err != nil {
		return Op{}, err
	}
	return op, nil
}

// MarshalCBOR makes Op a part of larger formats.
func (op Op) MarshalCBOR() ([]byte, error) { return op.Encode(), nil }

// UnmarshalCBOR is the inverse of MarshalCBOR, as strict as DecodeOp. It keeps nothing of b.
func (op *Op) UnmarshalCBOR(b []byte) error {
	if len(b) > MaxOp {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	r := reader{b: b}
	var out Op
	n := r.head(majorMap)
	last := -1
	for i := uint64(0); i < n && !r.bad; i++ {
		key := int(min(r.head(majorUint), numKeys))
		// Do and Node come first, always; the others ascend.
		if key <= last || i < 2 && key != int(i) {
			r.bad = true
			break
		}
		last = key
		r.field(&out, key)
	}
	if r.bad || last < keyNode || len(r.b) > 0 {
		return fmt.Errorf("%w: at byte %d of %d", ErrMalformed, len(b)-len(r.b), len(b))
	}
	*op = out
	return nil
}

// field reads the value of a key.
func (r *reader) field(op *Op, key int) {
	zero := false // a field that is there is not zero
	switch key {
	case keyDo:
		op.Do = OpKind(r.uint(math.MaxUint8))
	case keyNode:
		r.fixed(op.Node[:])
	case keyKind:
		op.Kind = Kind(r.uint(math.MaxUint8))
		zero = op.Kind == 0
	case keyParent:
		r.fixed(op.Parent[:])
		zero = op.Parent == NodeID{}
	case keyName:
		op.Name = string(r.string())
		zero = op.Name == ""
	case keyMode:
		op.Mode = uint32(r.uint(math.MaxUint32))
		zero = op.Mode == 0
	case keyTarget:
		op.Target = string(r.string())
		zero = op.Target == ""
	case keyFirst:
		r.fixed(op.First[:])
		zero = op.First == feed.Hash{}
	case keyGen:
		op.Gen = uint32(r.uint(math.MaxUint32))
		zero = op.Gen == 0
	case keySeen:
		op.Seen = r.version()
		zero = len(op.Seen) == 0
	case keyEvent:
		r.fixed(op.Event[:])
		zero = op.Event == EventID{}
	case keyParents:
		op.Parents = r.version()
		zero = len(op.Parents) == 0
	case keyObject:
		op.Object = r.object()
	case keyText:
		r.fixed(op.Text[:])
		zero = op.Text == [16]byte{}
	case keyTime:
		op.Time = r.int()
		zero = op.Time == 0
	case keyMtime:
		op.Mtime = r.int()
		zero = op.Mtime == 0
	case keyKey:
		op.Key = string(r.string())
		zero = op.Key == ""
	case keyValue:
		op.Value = append([]byte(nil), r.string()...)
		zero = len(op.Value) == 0
	case keyDelete:
		op.Delete = r.head(majorSimple) == simpleTrue
		zero = !op.Delete
	case keyBy:
		op.By = string(r.string())
		zero = op.By == ""
	default:
		r.bad = true
	}
	r.bad = r.bad || zero
}

// writer appends the pairs of a map.
type writer struct {
	b     []byte
	pairs byte
}

func (w *writer) key(key uint64) {
	w.head(majorUint, key)
	w.pairs++
}

// head appends the first bytes of an item, as short as can be.
func (w *writer) head(major byte, n uint64) {
	major <<= 5
	switch {
	case n < 24:
		w.b = append(w.b, major|byte(n))
	case n <= math.MaxUint8:
		w.b = append(w.b, major|24, byte(n))
	case n <= math.MaxUint16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, major|25), uint16(n))
	case n <= math.MaxUint32:
		w.b = binary.BigEndian.AppendUint32(append(w.b, major|26), uint32(n))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, major|27), n)
	}
}

func (w *writer) uint(key, n uint64, there bool) {
	if there {
		w.key(key)
		w.head(majorUint, n)
	}
}

func (w *writer) int(n int64) {
	if n < 0 {
		w.head(majorNegative, uint64(^n))
	} else {
		w.head(majorUint, uint64(n))
	}
}

func (w *writer) signed(key uint64, n int64) {
	if n != 0 {
		w.key(key)
		w.int(n)
	}
}

func (w *writer) string(s []byte) {
	w.head(majorBytes, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) bytes(key uint64, s []byte, there bool) {
	if there {
		w.key(key)
		w.string(s)
	}
}

func (w *writer) version(key uint64, v Version) {
	if len(v) == 0 {
		return
	}
	w.key(key)
	w.head(majorArray, uint64(len(v)))
	for i := range v {
		w.string(v[i][:])
	}
}

// reader takes items off b. Once bad, what it returns means nothing.
type reader struct {
	b   []byte
	bad bool
}

// any takes the first bytes of an item.
func (r *reader) any() (major byte, n uint64) {
	if r.bad || len(r.b) == 0 {
		r.bad = true
		return 0, 0
	}
	first := r.b[0]
	r.b = r.b[1:]
	major, n = first>>5, uint64(first&31)
	if n < 24 {
		return major, n
	}
	size := 1 << (n - 24)
	if n > 27 || len(r.b) < size {
		r.bad = true
		return 0, 0
	}
	var wide [8]byte
	copy(wide[8-size:], r.b[:size])
	r.b = r.b[size:]
	n = binary.BigEndian.Uint64(wide[:])
	// What fits into a shorter form must be in it.
	if size == 1 && n < 24 || size > 1 && n>>(4*size) == 0 {
		r.bad = true
	}
	return major, n
}

func (r *reader) head(want byte) uint64 {
	major, n := r.any()
	if major != want {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) uint(most uint64) uint64 {
	n := r.head(majorUint)
	r.bad = r.bad || n > most
	return n
}

func (r *reader) int() int64 {
	major, n := r.any()
	r.bad = r.bad || major > majorNegative || n > math.MaxInt64
	if major == majorNegative {
		return ^int64(n)
	}
	return int64(n)
}

// string takes a byte string; it is part of b.
func (r *reader) string() []byte {
	n := r.head(majorBytes)
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) fixed(into []byte) {
	s := r.string()
	r.bad = r.bad || len(s) != len(into)
	copy(into, s)
}

func (r *reader) version() Version {
	n := r.head(majorArray)
	// An id and its head are 34 bytes: no more room is made than was paid for.
	if r.bad || n > MaxHeads || n > uint64(len(r.b))/34 {
		r.bad = true
		return nil
	}
	v := make(Version, n)
	for i := range v {
		r.fixed(v[i][:])
	}
	return v
}

func (r *reader) object() *Object {
	o := &Object{}
	r.bad = r.head(majorMap) != 2 || r.bad
	r.bad = r.head(majorUint) != keyHash || r.bad
	r.fixed(o.Hash[:])
	r.bad = r.head(majorUint) != keySize || r.bad
	o.Size = r.int()
	return o
}
