package tree

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// NodeID names a file, directory or symlink for ever, whatever its path.
type NodeID [16]byte

// Root is the folder's own directory: always there, never moved or removed.
var Root NodeID

// String returns the id in hexadecimal.
func (id NodeID) String() string { return hex.EncodeToString(id[:]) }

// Kind says what a node is. It never changes.
type Kind uint8

// The kinds of nodes.
const (
	File    Kind = 1
	Dir     Kind = 2
	Symlink Kind = 3
)

// String returns the kind's name, for people.
func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "directory"
	case Symlink:
		return "symlink"
	}
	return "unknown"
}

// EventID names an event: one save of one file.
type EventID [32]byte

// String returns the id in hexadecimal.
func (id EventID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id names no event at all.
func (id EventID) IsZero() bool { return id == EventID{} }

// Version is a state of a file: the heads of the set of events it holds, sorted and without
// doubles. The empty version is a file that never had content. Versions are values: nobody
// changes one in place.
type Version []EventID

// NewVersion returns the version with these heads.
func NewVersion(heads ...EventID) Version {
	v := slices.Clone(heads)
	slices.SortFunc(v, compareEvents)
	return slices.Compact(v)
}

// Equal reports whether two versions have the same heads.
func (v Version) Equal(o Version) bool { return slices.Equal(v, o) }

// Has reports whether id is one of the heads.
func (v Version) Has(id EventID) bool {
	_, ok := slices.BinarySearchFunc(v, id, compareEvents)
	return ok
}

// String returns the heads, eight hexadecimal digits each, joined by "+"; "-" if there are none.
func (v Version) String() string {
	if len(v) == 0 {
		return "-"
	}
	var b strings.Builder
	for i, id := range v {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(hex.EncodeToString(id[:4]))
	}
	return b.String()
}

func compareEvents(a, b EventID) int { return bytes.Compare(a[:], b[:]) }

// ascending reports whether ids are sorted and without doubles, as the format wants them.
func ascending(ids []EventID) bool {
	for i := 1; i < len(ids); i++ {
		if compareEvents(ids[i-1], ids[i]) >= 0 {
			return false
		}
	}
	return true
}

// NodeIDFor derives the id of a node from what it is made with. first is the hash of the first
// content for a file, the target for a symlink, and empty for a directory. gen tells apart
// nodes that agree in everything else: see [Tree.FreshID].
func NodeIDFor(kind Kind, parent NodeID, name string, first []byte, gen uint32) NodeID {
	b := make([]byte, 0, 256)
	b = append(b, "sheaf node 1\x00"...)
	b = append(b, byte(kind))
	b = append(b, parent[:]...)
	b = binary.BigEndian.AppendUint32(b, gen)
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	b = append(b, name...)
	b = append(b, first...)
	sum := blake3.Sum256(b)
	return NodeID(sum[:16])
}

// Stamp is the place of an operation in the order that is the same on every device. It is
// known before the entry that carries the operation is sealed.
type Stamp struct {
	Lamport uint64  // 1 + the highest the operation's author had seen
	Feed    feed.ID // whose operation it is
	Seq     uint64  // of the entry in its feed
	Index   uint32  // of the operation in the entry
	Op      OpHash  // of the operation: tells the branches of a forked feed apart
}

// OpHash is the beginning of the BLAKE3 of an operation: as much as nobody can make two
// operations agree in, and no more, because every stamp in memory has one.
type OpHash [20]byte

// Compare orders stamps: negative if s is before o.
func (s Stamp) Compare(o Stamp) int {
	return cmp.Or(
		cmp.Compare(s.Lamport, o.Lamport),
		feed.Compare(s.Feed, o.Feed),
		cmp.Compare(s.Seq, o.Seq),
		cmp.Compare(s.Index, o.Index),
		bytes.Compare(s.Op[:], o.Op[:]),
	)
}

// stamp is a Stamp as the tree keeps it.
type stamp struct {
	*entry
	index uint32
	op    OpHash
}

// entry is what the stamps of one entry share.
type entry struct {
	lamport, seq uint64
	feed         *feed.ID // the same pointer for the same feed
}

func (s *stamp) compare(o *stamp) int {
	if s == o {
		return 0
	}
	if c := cmp.Compare(s.lamport, o.lamport); c != 0 {
		return c
	}
	if s.feed != o.feed {
		if c := feed.Compare(*s.feed, *o.feed); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(s.seq, o.seq), cmp.Compare(s.index, o.index), bytes.Compare(s.op[:], o.op[:]))
}

// after reports whether s is later than o; anything is later than nothing.
func (s *stamp) after(o *stamp) bool { return o == nil || s.compare(o) > 0 }

func (s *stamp) export() Stamp {
	return Stamp{Lamport: s.lamport, Feed: *s.feed, Seq: s.seq, Index: s.index, Op: s.op}
}
