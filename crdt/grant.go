package crdt

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Grant is what a device needs to take a folder up: an inviter hands it over
// once the ticket's secret is proven. Whoever has it can read the folder.
type Grant struct {
	Folder  FolderID `cbor:"1,keyasint"`
	Name    string   `cbor:"2,keyasint"`
	Key     feed.Key `cbor:"3,keyasint"`
	Creator Device   `cbor:"4,keyasint"`
	Nonce   [32]byte `cbor:"5,keyasint"`
}

// folderID makes a folder's id certify who founded it.
func folderID(creator Device, nonce [32]byte) FolderID {
	h := blake3.NewDeriveKey("sheaf 2026-01 name of a folder v1")
	h.Write(creator[:])
	h.Write(nonce[:])
	return FolderID(h.Sum(nil))
}

func (g *Grant) check() error {
	switch {
	case g.Folder != folderID(g.Creator, g.Nonce):
		return fail("grant", g.Name, ErrInvalid, errors.New("the founder is not the one whom the folder's id names"))
	case !validName(g.Name):
		return fail("grant", "", ErrInvalid, errors.New("not a folder name"))
	case g.Creator.Check() != nil:
		return fail("grant", g.Name, ErrInvalid, g.Creator.Check())
	}
	return nil
}

// Encode returns the grant as it is sent and stored. It holds the folder's key.
func (g *Grant) Encode() []byte { return encode(g) }

// DecodeGrant is the inverse of Encode; a grant that contradicts itself is
// refused.
func DecodeGrant(b []byte) (Grant, error) {
	var g Grant
	if err := decode(b, &g); err != nil {
		return Grant{}, fail("grant", "", ErrInvalid, err)
	}
	return g, g.check()
}

var (
	encMode = must(cbor.CoreDetEncOptions().UserBufferEncMode())
	decMode = must(decOptions(1 << 20).DecMode()) // what this home wrote itself, and grants
	opsMode = must(decOptions(MaxOps).DecMode())  // payloads of entries

	// laterMode reads what it knows of what a later version wrote.
	laterMode = must(cbor.DecOptions{IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, MaxNestedLevels: 16}.DecMode())
)

func decOptions(elements int) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, UTF8: cbor.UTF8RejectInvalid,
		MaxArrayElements: elements, MaxMapPairs: 1 << 16, MaxNestedLevels: 16,
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

// encode writes what this package made itself: it cannot fail.
func encode(v any) []byte { return must(encMode.Marshal(v)) }

func decode(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("malformed: %w", err)
	}
	return nil
}
