package llama

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// A frame is a length of four bytes, big endian, and so many bytes of CBOR. Both
// ends are the same program, so the form may change freely.

const maxFrame = 64 << 20 // bytes

type verb uint8

const (
	// To the child.
	doLoad     verb = iota + 1 // Load
	doCount                    // ID, Text
	doMeasure                  // ID, Ask
	doGenerate                 // ID, Ask
	doCancel                   // ID
	// From the child.
	isLoading // N of Total
	isReady   // Ready
	isBeat    // N grows with the work done
	isCounted // ID, N
	isReading // ID, N of Total
	isPiece   // ID, Data
	isDone    // ID, Stats; Kind and Text if it failed. ID 0: loading failed
)

type frame struct {
	Do    verb   `cbor:"1,keyasint"`
	ID    uint64 `cbor:"2,keyasint,omitempty"`
	N     int64  `cbor:"3,keyasint,omitempty"`
	Total int64  `cbor:"4,keyasint,omitempty"`
	Text  string `cbor:"5,keyasint,omitempty"`
	Data  []byte `cbor:"6,keyasint,omitempty"`
	Kind  kind   `cbor:"7,keyasint,omitempty"`
	Load  *load  `cbor:"8,keyasint,omitempty"`
	Ready *ready `cbor:"9,keyasint,omitempty"`
	Ask   *ask   `cbor:"10,keyasint,omitempty"`
	Stats *stats `cbor:"11,keyasint,omitempty"`
}

// load is how a child begins.
type load struct {
	Library string
	Model   string
	Context int
	Threads int // 0 follows the free cores
	Nice    int
	Memory  int64 // bytes for the places of conversations that are not on
}

type ready struct {
	Description string
	Context     int
}

type ask struct {
	System      string
	Turns       []turn
	Temperature float64
	MaxTokens   int
	Seed        uint32
	Cold        bool
}

type turn struct {
	Role engine.Role
	Text string
}

type stats struct {
	Prompt, Reused, Answer int
	Reading, Decode        time.Duration
	Threads                int
	Reason                 engine.Reason
}

// kind is an error's kind on the wire.
type kind uint8

const (
	kindNone kind = iota
	kindLibrary
	kindModel
	kindFull
	kindFailed
	kindCancelled
)

func (k kind) err() error {
	switch k {
	case kindLibrary:
		return engine.ErrNoEngine
	case kindModel:
		return engine.ErrRefused
	case kindFull:
		return engine.ErrContextFull
	default:
		return engine.ErrEngineDied
	}
}

// pipe is one end of the conversation. send may be called from any goroutine,
// receive from one.
type pipe struct {
	in  io.Reader
	mu  sync.Mutex
	out io.Writer
}

var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{MaxArrayElements: 1 << 16, MaxMapPairs: 64, MaxNestedLevels: 8}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

func (p *pipe) send(f frame) error {
	body, err := cbor.Marshal(f)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("a frame of %d bytes", len(body))
	}
	b := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(b, uint32(len(body)))
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = p.out.Write(append(b, body...))
	return err
}

func (p *pipe) receive() (frame, error) {
	var f frame
	var head [4]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return f, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return f, fmt.Errorf("a frame of %d bytes", n)
	}
	body, err := io.ReadAll(io.LimitReader(p.in, int64(n))) // grows as bytes come
	if err != nil {
		return f, err
	}
	if len(body) < int(n) {
		return f, io.ErrUnexpectedEOF
	}
	return f, decoding.Unmarshal(body, &f)
}
