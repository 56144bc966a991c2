package automerge

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/text"
)

// The document of a history never changes: people hold hashes of it. (That it is what the library makes, the tests of
// package text tell.)
func TestExportGolden(t *testing.T) {
	node := text.Node{1, 2, 3}
	first := text.Event{Hunks: []text.Hunk{{{Ins: "one\ntwo\n"}}}}
	v := []text.ID{first.ID(node)}
	ours := text.Event{Parents: v, Hunks: []text.Hunk{{{Pos: 0, Del: 3, Ins: "é漢😀"}}, {{Pos: 8, Ins: "three\n"}}}}
	theirs := text.Event{Parents: v, Hunks: []text.Hunk{{{Pos: 4, Del: 4}}}}
	var got []string
	err := each(node, []text.Event{first, ours, theirs}, func(_ []byte, h Hash) { got = append(got, hex.EncodeToString(h[:])) })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"9a79eb615afbb584daaaaf426f214277bc98218c098c8d814091e08fa674c3dd",
		"7baee6f333cfdeef0cedd489020253c1c857d0da9c2b4c6f7362f8e00e23cbdb",
		"bbd076efb906782a6c2865e25182087351a6595c5bf3d1a986a584cfb629f94d",
		"742451376cfc94defe942eb1dcd71ef89a55faa34e6d2ecdf31fc4ea262b0fc7",
		"2735e6fcb692b09ec9fe860b0bf314cf4b13f4197e055197723beded1b6888f5",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestExportMissingParent(t *testing.T) {
	if _, err := Export(text.Node{}, []text.Event{{Parents: []text.ID{{1}}}}); !errors.Is(err, text.ErrMissingParent) {
		t.Errorf("%v", err)
	}
}
