package feed

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/zeebo/blake3"
)

// MaxFrontier is the number of heads that an entry can name.
const MaxFrontier = 4096

// MaxFeeds is the number of heads that a frontier can name: many more, because what an entry has no
// room for comes with the next, and a frontier is told whole.
const MaxFeeds = 1 << 16

// MaxSeq is the highest sequence number, and the highest run; it leaves room so that no
// addition of ours can wrap around.
const MaxSeq = 1<<63 - 1

// Head is an entry as the newest one of its feed.
type Head struct {
	Feed ID
	Seq  uint64 // counts from 1
	Hash Hash
}

// Frontier is what is held of a folder: the head of every feed. A nil Frontier is empty
// and can be read. A Frontier is not safe for concurrent use while someone changes it.
type Frontier map[ID]Head

// Covers reports whether f holds the entry seq of feed id; everything covers sequence
// number 0.
func (f Frontier) Covers(id ID, seq uint64) bool { return f[id].Seq >= seq }

// Advance makes h the head of its feed, unless f is already at or past it, and reports
// whether it changed f.
func (f Frontier) Advance(h Head) bool {
	if f.Covers(h.Feed, h.Seq) {
		return false
	}
	f[h.Feed] = h
	return true
}

// Clone returns a copy that shares nothing with f.
func (f Frontier) Clone() Frontier {
	if f == nil {
		return Frontier{}
	}
	return maps.Clone(f)
}

// Heads returns the heads in the order of their feeds.
func (f Frontier) Heads() []Head {
	hs := slices.Collect(maps.Values(f))
	slices.SortFunc(hs, func(a, b Head) int { return Compare(a.Feed, b.Feed) })
	return hs
}

// Hash names the frontier: two devices whose frontiers have the same hash hold the same
// entries.
func (f Frontier) Hash() Hash {
	h := blake3.NewDeriveKey("sheaf 2026-01 frontier v1")
	h.Write(f.Encode())
	return Hash(h.Sum(nil))
}

// Encode returns the one encoding of f. It is for frontiers of at most MaxFeeds heads;
// DecodeFrontier refuses longer ones.
func (f Frontier) Encode() []byte { return encode(wireHeads(f.Heads())) }

// DecodeFrontier is the inverse of Encode. It fails with ErrMalformed or ErrTooLarge.
func DecodeFrontier(b []byte) (Frontier, error) {
	var ws []wireHead
	if err := decode(b, &ws); err != nil {
		return nil, fmt.Errorf("frontier: %w", err)
	}
	if len(ws) > MaxFeeds {
		return nil, fmt.Errorf("frontier of %d feeds: %w", len(ws), ErrTooLarge)
	}
	hs := headsOf(ws)
	if err := checkHeads(hs); err != nil {
		return nil, fmt.Errorf("frontier: %w", err)
	}
	if !bytes.Equal(encode(wireHeads(hs)), b) {
		return nil, fmt.Errorf("frontier: encoding not canonical: %w", ErrMalformed)
	}
	f := make(Frontier, len(hs))
	for _, h := range hs {
		f[h.Feed] = h
	}
	return f, nil
}

// checkHeads checks what a list of heads must be: ascending, each feed once, no number out
// of range.
func checkHeads(hs []Head) error {
	for i, h := range hs {
		switch {
		case h.Seq < 1 || h.Seq > MaxSeq || h.Feed.Run > MaxSeq:
			return fmt.Errorf("head of feed %s: number out of range: %w", h.Feed, ErrMalformed)
		case i > 0 && Compare(hs[i-1].Feed, h.Feed) >= 0:
			return fmt.Errorf("head of feed %s: out of order: %w", h.Feed, ErrMalformed)
		}
	}
	return nil
}

// wireHead is a Head as it is encoded: [device, run, seq, hash].
type wireHead struct {
	_      struct{} `cbor:",toarray"`
	Device Device
	Run    uint64
	Seq    uint64
	Hash   Hash
}

func wireHeads(hs []Head) []wireHead {
	ws := make([]wireHead, len(hs))
	for i, h := range hs {
		ws[i] = wireHead{Device: h.Feed.Device, Run: h.Feed.Run, Seq: h.Seq, Hash: h.Hash}
	}
	return ws
}

func headsOf(ws []wireHead) []Head {
	if len(ws) == 0 {
		return nil
	}
	hs := make([]Head, len(ws))
	for i, w := range ws {
		hs[i] = Head{Feed: ID{Device: w.Device, Run: w.Run}, Seq: w.Seq, Hash: w.Hash}
	}
	return hs
}
