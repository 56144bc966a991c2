package feed

import (
	"sync"

	"github.com/zeebo/blake3"
)

// purpose is BLAKE3 in key derivation mode: a hash that only one purpose of one format makes. Hashers
// are large, so they are kept for the next. It is safe for concurrent use.
type purpose struct{ hashers sync.Pool }

func newPurpose(context string) *purpose {
	return &purpose{sync.Pool{New: func() any { return blake3.NewDeriveKey(context) }}}
}

var (
	forEntry   = newPurpose(entryContext)
	forNonce   = newPurpose(nonceContext)
	forPayload = newPurpose(payloadContext)
	forEpoch   = newPurpose("sheaf 2026-01 name of an epoch v1")
)

// sum hashes the parts as one.
func (p *purpose) sum(out *Hash, parts ...[]byte) {
	h := p.hashers.Get().(*blake3.Hasher)
	defer p.hashers.Put(h)
	h.Reset()
	for _, b := range parts {
		h.Write(b)
	}
	h.Sum(out[:0])
}
