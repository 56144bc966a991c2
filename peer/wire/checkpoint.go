package wire

import (
	"errors"
)

// maxCheckpointHeader bounds the signed part of a checkpoint.
const maxCheckpointHeader = maxFrontier + 1024

// Ask asks for a checkpoint of the folder; there may be no answer. Like what follows it is sent
// where both ends speak ALPN2 only, and once on a sync stream.
type Ask struct {
	_ struct{} `cbor:",toarray"`
}

// Checkpoint is a part of the answer: first the header, as crdt makes it, then the body in
// order, Last with its end.
type Checkpoint struct {
	_      struct{} `cbor:",toarray"`
	Header []byte
	Data   []byte
	Last   bool
}

func (*Ask) kind() kind        { return kindAsk }
func (*Checkpoint) kind() kind { return kindCheckpoint }

func (m *Ask) check() error { return nil }

func (m *Checkpoint) check() error {
	switch {
	case len(m.Header) > maxCheckpointHeader, len(m.Data) > SliceSize:
		return errTooLong
	case len(m.Header) > 0 && (len(m.Data) > 0 || m.Last):
		return errors.New("a header and a body in one")
	case len(m.Header) == 0 && len(m.Data) == 0:
		return errors.New("nothing in it")
	}
	return nil
}
