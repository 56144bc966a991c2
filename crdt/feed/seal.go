package feed

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	payloadContext = "sheaf 2026-01 key of entry payloads v1"
	nonceContext   = "sheaf 2026-11 nonce of an entry's payload v2"

	saltSize   = 8
	minPayload = saltSize + 1 + chacha20poly1305.Overhead
)

// The first byte of packed operations says how they are packed.
const (
	packedPlain = iota
	packedZstd
)

// Seal makes the entry that d describes: it compresses plain, encrypts it with key, and
// signs the whole with priv, which must be the key of d's device. It fails with ErrTooLarge
// when plain, or what becomes of it, is beyond the limits (split it then), with ErrKey when
// priv is of another device, and with ErrMalformed when d is not a valid draft.
func Seal(priv ed25519.PrivateKey, key Key, d Draft, plain []byte) (*Entry, error) {
	frontier := slices.Clone(d.Frontier)
	slices.SortFunc(frontier, func(a, b Head) int { return Compare(a.Feed, b.Feed) })
	e := &Entry{
		Folder: d.Folder, Feed: d.Feed, Seq: d.Seq, Prev: d.Prev, Frontier: frontier,
		Epoch: key.Epoch(), Time: d.Time.UnixMilli(),
	}
	if len(priv) != ed25519.PrivateKeySize || DeviceOf(priv) != d.Feed.Device {
		return nil, fmt.Errorf("entry %s: signing: %w", e.name(), ErrKey)
	}
	if len(plain) > MaxPlain {
		return nil, fmt.Errorf("entry %s: %d bytes of operations: %w", e.name(), len(plain), ErrTooLarge)
	}
	payload, err := pack(plain)
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", e.name(), err)
	}
	e.sealPacked(key, payload)
	if err := e.check(); err != nil {
		return nil, err
	}
	e.encode()
	if len(e.raw) > MaxEntry {
		return nil, fmt.Errorf("entry %s: %d bytes: %w", e.name(), len(e.raw), ErrTooLarge)
	}
	copy(e.Signature[:], ed25519.Sign(priv, toSign(e.hash)))
	e.setSignature()
	return e, nil
}

// sealPacked makes the payload of an entry whose header is set, of what pack returned.
func (e *Entry) sealPacked(key Key, payload []byte) {
	salt, packed := payload[:saltSize], payload[saltSize:]
	rand.Read(salt) // never fails: crypto/rand ends the process instead
	place := e.place(e.encodeHeader())
	e.Payload = key.aead().Seal(salt, nonce(place, salt), packed, place) // in the same place
}

// place is what a payload is bound to.
func (e *Entry) place(header []byte) []byte { return slices.Concat(e.Folder[:], header) }

// nonce makes one from the place of a payload and its salt.
func nonce(place, salt []byte) []byte {
	var sum Hash
	forNonce.sum(&sum, place, salt)
	return sum[:chacha20poly1305.NonceSizeX]
}

// pack compresses operations where that makes them shorter: one changed line has nothing to
// compress, and zstd has a header. There is room for a salt in front.
func pack(plain []byte) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, err
	}
	const head = saltSize + 1
	room := func(n int) []byte { return make([]byte, head, head+n+chacha20poly1305.Overhead) }
	packed := room(64 + len(plain)/2)
	packed[saltSize] = packedZstd
	if packed = enc.EncodeAll(plain, packed); len(packed)-saltSize <= len(plain) {
		return packed, nil
	}
	packed = room(len(plain))
	packed[saltSize] = packedPlain
	return append(packed, plain...), nil
}

// Open returns the operations of an entry. It fails with ErrKey when key is not of the
// entry's epoch, with ErrMalformed when the payload is not what that key sealed for this
// place, with ErrTooLarge when it unpacks to more than MaxPlain bytes, and with ErrNewer when it is
// packed in a way that is not known here.
func (e *Entry) Open(key Key) ([]byte, error) {
	if key.Epoch() != e.Epoch {
		return nil, fmt.Errorf("entry %s: of epoch %.8s: %w", e.name(), e.Epoch, ErrKey)
	}
	salt, sealed := e.Payload[:saltSize], e.Payload[saltSize:]
	place := e.place(e.header)
	packed, err := key.aead().Open(nil, nonce(place, salt), sealed, place)
	if err != nil {
		return nil, fmt.Errorf("entry %s: payload does not authenticate: %w", e.name(), ErrMalformed)
	}
	switch {
	case packed[0] == packedPlain:
		return packed[1:], nil
	case packed[0] != packedZstd:
		return nil, fmt.Errorf("entry %s: payload packed in way %d: %w", e.name(), packed[0], ErrNewer)
	}
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", e.name(), err)
	}
	plain, err := dec.DecodeAll(packed[1:], nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded), len(plain) > MaxPlain:
		return nil, fmt.Errorf("entry %s: payload: %w", e.name(), ErrTooLarge)
	case err != nil:
		return nil, fmt.Errorf("entry %s: payload: %w: %v", e.name(), ErrMalformed, err)
	}
	return plain, nil
}

// aead returns the cipher of payloads: a key of its own, so that k can serve other purposes.
func (k Key) aead() cipher.AEAD {
	var sub Hash
	forPayload.sum(&sub, k[:])
	a, err := chacha20poly1305.NewX(sub[:])
	if err != nil {
		panic(err) // the length of a key is fixed
	}
	return a
}

// One encoder and one decoder serve everyone: EncodeAll and DecodeAll are safe for
// concurrent use. They are made when first needed, because they are large.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxPlain), zstd.WithDecoderMaxWindow(MaxPlain))
	})
)
