package feed

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Limits of the format. Makers obey them too: an entry that one device accepts, every
// device accepts.
const (
	MaxEntry = 24 << 20 // bytes of an encoded entry
	MaxPlain = 64 << 20 // bytes of an entry's operations, before compression
)

// Kinds of errors; test for them with errors.Is.
var (
	ErrMalformed = errors.New("malformed")
	ErrSignature = errors.New("signature does not verify")
	ErrTooLarge  = errors.New("too large")
	ErrKey       = errors.New("wrong key")
	ErrNewer     = errors.New("made by a newer sheaf") // of a format that is not known here: no fault of anybody's
)

const (
	version          = 2
	entryContext     = "sheaf 2026-11 hash of an entry v2"
	signatureContext = "sheaf entry v2\x00"

	// signatureLen is what follows the hashed bytes: the head of a byte string of 64, and it.
	signatureLen = 2 + ed25519.SignatureSize
)

// Draft is what the maker of an entry says about it.
type Draft struct {
	Folder   Folder
	Feed     ID
	Seq      uint64
	Prev     Hash   // hash of entry Seq-1; zero for the first one
	Frontier []Head // heads of other feeds that changed since Prev, in any order
	Time     time.Time
}

// Entry is one signed entry of a feed. Make it with Seal or Decode; it must not be changed
// and is safe for concurrent use.
type Entry struct {
	Folder    Folder
	Feed      ID
	Seq       uint64
	Prev      Hash
	Frontier  []Head // ascending; feeds other than the entry's own
	Epoch     Epoch
	Time      int64  // milliseconds since 1970, by the maker's clock
	Payload   []byte // salt and ciphertext
	Signature [ed25519.SignatureSize]byte

	raw    []byte // as signed; Payload is part of it
	header []byte // part of raw
	hash   Hash
}

// Bytes returns the entry as it is stored and sent. It must not be changed.
func (e *Entry) Bytes() []byte { return e.raw }

// Hash names the entry. It covers everything but the signature.
func (e *Entry) Hash() Hash { return e.hash }

// Head returns the entry as the head of its feed.
func (e *Entry) Head() Head { return Head{Feed: e.Feed, Seq: e.Seq, Hash: e.hash} }

// Verify checks that the entry was signed by the device of its feed, and that this device's
// key can be trusted to sign at all. It fails with ErrSignature or ErrMalformed. Whether the
// device may write is not its business.
func (e *Entry) Verify() error {
	if err := e.Feed.Device.Check(); err != nil {
		return fmt.Errorf("entry %s: %w", e.name(), err)
	}
	if !ed25519.Verify(e.Feed.Device[:], toSign(e.hash), e.Signature[:]) {
		return fmt.Errorf("entry %s: %w", e.name(), ErrSignature)
	}
	return nil
}

// Decode reads an entry of a folder, which is not in b: an entry of another one decodes, and does
// not verify. It fails with ErrMalformed or ErrTooLarge for everything that is
// not exactly what Bytes of a valid entry returns, and with ErrNewer for an entry of a later version
// of the format; it does not verify the signature. It keeps no reference to b.
func Decode(folder Folder, b []byte) (*Entry, error) {
	e, err := DecodeStored(folder, b)
	if err != nil {
		return nil, err
	}
	// Encoding again is what makes decoding strict: lengths of arrays, spare bytes and
	// unusual spellings all show as a difference.
	e.encode()
	e.setSignature()
	if !bytes.Equal(e.raw, b) {
		return nil, fmt.Errorf("entry %s: encoding not canonical: %w", e.name(), ErrMalformed)
	}
	return e, nil
}

