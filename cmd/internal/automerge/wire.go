package automerge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// Limits of a conversation with the library.
const (
	MaxDocument = 64 << 20 // bytes of a document
	MaxKeys     = 1000     // texts at the root of a document that are told
	MaxSteps    = 1000     // of a history
	MaxHistory  = 32 << 20 // bytes of the texts of all its steps
	maxFrame    = MaxDocument + 1<<20
)

// hello is what the library's process says first.
type hello struct {
	Able bool `cbor:"1,keyasint"` // it was built with the library
}

// Query asks for a document's texts.
type Query struct {
	Document []byte `cbor:"1,keyasint"`
	Key      string `cbor:"2,keyasint,omitempty"` // which; empty: "content", else the only one there is
	History  bool   `cbor:"3,keyasint,omitempty"` // with the steps that led to it
}

// Answer is what a document holds.
type Answer struct {
	Keys    []string `cbor:"1,keyasint,omitempty"` // of the texts and strings at its root, ascending
	Key     string   `cbor:"2,keyasint,omitempty"` // of the text below; empty where none was meant
	Text    string   `cbor:"3,keyasint,omitempty"`
	Steps   []Step   `cbor:"4,keyasint,omitempty"` // none where there are too many
	Refused string   `cbor:"5,keyasint,omitempty"` // why this is no document
}

// Step is the text as one change left it for its author.
type Step struct {
	After []int  `cbor:"1,keyasint,omitempty"` // numbers of the steps it was made on, all before it
	Text  string `cbor:"2,keyasint,omitempty"`
}

// check tells whether the answer is one that a sane library gives.
func (a *Answer) check() error {
	if len(a.Keys) > MaxKeys || len(a.Steps) > MaxSteps {
		return errors.New("an answer that is too long")
	}
	size := 0
	for i, s := range a.Steps {
		if size += len(s.Text); size > MaxHistory {
			return errors.New("a history that is too long")
		}
		for _, n := range s.After {
			if n < 0 || n >= i {
				return errors.New("a step on one that is not before it")
			}
		}
	}
	return nil
}

var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		MaxArrayElements: 1 << 16, MaxMapPairs: 16, MaxNestedLevels: 8, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

// send writes one frame: its length in four bytes, then CBOR.
func send(w io.Writer, v any) error {
	body, err := cbor.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("a frame of %d bytes", len(body))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// receive reads one frame. It makes room as bytes come, not as the frame announces.
func receive(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("a frame of %d bytes", n)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(body) < int(n) {
		return io.ErrUnexpectedEOF
	}
	return decoding.Unmarshal(body, v)
}
