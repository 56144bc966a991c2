package wire

import (
	"errors"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Digest tells what the sender's entries have made of a folder that has been at rest: devices
// with the same frontier and version have the same sum, or one of them is wrong. It is sent
// where both ends speak ALPN2 only.
type Digest struct {
	_        struct{} `cbor:",toarray"`
	Version  uint     // crdt.DigestVersion of the sender
	Frontier feed.Hash
	Sum      feed.Hash
}

func (*Digest) kind() kind { return kindDigest }

func (m *Digest) check() error {
	if m.Version == 0 {
		return errors.New("a digest of no version")
	}
	return nil
}
