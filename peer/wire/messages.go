package wire

import (
	"errors"
	"fmt"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Limits of messages.
const (
	MaxAddrs    = 16      // addresses of one device
	MaxAddr     = 261     // bytes of an address
	MaxName     = 255     // bytes of a device's name
	MaxPeers    = 256     // devices in one Peers
	MaxHashes   = 1024    // in one Got
	MaxEntries  = 4096    // in one Entries
	SliceSize   = 1 << 20 // bytes of content in one Slice, at most
	BatchSize   = 1 << 20 // bytes of entries that a sender puts into one Entries, unless one alone is larger
	maxSlice    = SliceSize + SliceSize/8
	maxFrontier = feed.MaxFeeds*96 + 16
	maxGrant    = 64 << 10
	// MaxSize is the largest object that can be asked for, in bytes.
	MaxSize = 1 << 44
)

// Message is one of the types of this package.
type Message interface {
	kind() kind
	check() error
}

type kind byte

const (
	kindHello kind = iota + 1
	kindJoin
	kindGranted
	kindRefused
	kindOpen
	kindFrontier
	kindEntries
	kindHave
	kindProbe
	kindGot
	kindPeers
	kindGet
	kindSlice
	kindDigest
	kindAsk
	kindCheckpoint
)

var kinds = map[kind]struct {
	name  string
	limit int // bytes of the body
	empty func() Message
}{
	kindHello:    {"hello", 8 << 10, func() Message { return new(Hello) }},
	kindJoin:     {"join", 1 << 10, func() Message { return new(Join) }},
	kindGranted:  {"granted", maxGrant + 16, func() Message { return new(Granted) }},
	kindRefused:  {"refused", 64, func() Message { return new(Refused) }},
	kindOpen:     {"open", 128, func() Message { return new(Open) }},
	kindFrontier: {"frontier", maxFrontier + 16, func() Message { return new(Frontier) }},
	kindEntries:  {"entries", feed.MaxEntry + 64, func() Message { return new(Entries) }},
	kindHave:     {"have", maxFrontier + 64, func() Message { return new(Have) }},
	kindProbe:    {"probe", 16, func() Message { return new(Probe) }},
	kindGot:      {"got", MaxHashes*34 + 16, func() Message { return new(Got) }},
	kindPeers:    {"peers", MaxPeers*(64+MaxAddrs*(MaxAddr+3)) + 64, func() Message { return new(Peers) }},
	kindGet:      {"get", 128, func() Message { return new(Get) }},
	kindSlice:    {"slice", maxSlice + 16, func() Message { return new(Slice) }},
	kindDigest:   {"digest", 128, func() Message { return new(Digest) }},
	kindAsk:      {"ask", 16, func() Message { return new(Ask) }},

	kindCheckpoint: {"checkpoint", max(SliceSize, maxCheckpointHeader) + 64, func() Message { return new(Checkpoint) }},
}

// Hello is the first frame of a connection's control stream, in both directions.
type Hello struct {
	_       struct{} `cbor:",toarray"`
	Addrs   []string // where it listens
	You     string   // the address that it sees the other at
	Joining bool     // a Join follows on a stream of its own
}

// Join proves an invitation. It is the only frame that a device not yet admitted may send
// after Hello; the answer is Granted or Refused.
type Join struct {
	_      struct{} `cbor:",toarray"`
	Folder feed.Folder
	Secret [32]byte
	Name   string // of the joining device
}

// Granted carries the encoded grant of a folder.
type Granted struct {
	_     struct{} `cbor:",toarray"`
	Grant []byte
}

// Reason says why a Join was refused. A secret that was never handed out gets no reason:
// the connection is closed as it is for every stranger.
type Reason uint8

// The reasons.
const (
	ReasonUsed Reason = iota + 1
	ReasonExpired
	ReasonFailed  // the inviter could not store the admission
	ReasonUnknown // said to members only
)

// Refused answers a Join.
type Refused struct {
	_      struct{} `cbor:",toarray"`
	Reason Reason
}

// Open is the first frame of a folder's sync stream. Where both Opens name the same
// frontier, nothing more needs to be said.
type Open struct {
	_        struct{} `cbor:",toarray"`
	Folder   feed.Folder
	Frontier feed.Hash
}

// Frontier tells all heads; it follows an Open whose hash differed.
type Frontier struct {
	_     struct{} `cbor:",toarray"`
	Heads []byte   // feed.Frontier, encoded
	// All asks for every entry: a feed was forked, so that heads do not tell what is held.
	All bool
}

// Entries carries entries as they were signed, in an order that is causal.
type Entries struct {
	_       struct{} `cbor:",toarray"`
	Entries [][]byte
}

// Have acknowledges: it tells the heads that advanced since the last Frontier or Have, and
// what the sender still wants.
type Have struct {
	_         struct{} `cbor:",toarray"`
	Heads     []byte   // feed.Frontier, encoded: only what advanced
	Want      uint64   // objects that the sender lacks and the receiver has not said it lacks too
	WantBytes uint64
	Probe     uint64 // highest Probe seen before the heads were read
}

// Probe asks for a Have that carries its number.
type Probe struct {
	_ struct{} `cbor:",toarray"`
	N uint64
}

// Got tells of objects that a Get was answered for with StatusAbsent and that are here now.
type Got struct {
	_      struct{} `cbor:",toarray"`
	Hashes []feed.Hash
}

// Peer is where a device is.
type Peer struct {
	_      struct{} `cbor:",toarray"`
	Device feed.Device
	Addrs  []string
	Linked bool // the sender is connected to it
}

// Peers tells where the other devices of a folder are.
type Peers struct {
	_     struct{} `cbor:",toarray"`
	Peers []Peer
}

// Get asks for a slice of an object, on a stream of its own; answers come in the order of
// the questions.
type Get struct {
	_      struct{}    `cbor:",toarray"`
	Folder feed.Folder // that the asker has the object's name from
	Hash   feed.Hash
	Size   int64 // of the object
	Off    int64 // a multiple of SliceSize
}

// Status says whether a Slice has data.
type Status uint8

// The statuses.
const (
	StatusHere   Status = iota
	StatusAbsent        // the object is not here, or not of that size
)

// Slice answers a Get.
type Slice struct {
	_      struct{} `cbor:",toarray"`
	Status Status
	Data   []byte // a verified slice, as crdt/blob makes it
}

func (*Hello) kind() kind    { return kindHello }
func (*Join) kind() kind     { return kindJoin }
func (*Granted) kind() kind  { return kindGranted }
func (*Refused) kind() kind  { return kindRefused }
func (*Open) kind() kind     { return kindOpen }
func (*Frontier) kind() kind { return kindFrontier }
func (*Entries) kind() kind  { return kindEntries }
func (*Have) kind() kind     { return kindHave }
func (*Probe) kind() kind    { return kindProbe }
func (*Got) kind() kind      { return kindGot }
func (*Peers) kind() kind    { return kindPeers }
func (*Get) kind() kind      { return kindGet }
func (*Slice) kind() kind    { return kindSlice }

func (m *Hello) check() error {
	if len(m.You) > MaxAddr {
		return errTooLong
	}
	return checkAddrs(m.Addrs)
}

func (m *Join) check() error {
	if len(m.Name) > MaxName {
		return errTooLong
	}
	return nil
}

func (m *Granted) check() error {
	if len(m.Grant) > maxGrant {
		return errTooLong
	}
	return nil
}

func (m *Refused) check() error {
	if m.Reason < ReasonUsed || m.Reason > ReasonUnknown {
		return fmt.Errorf("reason %d", m.Reason)
	}
	return nil
}

func (m *Open) check() error { return nil }

func (m *Frontier) check() error {
	if len(m.Heads) > maxFrontier {
		return errTooLong
	}
	return nil
}

func (m *Entries) check() error {
	if len(m.Entries) == 0 || len(m.Entries) > MaxEntries {
		return fmt.Errorf("%d entries", len(m.Entries))
	}
	return nil
}

func (m *Have) check() error {
	if len(m.Heads) > maxFrontier {
		return errTooLong
	}
	return nil
}

func (m *Probe) check() error { return nil }

func (m *Got) check() error {
	if len(m.Hashes) == 0 || len(m.Hashes) > MaxHashes {
		return fmt.Errorf("%d hashes", len(m.Hashes))
	}
	return nil
}

func (m *Peers) check() error {
	if len(m.Peers) > MaxPeers {
		return fmt.Errorf("%d devices", len(m.Peers))
	}
	for _, p := range m.Peers {
		if err := checkAddrs(p.Addrs); err != nil {
			return err
		}
	}
	return nil
}

func (m *Get) check() error {
	switch {
	case m.Size < 0 || m.Size > MaxSize:
		return fmt.Errorf("object of %d bytes", m.Size)
	case m.Off < 0 || m.Off%SliceSize != 0 || m.Off >= m.Size && m.Off > 0:
		return fmt.Errorf("slice at %d of %d bytes", m.Off, m.Size)
	}
	return nil
}

func (m *Slice) check() error {
	switch {
	case m.Status > StatusAbsent:
		return fmt.Errorf("status %d", m.Status)
	case m.Status != StatusHere && len(m.Data) > 0:
		return errors.New("data that is not here")
	case len(m.Data) > maxSlice:
		return errTooLong
	}
	return nil
}

var errTooLong = errors.New("too long")

func checkAddrs(addrs []string) error {
	if len(addrs) > MaxAddrs {
		return fmt.Errorf("%d addresses", len(addrs))
	}
	for _, a := range addrs {
		if len(a) > MaxAddr {
			return errTooLong
		}
	}
	return nil
}