// DecodeStored is Decode of an entry that was verified before it was stored, to be opened: what only
// verifying and passing it on take, its hash and Bytes, is not made. Its payload still has to authenticate.
func DecodeStored(folder Folder, b []byte) (*Entry, error) {
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("entry of %d bytes: %w", len(b), ErrTooLarge)
	}
	var f wireEntry
	if err := decode(b, &f); err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	var h wireHeader
	err := decode(f.Header, &h)
	if err != nil {
		h.Version = versionOf(f.Header) // a later one may have more in it
	}
	switch {
	case h.Version > version:
		return nil, fmt.Errorf("entry: format %d, and here it is %d: %w", h.Version, version, ErrNewer)
	case err != nil:
		return nil, fmt.Errorf("entry: header: %w", err)
	case h.Version != version:
		return nil, fmt.Errorf("entry: version %d is not known here: %w", h.Version, ErrMalformed)
	}
	if len(f.Signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("entry: signature of %d bytes: %w", len(f.Signature), ErrMalformed)
	}
	e := &Entry{
		Folder: folder, Feed: ID{Device: h.Device, Run: h.Run}, Seq: h.Seq, Prev: h.Prev,
		Frontier: headsOf(h.Frontier), Epoch: h.Epoch, Time: h.Time, Payload: f.Payload,
		header: f.Header,
	}
	copy(e.Signature[:], f.Signature)
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

// versionOf returns the version of a header of any version; 0 if it is none.
func versionOf(header []byte) (v uint64) {
	var fields []cbor.RawMessage
	if anyMode.Unmarshal(header, &fields) != nil || len(fields) == 0 || decode(fields[0], &v) != nil {
		return 0
	}
	return v
}

// check holds the rules that makers and readers of entries share.
func (e *Entry) check() error {
	switch {
	case e.Seq < 1 || e.Seq > MaxSeq || e.Feed.Run > MaxSeq:
		return fmt.Errorf("entry %s: number out of range: %w", e.name(), ErrMalformed)
	case (e.Seq == 1) != e.Prev.IsZero():
		return fmt.Errorf("entry %s: only a feed's first entry has no predecessor: %w", e.name(), ErrMalformed)
	case len(e.Frontier) > MaxFrontier:
		return fmt.Errorf("entry %s: frontier of %d feeds: %w", e.name(), len(e.Frontier), ErrTooLarge)
	case len(e.Payload) < minPayload:
		return fmt.Errorf("entry %s: payload of %d bytes: %w", e.name(), len(e.Payload), ErrMalformed)
	}
	if err := checkHeads(e.Frontier); err != nil {
		return fmt.Errorf("entry %s: %w", e.name(), err)
	}
	if slices.ContainsFunc(e.Frontier, func(h Head) bool { return h.Feed == e.Feed }) {
		return fmt.Errorf("entry %s: frontier names its own feed: %w", e.name(), ErrMalformed)
	}
	return nil
}

// encode fills raw (with a zero signature), what lies in it, and the hash.
func (e *Entry) encode() {
	header := e.encodeHeader()
	e.raw = encodeLong(len(header)+len(e.Payload)+1024, wireEntry{Header: header, Payload: e.Payload, Signature: make([]byte, ed25519.SignatureSize)})
	signed := e.raw[:len(e.raw)-signatureLen]
	e.Payload = signed[len(signed)-len(e.Payload) : len(signed) : len(signed)]
	e.header = header
	forEntry.sum(&e.hash, e.Folder[:], signed)
}

func (e *Entry) setSignature() {
	copy(e.raw[len(e.raw)-ed25519.SignatureSize:], e.Signature[:])
}

func (e *Entry) encodeHeader() []byte {
	return encode(wireHeader{
		Version: version, Device: e.Feed.Device, Run: e.Feed.Run, Seq: e.Seq,
		Prev: e.Prev, Frontier: wireHeads(e.Frontier), Epoch: e.Epoch, Time: e.Time,
	})
}

// name tells people which entry an error is about.
func (e *Entry) name() string { return fmt.Sprintf("%s#%d", e.Feed, e.Seq) }

func toSign(h Hash) []byte { return append([]byte(signatureContext), h[:]...) }

type wireEntry struct {
	_         struct{} `cbor:",toarray"`
	Header    []byte
	Payload   []byte
	Signature []byte
}

type wireHeader struct {
	_        struct{} `cbor:",toarray"`
	Version  uint64
	Device   Device
	Run      uint64
	Seq      uint64
	Prev     Hash
	Frontier []wireHead
	Epoch    Epoch
	Time     int64
}
