package crdt

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// A checkpoint is what a device says that a folder looks like at a frontier, signed. A newcomer
// shows it at once, and applies the entries meanwhile: they alone decide in the end.
//
//	body = zstd of: length of the tree | tree (tree.EncodeShown)
//	       | for each text that is shown, by path: size + 1, or 0 | length + 1, or 0 | text
const (
	checkpointVersion = 3

	// MaxCheckpoint bounds the body of a checkpoint, in bytes as it is sent.
	MaxCheckpoint = 96 << 20
	// maxCheckpointPlain bounds what a body unpacks to.
	maxCheckpointPlain = 192 << 20
	// maxHeader bounds a header: a frontier and little else.
	maxHeader = feed.MaxFeeds*96 + 1024

	// The texts that go with a checkpoint: small ones, until there are enough, and no more is
	// taken from anybody. The others come with the entries.
	carriedText  = 64 << 10
	carriedTexts = 8 << 20
)

// worthNodes and worthEntries are how much there must be for a checkpoint to be worth making: less
// is replayed before anybody can look.
var worthNodes, worthEntries = 2000, uint64(2000)

// makeTexts is for how long texts are read for one; later only sizes go along that are known.
var makeTexts = 2 * time.Second

// Errors of ParseCheckpoint and Show.
var (
	ErrCheckpoint        = errors.New("not a checkpoint")
	ErrCheckpointVersion = errors.New("a checkpoint of another version of sheaf") // which may read entries that this one does not
)

// Checkpoint is the signed part of a checkpoint. Its body goes beside it.
type Checkpoint struct {
	Maker    Device
	Frontier feed.Frontier
	Size     int // bytes of the body
	folder   FolderID
	plain    uint64
	body     Hash
}

type checkpointHeader struct {
	Version  uint     `cbor:"1,keyasint"`
	Folder   FolderID `cbor:"2,keyasint"`
	Maker    Device   `cbor:"3,keyasint"`
	Frontier []byte   `cbor:"4,keyasint"`
	Size     uint64   `cbor:"5,keyasint"` // bytes of the body
	Plain    uint64   `cbor:"6,keyasint"` // and of what it unpacks to
	Body     Hash     `cbor:"7,keyasint"`
	Rules    uint64   `cbor:"8,keyasint"` // that its maker reads: by others, the same entries may come to something else
}

type signedHeader struct {
	Header    []byte   `cbor:"1,keyasint"`
	Signature [64]byte `cbor:"2,keyasint"`
}

func headerHash(header []byte) []byte {
	h := blake3.NewDeriveKey("sheaf 2026-01 checkpoint v1")
	h.Write(header)
	return h.Sum(nil)
}

// ParseCheckpoint reads a header that a device sent as its own: errors wrap ErrCheckpoint, or
// are ErrCheckpointVersion.
func (f *Folder) ParseCheckpoint(header []byte, from Device) (*Checkpoint, error) {
	bad := func(why string) error { return fail("checkpoint", from.String(), ErrCheckpoint, errors.New(why)) }
	if len(header) > maxHeader {
		return nil, bad("a header that is too long")
	}
	var s signedHeader
	var h checkpointHeader
	if err := decode(header, &s); err != nil {
		return nil, bad(err.Error())
	}
	if err := decode(s.Header, &h); err != nil {
		// A later version may have more in it.
		var v struct {
			Version uint `cbor:"1,keyasint"`
		}
		if laterMode.Unmarshal(s.Header, &v) == nil && v.Version > checkpointVersion {
			return nil, ErrCheckpointVersion
		}
		return nil, bad(err.Error())
	}
	fr, err := feed.DecodeFrontier(h.Frontier)
	switch {
	case h.Version != checkpointVersion, h.Rules != f.home.speaks.rules:
		return nil, ErrCheckpointVersion
	case h.Maker != from:
		return nil, bad("made by somebody else")
	case !ed25519.Verify(from[:], headerHash(s.Header), s.Signature[:]):
		return nil, bad("the signature is wrong")
	case h.Folder != f.id:
		return nil, bad("of another folder")
	case err != nil:
		return nil, bad(err.Error())
	case h.Size > MaxCheckpoint || h.Plain > maxCheckpointPlain:
		return nil, bad("too large")
	}
	return &Checkpoint{Maker: from, Frontier: fr, Size: int(h.Size), folder: h.Folder, plain: h.Plain, body: h.Body}, nil
}

