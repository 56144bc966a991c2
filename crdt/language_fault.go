//go:build sheaffault

package crdt

import (
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// With the fault crdt-newer-sheaf this is the sheaf after this one, which takes new rules for modes:
// for what devices of two versions do beside each other.
func init() {
	if !fault.On("crdt-newer-sheaf") {
		return
	}
	type numbered struct {
		_     struct{} `cbor:",toarray"`
		Rules uint64
		Ops   cbor.RawMessage
	}
	today = language{
		rules: Rules + 1,
		encode: func(ops []op) []byte {
			plain := encodeOps(ops)
			mode := func(o op) bool { return o.Tree != nil && o.Tree.Do == tree.OpMode }
			admits := func(o op) bool { return o.Admit != nil || o.Found != nil }
			if !slices.ContainsFunc(ops, mode) || slices.ContainsFunc(ops, admits) {
				return plain
			}
			return encode(numbered{Rules: Rules + 1, Ops: plain})
		},
		decode: func(plain []byte) ([]op, error) {
			if n, ok := leadingNumber(plain); !ok || n != Rules+1 {
				return decodeOps(plain)
			}
			var p numbered
			if err := opsMode.Unmarshal(plain, &p); err != nil {
				return nil, err
			}
			return decodeOps(p.Ops)
		},
	}
}
