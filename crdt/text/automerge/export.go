package automerge

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/sheaf-fs/sheaf/crdt/text"
)

// Key is where the text is in the root of the document.
const Key = "content"

const (
	chunkChange     = 1
	chunkCompressed = 2
	compressFrom    = 256 // bytes of a change, as the library does
)

var magic = []byte{0x85, 0x6f, 0x4a, 0x83}

// Hash names a change.
type Hash [32]byte

// Export gives the Automerge document of a text. Events come after their parents, else the error is
// text.ErrMissingParent. The hashes of its changes depend on node and the set of events only.
func Export(node text.Node, events []text.Event) ([]byte, error) {
	var out []byte
	err := each(node, events, func(body []byte, h Hash) { out = appendChunk(out, body, h) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// each makes the changes of a text, one after the other.
func each(node text.Node, events []text.Event, fn func(body []byte, h Hash)) error {
	changes, err := text.Changes(node, events)
	if err != nil {
		return err
	}
	genesis := text.GenesisID(node)
	body := genesisBody(genesis)
	first := hash(body)
	fn(body, first)
	hashes := make([]Hash, len(changes))
	for i := range changes {
		c := &changes[i]
		deps := []Hash{first}
		if len(c.Deps) > 0 {
			deps = deps[:0]
			for _, d := range c.Deps {
				deps = append(deps, hashes[d])
			}
			slices.SortFunc(deps, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
		}
		body := changeBody(genesis, c, deps)
		hashes[i] = hash(body)
		fn(body, hashes[i])
	}
	return nil
}

// hash is that of the change with the given body.
func hash(body []byte) Hash {
	h := sha256.New()
	h.Write(binary.AppendUvarint([]byte{chunkChange}, uint64(len(body))))
	h.Write(body)
	return Hash(h.Sum(nil))
}

// appendChunk frames the body of a change, compressed where that is shorter.
func appendChunk(out, body []byte, h Hash) []byte {
	out = append(out, magic...)
	out = append(out, h[:4]...)
	kind := byte(chunkChange)
	if len(body) > compressFrom {
		var z bytes.Buffer
		w, err := flate.NewWriter(&z, flate.DefaultCompression)
		if err != nil {
			panic(err) // a constant level
		}
		w.Write(body) // a bytes.Buffer takes everything
		w.Close()
		if z.Len() < len(body) {
			kind, body = chunkCompressed, z.Bytes()
		}
	}
	out = append(out, kind)
	out = binary.AppendUvarint(out, uint64(len(body)))
	return append(out, body...)
}

// header starts the body of a change without message, at time zero.
func header(actor text.ID, deps []Hash, start int, others []text.ID) []byte {
	b := binary.AppendUvarint(nil, uint64(len(deps)))
	for _, d := range deps {
		b = append(b, d[:]...)
	}
	b = appendBytes(b, actor[:])
	b = append(b, 1) // sequence number: no actor makes two changes
	b = binary.AppendUvarint(b, uint64(start))
	b = append(b, 0, 0) // time, message
	b = binary.AppendUvarint(b, uint64(len(others)))
	for _, o := range others {
		b = appendBytes(b, o[:])
	}
	return b
}

// genesisBody is the change that makes the empty text.
func genesisBody(actor text.ID) []byte {
	var c columns
	c.keyString = appendBytes([]byte{0x7f}, []byte(Key)) // one value
	c.insert.put(false, 1)
	c.action.put(actionMakeText, 1)
	c.valueMeta.put(0, 1)
	c.preds.put(0, 1)
	return c.append(header(actor, nil, 1, nil))
}

// changeBody is a change of the text, the object that the genesis made.
func changeBody(genesis text.ID, change *text.Change, deps []Hash) []byte {
	var others []text.ID
	if len(change.Ops) > 0 {
		others = append(others, genesis)
	}
	for _, op := range change.Ops {
		if op.At != (text.OpID{}) && op.At.Actor != change.Actor {
			others = append(others, op.At.Actor)
		}
	}
	others = text.SortIDs(others)
	index := map[text.ID]int64{change.Actor: 0}
	for i, o := range others {
		index[o] = int64(i + 1)
	}
	c := columns{object: index[genesis]}
	ctr := change.Start
	for _, op := range change.Ops {
		if op.Delete > 0 {
			c.remove(index[op.At.Actor], op.At.Counter, op.Delete)
			ctr += op.Delete
			continue
		}
		if op.At == (text.OpID{}) {
			c.insertAt(-1, 0)
		} else {
			c.insertAt(index[op.At.Actor], op.At.Counter)
		}
		ctr = c.insertText(op.Insert, ctr)
	}
	return c.append(header(change.Actor, deps, change.Start, others))
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