// MakeCheckpoint makes a checkpoint of the folder as it is. It returns nil where none is worth
// it, or the folder is too large for one.
func (f *Folder) MakeCheckpoint(ctx context.Context) (header, body []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err // who asked may be gone by the time it is their turn
	}
	snapshot, frontier, err := f.snapshot()
	if snapshot == nil || err != nil {
		return nil, nil, err
	}
	// What it names must not be lost with the power, or it could never be confirmed.
	if err := f.home.Sync(); err != nil {
		return nil, nil, err
	}
	atLength()
	shown := snapshot.Encode()
	plain, err := withTexts(ctx, shown, f.sizeAndText)
	if errors.Is(err, tree.ErrShown) {
		f.home.log.Warn("no checkpoint can be made", "folder", f.grant.Name, "err", err)
		return nil, nil, nil
	}
	if err != nil || len(plain) > maxCheckpointPlain {
		return nil, nil, err
	}
	return f.sign(plain, frontier)
}

// withTexts puts the texts behind what is shown, which get tells: the size of one, and the text
// itself if it is to go along where so many bytes do already.
func withTexts(ctx context.Context, shown []byte, get func(n *tree.Info, carried int) (int64, string, error)) ([]byte, error) {
	// As who gets it will see it: the order of the texts follows.
	view, err := tree.DecodeShown(shown, 0)
	if err != nil {
		return nil, err
	}
	plain := binary.AppendUvarint(nil, uint64(len(shown)))
	plain = append(plain, shown...)
	carried, until := 0, time.Now().Add(makeTexts)
	eachText(view, func(n *tree.Info) bool {
		if err = ctx.Err(); err != nil {
			return false
		}
		var size int64
		var text string
		if time.Now().After(until) {
			carried = carriedTexts
		}
		size, text, err = get(n, carried)
		carried += len(text)
		plain = binary.AppendUvarint(plain, uint64(size+1))
		if text == "" {
			plain = append(plain, 0)
			return err == nil
		}
		plain = binary.AppendUvarint(plain, uint64(len(text)+1))
		plain = append(plain, text...)
		return true
	})
	return plain, err
}

// sign packs and signs a checkpoint; nothing if it is too large.
func (f *Folder) sign(plain []byte, frontier feed.Frontier) (header, body []byte, err error) {
	enc, err := packer()
	if err != nil {
		return nil, nil, fail("checkpoint", f.grant.Name, ErrInvalid, err)
	}
	if body = enc.EncodeAll(plain, nil); len(body) > MaxCheckpoint {
		return nil, nil, nil
	}
	h := encode(checkpointHeader{
		Version: checkpointVersion, Folder: f.id, Maker: f.home.device, Frontier: frontier.Encode(),
		Size: uint64(len(body)), Plain: uint64(len(plain)), Body: blake3.Sum256(body), Rules: f.home.speaks.rules,
	})
	s := signedHeader{Header: h}
	copy(s.Signature[:], ed25519.Sign(f.home.key, headerHash(h)))
	return encode(s), body, nil
}

// atLength runs where something begins that takes long, and that nobody waits for: for tests.
var atLength = func() {}

// snapshot returns what the folder shows and at which frontier; nothing if that is little, or if
// a feed was forked, so that the frontier does not say which entries it is made of, or some of these
// are still to be read.
func (f *Folder) snapshot() (*tree.Shown, feed.Frontier, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first != nil || len(f.forked) > 0 || f.late || f.tree.Len() < worthNodes && f.order < worthEntries && !fault.On("crdt-always-checkpoint") {
		return nil, nil, nil
	}
	if err := f.sealLocked(); err != nil {
		return nil, nil, err
	}
	if fault.On("crdt-forges-checkpoint") {
		return f.forged(), f.frontier.Clone(), nil
	}
	return f.tree.Shown(), f.frontier.Clone(), nil
}

// forged breaks this device on purpose: what it says is shown never was.
func (f *Folder) forged() *tree.Shown {
	t := tree.New()
	op := tree.Op{Do: tree.OpCreate, Kind: Dir, Name: "forged", Mode: 0o755}
	op.Node = tree.NodeIDFor(op.Kind, op.Parent, op.Name, nil, 0)
	t.Apply([]tree.Stamped{{Stamp: tree.Stamp{Lamport: 1}, Op: op}})
	return t.Shown()
}

