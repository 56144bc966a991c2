package crdt

import (
	"bytes"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// everyOp has one operation of each kind.
func everyOp() []op {
	node := tree.NodeIDFor(File, Root, "a", nil, 0)
	ev := text.Event{Hunks: []text.Hunk{{{Ins: "one\n"}}}}
	return []op{
		{Tree: &tree.Op{Do: tree.OpCreate, Node: node, Kind: File, Name: "a", Mode: 0o644}},
		{Text: &textOp{Node: node, Event: ev.Encode(), By: "a model"}},
		{Admit: &admitOp{Device{1}, "laptop"}},
		{Found: &foundOp{"desk"}},
		{Mark: &markOp{ID: ActionID{1}, Label: "git", Undoes: &ActionID{2}}},
		{},
	}
}

// again decodes b into v, encodes that, and holds that this is another reading of the same: what
// is encoded decodes, and encodes to the same bytes.
func again[T any](t *testing.T, b []byte) {
	var v, w T
	if decode(b, &v) != nil {
		return
	}
	c := encode(v)
	if err := decode(c, &w); err != nil {
		t.Fatalf("%x was decoded, but not what it encodes to, %x: %v", b, c, err)
	}
	if d := encode(w); !bytes.Equal(c, d) {
		t.Fatalf("%x encodes to %x and then to %x", b, c, d)
	}
}

// FuzzDecodeOps gives the decoder of payloads what a member may seal.
func FuzzDecodeOps(f *testing.F) {
	for _, o := range everyOp() {
		f.Add(encodeOps([]op{o}))
	}
	f.Add(encodeOps(everyOp()))
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := decodeOps(b)
		if err != nil {
			return
		}
		again[[]op](t, b)
		for _, o := range ops {
			if o.Text != nil {
				_, _ = text.DecodeEvent(o.Text.Event)
				_ = authorOf(o.Text.By)
			}
		}
	})
}

// FuzzStored gives the decoders of what a home keeps bytes that a disk may give back.
func FuzzStored(f *testing.F) {
	ops := everyOp()
	f.Add(encode(record{Feed: feed.ID{Run: 1}, Seq: 1, Lamport: 1, Ops: []recorded{{Tree: ops[0].Tree, Size: 3}, {Raw: &ops[1], Begin: true}}}))
	f.Add(encode(pendingOp{op: ops[1], Stored: &storedText{Key: []byte("k"), Parents: []EventID{{1}}}}))
	f.Add(encode(pendingHeader{1, 2, 3, 4}))
	f.Add(encode(ownState{1, feed.Frontier{}.Encode()}))
	f.Add(encode(spare{Pairs: []sparePair{{K: []byte("g/"), V: []byte("v")}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		again[record](t, b)
		again[pendingOp](t, b)
		again[pendingHeader](t, b)
		again[ownState](t, b)
		again[spare](t, b)
		// The file of the folders has a magic number and a checksum around it.
		whole := append([]byte(spareMagic), b...)
		sum := blake3.Sum256(whole)
		if s, err := decodeSpare(append(whole, sum[:]...)); err == nil && len(s.Pairs) > len(b) {
			t.Fatalf("%d pairs of %d bytes", len(s.Pairs), len(b))
		}
		_, _ = decodeSpare(b)
	})
}

// FuzzDecodeGrant gives DecodeGrant what an inviter may send.
func FuzzDecodeGrant(f *testing.F) {
	creator := Device{1}
	f.Add((&Grant{Folder: folderID(creator, [32]byte{2}), Name: "notes", Key: feed.Key{3}, Creator: creator, Nonce: [32]byte{2}}).Encode())
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := DecodeGrant(b)
		if err != nil {
			return
		}
		h, err := DecodeGrant(g.Encode())
		if err != nil || h != g {
			t.Fatalf("%+v comes back as %+v, %v", g, h, err)
		}
	})
}
