package crdt

import (
	"errors"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Rules is the highest number of the rules by which this sheaf reads operations: which kinds and
// fields there are, and how texts that were changed apart merge. The last is part of what an
// operation says: an event on several versions holds positions in what they merge to, and is
// misread by other rules, without anybody noticing.
//
// A payload is an array of operations. One that takes rules above 1 begins with their number, and
// what follows is up to them:
//
//	[operation, …]    rules 1
//	[number, …]       rules of that number, from 2 on
//
// A sheaf that meets a number above its own takes the entry in and passes it on, and does nothing
// for it before it is replaced by one that knows more (unread.go). For whoever raises Rules:
//   - what rules of a number mean never changes, however many come after them: a kind or an event
//     format (crdt/text) that rules 1 do not know does nothing in a payload without a number, for ever;
//   - a payload has the lowest number that it can be read by, so that older sheafs miss no more than
//     they must. What admits devices is by rules 1, or they would have to refuse the new device;
//   - a numbered payload that does not decode is taken and does nothing (operations): an older sheaf
//     has taken it, passes it on, and cannot know better.
const Rules = 1

// language is what a sheaf reads and writes: today's, unless a test has another one.
type language struct {
	rules  uint64 // the highest number that it reads
	encode func([]op) []byte
	decode func(plain []byte) ([]op, error)
}

var today = language{rules: Rules, encode: encodeOps, decode: decodeOps}

// unreadError says that a payload takes rules that are not known here.
type unreadError struct{ rules uint64 }

func (unreadError) Error() string   { return feed.ErrNewer.Error() }
func (unreadError) Is(e error) bool { return e == feed.ErrNewer }

// operations reads those of an entry. It fails with an unreadError where they are by rules above
// this sheaf's, and with feed.ErrMalformed, feed.ErrTooLarge or feed.ErrKey. size is the bytes that
// they unpack to.
func (l *language) operations(e *feed.Entry, key feed.Key) (ops []op, size int, err error) {
	plain, err := e.Open(key)
	if errors.Is(err, feed.ErrNewer) {
		return nil, 0, unreadError{l.rules + 1} // a new way to pack comes with new rules
	} else if err != nil {
		return nil, 0, err
	}
	n, numbered := leadingNumber(plain)
	if numbered && n > l.rules {
		return nil, 0, unreadError{n}
	}
	ops, err = l.decode(plain)
	if numbered && n > 1 && err != nil {
		return nil, len(plain), nil
	}
	return ops, len(plain), err
}

// leadingNumber returns the first element of an array in CBOR, if that is a number. It looks at
// nothing behind it.
func leadingNumber(b []byte) (n uint64, ok bool) {
	count, rest, ok := cborHead(b, majorArray)
	if !ok || count == 0 {
		return 0, false
	}
	n, _, ok = cborHead(rest, majorUint)
	return n, ok
}

// Major types of CBOR.
const (
	majorUint  = 0
	majorArray = 4
)

// cborHead reads the argument of an item of a major type, and returns what follows it.
func cborHead(b []byte, major byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0]>>5 != major {
		return 0, nil, false
	}
	info := b[0] & 0x1f
	b = b[1:]
	if info < 24 {
		return uint64(info), b, true
	}
	if info > 27 || len(b) < 1<<(info-24) {
		return 0, nil, false
	}
	size := 1 << (info - 24)
	for _, x := range b[:size] {
		n = n<<8 | uint64(x)
	}
	return n, b[size:], true
}
