package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Presence is what a datagram says: which files of a folder programs of the sender have
// open. Each one replaces the one before; none is answered, and any may be lost.
//
//	datagram = version (1 byte) | body (CBOR, canonical)
type Presence struct {
	_      struct{} `cbor:",toarray"`
	Folder feed.Folder
	N      uint64 // ascending on a connection, so that one that was overtaken says nothing
	Files  []OpenFile
}

// OpenFile is one file that is open.
type OpenFile struct {
	_       struct{} `cbor:",toarray"`
	Node    [16]byte
	Writing bool
	Program string // its name; empty: not told
}

// Limits of Presence: with them a datagram fits every path that QUIC takes.
const (
	MaxPresence = 1100 // bytes of a datagram
	MaxOpen     = 24   // files in one Presence
	MaxProgram  = 16   // bytes of a program's name
)

const presenceVersion = 1

// ErrVersion is returned for a datagram of a version that is not known here. It is no
// fault of the sender: it is to be ignored.
var ErrVersion = errors.New("unknown version of a datagram")

func (p *Presence) check() error {
	if len(p.Files) > MaxOpen {
		return fmt.Errorf("%d open files", len(p.Files))
	}
	for _, f := range p.Files {
		if len(f.Program) > MaxProgram || f.Program != ProgramName(f.Program) {
			return fmt.Errorf("program %q", f.Program)
		}
	}
	return nil
}

// ProgramName makes a name that may be told, and shown on a terminal, of any bytes.
func ProgramName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), MaxProgram)]
}

// Encode makes a datagram.
func (p *Presence) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("encode presence: %w", err)
	}
	var b bytes.Buffer
	b.WriteByte(presenceVersion)
	if err := enc.MarshalToBuffer(p, &b); err != nil {
		return nil, fmt.Errorf("encode presence: %w", err)
	}
	if b.Len() > MaxPresence {
		return nil, fmt.Errorf("encode presence: %d bytes", b.Len())
	}
	return b.Bytes(), nil
}

// DecodePresence reads a datagram. Its errors wrap ErrVersion, or ErrMalformed for what
// breaks the rules.
func DecodePresence(b []byte) (*Presence, error) {
	switch {
	case len(b) == 0 || len(b) > MaxPresence:
		return nil, fmt.Errorf("%w: presence of %d bytes", ErrMalformed, len(b))
	case b[0] != presenceVersion:
		return nil, fmt.Errorf("%w: %d", ErrVersion, b[0])
	}
	p := new(Presence)
	if err := dec.Unmarshal(b[1:], p); err != nil {
		return nil, fmt.Errorf("%w: presence: %w", ErrMalformed, err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%w: presence: %w", ErrMalformed, err)
	}
	if again, err := p.Encode(); err != nil || !slices.Equal(again, b) {
		return nil, fmt.Errorf("%w: presence: encoding not canonical", ErrMalformed)
	}
	return p, nil
}
