package text

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// An event is written as canonical CBOR (RFC 8949, 4.2): [1, [[parent…], [[[pos, del, ins]…]…], nonce]]. Every save and every
// event that is read again passes here and is hashed, so both directions are written by hand; tests hold them against a
// CBOR library.

// format is the first element of an encoded event: by which rules of merging its positions hold, if it is made on several
// events. It is part of the event's id. Rules that merge otherwise need another one, and payloads that say so (crdt.Rules).
const format = 1

// Major types of CBOR.
const (
	majorUint  = 0
	majorNeg   = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
)

// Encode is the canonical form of the event: the same bytes on every device.
func (e *Event) Encode() []byte {
	size := 32 + len(e.Nonce) + 34*len(e.Parents)
	for _, h := range e.Hunks {
		size += 5
		for _, s := range h {
			size += 12 + len(s.Ins)
		}
	}
	return appendBytes(appendHunks(e.appendStart(make([]byte, 0, size)), e.Hunks), e.Nonce)
}

// appendStart writes all that is in front of the hunks.
func (e *Event) appendStart(b []byte) []byte {
	b = appendHead(b, majorArray, 2)
	b = appendHead(b, majorUint, format)
	return appendParents(b, e.Parents)
}

func appendEvent(b []byte, parents []ID, hunks []Hunk, nonce []byte) []byte {
	return appendBytes(appendHunks(appendParents(b, parents), hunks), nonce)
}

// appendParents writes the start of an event, up to its hunks.
func appendParents(b []byte, parents []ID) []byte {
	b = appendHead(b, majorArray, 3)
	b = appendHead(b, majorArray, uint64(len(parents)))
	for i := range parents {
		b = appendBytes(b, parents[i][:])
	}
	return b
}

func appendHunks(b []byte, hunks []Hunk) []byte {
	b = appendHead(b, majorArray, uint64(len(hunks)))
	for _, h := range hunks {
		b = appendHead(b, majorArray, uint64(len(h)))
		for i := range h {
			b = append(h[i].appendStart(b), h[i].Ins...)
		}
	}
	return b
}

// appendStart writes all of a splice that is in front of its text.
func (s *Splice) appendStart(b []byte) []byte {
	b = appendHead(b, majorArray, 3)
	b = appendInt(b, s.Pos)
	b = appendInt(b, s.Del)
	return appendHead(b, majorText, uint64(len(s.Ins)))
}

func appendBytes(b, s []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

// appendHead writes a major type and its argument in the shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendInt(b []byte, n int) []byte {
	if n < 0 {
		return appendHead(b, majorNeg, uint64(-1-n))
	}
	return appendHead(b, majorUint, uint64(n))
}

// DecodeEvent reads what Encode wrote, and refuses every other spelling of it with ErrMalformed.
func DecodeEvent(b []byte) (Event, error) {
	if len(b) > MaxEvent {
		return Event{}, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxEvent)
	}
	d := decoder{rest: b}
	e := d.event()
	if d.problem == "" && len(d.rest) > 0 {
		d.problem = "more bytes behind it"
	}
	if d.problem != "" {
		return Event{}, fmt.Errorf("%w: %s, %d bytes before the end", ErrMalformed, d.problem, len(d.rest))
	}
	if err := e.check(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// decoder reads canonical CBOR. After the first problem it gives nothing more.
type decoder struct {
	rest    []byte
	problem string
}

func (d *decoder) event() (e Event) {
	d.array(2, 2)
	if f := d.head(majorUint); f != format {
		d.fail("unknown format")
	}
	d.array(3, 3)
	if n := d.array(0, MaxParents); n > 0 {
		e.Parents = make([]ID, n)
		for i := range e.Parents {
			if copy(e.Parents[i][:], d.bytes(majorBytes)) != len(ID{}) {
				d.fail("a parent that is no id")
			}
		}
	}
	if n := d.array(0, MaxSplices); n > 0 {
		e.Hunks = make([]Hunk, n)
		splices := 0
		for i := range e.Hunks {
			h := make(Hunk, d.array(0, MaxSplices-splices))
			splices += len(h)
			for k := range h {
				d.array(3, 3)
				h[k] = Splice{Pos: d.int(), Del: d.int(), Ins: d.text()}
			}
			e.Hunks[i] = h
		}
	}
	if n := d.bytes(majorBytes); len(n) > 0 {
		e.Nonce = append([]byte(nil), n...)
	}
	return e
}

func (d *decoder) fail(problem string) {
	if d.problem == "" {
		d.problem = problem
	}
}

// head reads the argument of an item of the given major type.
func (d *decoder) head(major byte) uint64 {
	if d.problem != "" {
		return 0
	}
	if len(d.rest) == 0 || d.rest[0]>>5 != major {
		d.fail("another type")
		return 0
	}
	info := d.rest[0] & 0x1f
	d.rest = d.rest[1:]
	if info < 24 {
		return uint64(info)
	}
	size := 1 << (info - 24)
	if info > 27 || len(d.rest) < size {
		d.fail("a number that is cut or endless")
		return 0
	}
	var n uint64
	for _, x := range d.rest[:size] {
		n = n<<8 | uint64(x)
	}
	d.rest = d.rest[size:]
	if n < 24 || size > 1 && n>>(4*size) == 0 {
		d.fail("a number in a longer form")
	}
	return n
}

// array reads the length of an array. Each element takes a byte at least, so none longer than the rest is made room for.
func (d *decoder) array(least, most int) int {
	n := d.head(majorArray)
	if d.problem == "" && (n < uint64(least) || n > uint64(most) || n > uint64(len(d.rest))) {
		d.fail("an array of another length")
	}
	if d.problem != "" {
		return 0
	}
	return int(n)
}

func (d *decoder) int() int {
	n := d.head(majorUint)
	if n > math.MaxInt32 {
		d.fail("a position beyond any text")
	}
	return int(n)
}

func (d *decoder) bytes(major byte) []byte {
	n := d.head(major)
	if n > uint64(len(d.rest)) {
		d.fail("a string that is cut")
	}
	if d.problem != "" {
		return nil
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) text() string {
	s := d.bytes(majorText)
	if !utf8.Valid(s) {
		d.fail("text that is not UTF-8")
	}
	return string(s)
}
