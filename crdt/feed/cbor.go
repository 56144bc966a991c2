package feed

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The modes of CBOR of this package. Decoding refuses what a strict decoder can refuse;
// the rest shows when the result is encoded again and compared.
var (
	encMode = must(cbor.CoreDetEncOptions().UserBufferEncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: MaxFeeds,
		MaxMapPairs:      16,
	}.DecMode())

	// anyMode reads of what a later version wrote only which version that is.
	anyMode = must(cbor.DecOptions{IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden}.DecMode())
)

func encode(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(err) // our own types always encode
	}
	return b
}

// encodeLong is encode of what takes at most size bytes. The library would keep a buffer as long
// as that for the next who encodes something.
func encodeLong(size int, v any) []byte {
	if size < longEncoding {
		return encode(v)
	}
	b := bytes.NewBuffer(make([]byte, 0, size))
	if err := encMode.MarshalToBuffer(v, b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// longEncoding is how many bytes nobody should keep a buffer for.
const longEncoding = 1 << 20

func decode(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return nil
}

// must is for options that are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
