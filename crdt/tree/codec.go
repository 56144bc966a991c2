package tree

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// MaxOp bounds an encoded operation, in bytes.
const MaxOp = 128 << 10

// ErrMalformed is returned for bytes that are not an operation in its one encoding.
var ErrMalformed = errors.New("malformed operation")

// Names are bytes, not text: a file system promises no encoding of them.
var encMode = must(func() (cbor.EncMode, error) {
	o := cbor.CoreDetEncOptions()
	o.String = cbor.StringToByteString
	return o.EncMode()
}())

var decMode = must(cbor.DecOptions{
	DupMapKey:          cbor.DupMapKeyEnforcedAPF,
	IndefLength:        cbor.IndefLengthForbidden,
	TagsMd:             cbor.TagsForbidden,
	ByteStringToString: cbor.ByteStringToStringAllowed,
	ExtraReturnErrors:  cbor.ExtraDecErrorUnknownField,
	MaxNestedLevels:    4,
	MaxArrayElements:   MaxHeads,
	MaxMapPairs:        32,
}.DecMode())

// wireOp is Op without methods, so that encoding it does not call Op's own.
type wireOp Op

// Encode returns the operation's canonical CBOR: equal operations have equal bytes.
func (op *Op) Encode() []byte {
	b, err := encMode.Marshal((*wireOp)(op))
	if err != nil {
		panic(err) // no field can fail to encode
	}
	return b
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

// UnmarshalCBOR is the inverse of MarshalCBOR, as strict as DecodeOp.
func (op *Op) UnmarshalCBOR(b []byte) error {
	if len(b) > MaxOp {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	var w wireOp
	if err := decMode.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	// What the decoder lets pass (short arrays, long integers, order) shows here.
	if !bytes.Equal((*Op)(&w).Encode(), b) {
		return fmt.Errorf("%w: not canonical", ErrMalformed)
	}
	*op = Op(w)
	return nil
}

// must is for options that are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
