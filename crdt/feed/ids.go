package feed

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/base32"
	"encoding/hex"
	"fmt"

	"filippo.io/edwards25519"
)

// Device names a device: it is the device's Ed25519 public key.
type Device [32]byte

// Folder names a folder.
type Folder [32]byte

// Hash is a BLAKE3-256.
type Hash [32]byte

// Epoch names a folder key without giving it away.
type Epoch [32]byte

// Key is a folder's symmetric key. It has no String method that would print it.
type Key [32]byte

// base32 without padding, lower case: what people copy by hand.
var textEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// DeviceOf returns the device whose private key is priv.
func DeviceOf(priv ed25519.PrivateKey) Device {
	return Device(priv.Public().(ed25519.PublicKey))
}

// String returns the device as 52 characters of lower-case base32.
func (d Device) String() string { return textEncoding.EncodeToString(d[:]) }

// Short returns the first eight characters of String, for people; it does not name the
// device safely.
func (d Device) Short() string { return d.String()[:8] }

// IsZero reports whether d is no device at all.
func (d Device) IsZero() bool { return d == Device{} }

// Check reports whether d can be a device: a canonical point of the curve that is not of
// small order. For a small-order key one signature verifies any message, so such a key
// must never be admitted (it wraps ErrMalformed).
func (d Device) Check() error {
	p, err := new(edwards25519.Point).SetBytes(d[:])
	if err != nil {
		return fmt.Errorf("device %s: not a key: %w", d.Short(), ErrMalformed)
	}
	if !bytes.Equal(p.Bytes(), d[:]) {
		return fmt.Errorf("device %s: key not canonical: %w", d.Short(), ErrMalformed)
	}
	if p.MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return fmt.Errorf("device %s: key of small order: %w", d.Short(), ErrMalformed)
	}
	return nil
}

// ParseDevice is the inverse of Device.String. It accepts one spelling only, and only of
// keys that Check accepts.
func ParseDevice(s string) (Device, error) {
	var d Device
	if err := parseText(s, d[:]); err != nil {
		return Device{}, fmt.Errorf("device %q: %w", clip(s), err)
	}
	if err := d.Check(); err != nil {
		return Device{}, err
	}
	return d, nil
}

// MarshalText makes a device readable in JSON, also as a key of maps.
func (d Device) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (d *Device) UnmarshalText(b []byte) error {
	v, err := ParseDevice(string(b))
	if err == nil {
		*d = v
	}
	return err
}

// String returns the folder as 52 characters of lower-case base32.
func (f Folder) String() string { return textEncoding.EncodeToString(f[:]) }

// Short returns the first eight characters of String, for people.
func (f Folder) Short() string { return f.String()[:8] }

// IsZero reports whether f is no folder at all.
func (f Folder) IsZero() bool { return f == Folder{} }

// ParseFolder is the inverse of Folder.String. It accepts one spelling only.
func ParseFolder(s string) (Folder, error) {
	var f Folder
	if err := parseText(s, f[:]); err != nil {
		return Folder{}, fmt.Errorf("folder %q: %w", clip(s), err)
	}
	return f, nil
}

// MarshalText makes a folder readable in JSON, also as a key of maps.
func (f Folder) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (f *Folder) UnmarshalText(b []byte) error {
	v, err := ParseFolder(string(b))
	if err == nil {
		*f = v
	}
	return err
}

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is no hash at all.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText makes a hash readable in JSON, also as a key of maps.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (h *Hash) UnmarshalText(b []byte) error {
	v, err := hex.DecodeString(string(b))
	if err != nil || len(v) != len(h) {
		return fmt.Errorf("hash %q: %w", clip(string(b)), ErrMalformed)
	}
	copy(h[:], v)
	return nil
}

// Xor adds hashes up so that their order does not matter.
func (h Hash) Xor(o Hash) Hash {
	for i := range h {
		h[i] ^= o[i]
	}
	return h
}

// Compare orders hashes by their bytes.
func (h Hash) Compare(o Hash) int { return bytes.Compare(h[:], o[:]) }

// String returns the epoch in hexadecimal.
func (e Epoch) String() string { return hex.EncodeToString(e[:]) }

// Epoch returns the name of k. Finding two keys of one name is as hard as finding a
// collision of BLAKE3, so an entry that names its epoch is committed to one key.
func (k Key) Epoch() Epoch {
	var h Hash
	forEpoch.sum(&h, k[:])
	return Epoch(h)
}

// String hides the key from logs.
func (k Key) String() string { return "key of epoch " + k.Epoch().String()[:8] }

// GoString hides the key from logs, too.
func (k Key) GoString() string { return k.String() }

// ID names a feed: a device, and which of its runs. A device that finds that its own feed
// went on without it (a restored home) begins a new run.
type ID struct {
	_      struct{} `cbor:",toarray"`
	Device Device   `json:"device"`
	Run    uint64   `json:"run"`
}

// Compare orders feeds by device, then run.
func Compare(a, b ID) int {
	return cmp.Or(bytes.Compare(a.Device[:], b.Device[:]), cmp.Compare(a.Run, b.Run))
}

// String returns the device's short form and the run, for people.
func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Device.Short(), id.Run) }

func parseText(s string, into []byte) error {
	b, err := textEncoding.DecodeString(s)
	// The last character has bits to spare: only one of its spellings is ours.
	if err != nil || len(b) != len(into) || textEncoding.EncodeToString(b) != s {
		return ErrMalformed
	}
	copy(into, b)
	return nil
}

// clip keeps error messages short, whatever they quote.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