// eachText calls fn for the files whose name stands for a text, in the order of their paths,
// until it returns false.
func eachText(t *tree.Tree, fn func(*tree.Info) bool) {
	t.Each(func(e tree.Dirent) bool {
		if e.Kind != File || e.Alt {
			return true
		}
		n := t.Get(e.Node)
		if n.Object != nil || len(n.Version) == 0 {
			return true
		}
		return fn(n)
	})
}

// sizeAndText returns the size of a text, or -1 where it would have to be read first, and the
// text itself if it is to go with a checkpoint that carries so many bytes of texts already.
func (f *Folder) sizeAndText(n *tree.Info, carried int) (size int64, text string, err error) {
	known := false
	if len(n.Version) == 1 {
		size, known = f.knownSize(n.Node, n.Version[0])
	}
	if !known && carried >= carriedTexts {
		return -1, "", nil
	}
	if known && (size > carriedText || carried+int(size) > carriedTexts) {
		return size, "", nil
	}
	s, err := f.textOnce(n.Node, n.Text, n.Version)
	if err != nil {
		return 0, "", err
	}
	if len(n.Version) == 1 {
		f.mu.RLock()
		f.tree.SetTextSize(n.Node, n.Version[0], int64(len(s)))
		f.mu.RUnlock()
	}
	if len(s) > carriedText || carried+len(s) > carriedTexts {
		return int64(len(s)), "", nil
	}
	return int64(len(s)), strings.Clone(s), nil
}

// opened is what a checkpoint says.
type opened struct {
	tree  *tree.Tree
	shown Hash // of the tree's bytes
	sizes map[NodeID]int64
	texts map[NodeID]string
}

// open unpacks a body, checks it and makes a tree of it. The body may be anything.
func (c *Checkpoint) open(body []byte, applied int64) (*opened, error) {
	bad := func(why error) error { return fail("checkpoint", c.Maker.String(), ErrCheckpoint, why) }
	if len(body) != c.Size || Hash(blake3.Sum256(body)) != c.body {
		return nil, bad(errors.New("the body is another one"))
	}
	dec, err := unpacker()
	if err != nil {
		return nil, bad(err)
	}
	plain, err := dec.DecodeAll(body, nil)
	if err != nil {
		return nil, bad(err)
	}
	if uint64(len(plain)) != c.plain {
		return nil, bad(errors.New("it unpacks to something else"))
	}
	o, err := openPlain(plain, applied)
	if err != nil {
		return nil, bad(err)
	}
	return o, nil
}

func openPlain(plain []byte, applied int64) (*opened, error) {
	cut := errors.New("it is cut off")
	n, k := binary.Uvarint(plain)
	if k <= 0 || n > uint64(len(plain)-k) {
		return nil, cut
	}
	shown, rest := plain[k:k+int(n)], plain[k+int(n):]
	o := &opened{shown: blake3.Sum256(shown), sizes: map[NodeID]int64{}, texts: map[NodeID]string{}}
	var err error
	if o.tree, err = tree.DecodeShown(shown, applied); err != nil {
		return nil, err
	}
	number := func(limit uint64) (v uint64) {
		v, k := binary.Uvarint(rest)
		if k <= 0 || v > limit {
			err = cut
			return 0
		}
		rest = rest[k:]
		return v
	}
	carried := uint64(0)
	eachText(o.tree, func(n *tree.Info) bool {
		if size := number(MaxText + 1); size > 0 {
			o.sizes[n.Node] = int64(size - 1)
			if len(n.Version) == 1 {
				o.tree.SetTextSize(n.Node, n.Version[0], int64(size-1))
			}
		}
		size := number(uint64(len(rest)) + 1)
		if err != nil || size == 0 {
			return err == nil
		}
		size--
		if carried += size; size > carriedText || carried > carriedTexts {
			err = errors.New("more texts than go with one")
			return false
		}
		if size > uint64(len(rest)) || !IsText(rest[:size]) || o.sizes[n.Node] != int64(size) {
			err = fmt.Errorf("a text of %d bytes that is none", size)
			return false
		}
		o.texts[n.Node], rest = string(rest[:size]), rest[size:]
		return true
	})
	if err == nil && len(rest) > 0 {
		err = errors.New("there are bytes behind its end")
	}
	return o, err
}

// The packers are made when first needed: they are large.
var (
	packer = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	})
	unpacker = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxCheckpointPlain),
			zstd.WithDecoderMaxWindow(8<<20))
	})
)
