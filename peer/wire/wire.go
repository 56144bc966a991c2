// Package wire is the language that devices speak on their streams: frames of canonical
// CBOR behind a length and a kind, every one of them bounded.
//
//	frame = length of what follows (4 bytes, big endian) | kind (1 byte) | body (CBOR)
//
// Read trusts nothing: a frame longer than its kind allows is refused before memory is spent
// on it, and so is a body that is not spelled the one canonical way. The version of the
// language is part of the ALPN name; golden files in testdata hold it still.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// ALPN names the language and its version during the TLS handshake.
const ALPN = "sheaf/1"

// ALPN2 is the language with the kinds of frames that came later: Digest, Ask and
// Checkpoint. Who does not know them chooses ALPN, and is sent none.
const ALPN2 = "sheaf/1.1"

// ErrMalformed is wrapped by every error of Read that is the sender's fault.
var ErrMalformed = errors.New("malformed frame")

// headerLen is the length of a frame's length and kind.
const headerLen = 5

// trustLen is how much memory a frame's claimed length alone is worth; for longer frames it
// grows as bytes arrive.
const trustLen = 1 << 20

var (
	enc = must(cbor.CoreDetEncOptions().UserBufferEncMode())
	dec = must(cbor.DecOptions{
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  8,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options that do not fit together: a mistake in this file
	}
	return v
}

// Writer writes frames, one Write call each. It is not safe for concurrent use.
type Writer struct {
	w   io.Writer
	buf bytes.Buffer
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends m. A message that breaks the limits is an error and sends nothing.
func (w *Writer) Write(m Message) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("write %T: %w", m, err)
	}
	w.buf.Reset()
	w.buf.Write(make([]byte, headerLen))
	if err := enc.MarshalToBuffer(m, &w.buf); err != nil {
		return fmt.Errorf("write %T: %w", m, err)
	}
	b := w.buf.Bytes()
	k := m.kind()
	if n := len(b) - headerLen; n > kinds[k].limit && !fault.On("peer-floods") {
		return fmt.Errorf("write %T: %d bytes, at most %d are allowed", m, n, kinds[k].limit)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	b[4] = byte(k)
	_, err := w.w.Write(b)
	return err
}

// Reader reads frames. It is not safe for concurrent use.
type Reader struct {
	r      io.Reader
	header [headerLen]byte
	buf    []byte
	again  bytes.Buffer
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read returns the next message. It returns io.EOF at the end of the stream between two
// frames, an error that wraps ErrMalformed for what breaks the rules, and other errors as
// the stream gave them. The message shares no memory with the Reader.
func (r *Reader) Read() (Message, error) {
	if _, err := io.ReadFull(r.r, r.header[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(r.header[:])) - 1
	k := kind(r.header[4])
	spec, ok := kinds[k]
	if !ok {
		return nil, fmt.Errorf("%w: of unknown kind %d", ErrMalformed, k)
	}
	if n < 0 || n > int64(spec.limit) {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", ErrMalformed, spec.name, n, spec.limit)
	}
	body, err := r.body(int(n))
	if err != nil {
		return nil, err
	}
	m := spec.empty()
	if err := dec.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, spec.name, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, spec.name, err)
	}
	r.again.Reset()
	if err := enc.MarshalToBuffer(m, &r.again); err != nil || !bytes.Equal(r.again.Bytes(), body) {
		return nil, fmt.Errorf("%w: %s: encoding not canonical", ErrMalformed, spec.name)
	}
	return m, nil
}

func (r *Reader) body(n int) ([]byte, error) {
	for have := 0; have < n; {
		next := min(n, max(trustLen, 2*have))
		if cap(r.buf) < next {
			r.buf = append(make([]byte, 0, next), r.buf[:have]...)
		}
		r.buf = r.buf[:next]
		if _, err := io.ReadFull(r.r, r.buf[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		have = next
	}
	b := r.buf[:n]
	if cap(r.buf) > 4*trustLen {
		r.buf = nil // one huge entry does not cost its memory for good
	}
	return b, nil
}
