package text

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write golden files")

func goldenEvents() []Event {
	a, b := ID{0xaa}, ID{0xbb}
	return []Event{
		{},
		{Hunks: []Hunk{{sp(0, 0, "first line\n")}}},
		{Parents: []ID{a}, Hunks: []Hunk{{sp(3, 2, "é漢😀"), sp(8, 0, "x")}, {sp(1000, 100000, "")}}},
		{Parents: []ID{a, b}, Hunks: []Hunk{{sp(11, 0, "log\n")}}, Nonce: []byte("0123456789abcdef")},
	}
}

// What is on disks and on the wire never changes: ids, and the order of texts with them, are hashes of it.
func TestEventGolden(t *testing.T) {
	var sb strings.Builder
	for _, e := range goldenEvents() {
		id := e.ID(testNode)
		sb.WriteString("event  " + hex.EncodeToString(e.Encode()) + "\n")
		sb.WriteString("id     " + id.String() + "\n")
		sb.WriteString("empty  " + e.EmptyChangeID(testNode).String() + "\n")
		for i := range e.Hunks {
			sb.WriteString("change " + e.ChangeID(testNode, i).String() + "\n")
		}
	}
	sb.WriteString("genesis " + GenesisID(testNode).String() + "\n")
	const name = "testdata/events.golden"
	if *update {
		if err := os.WriteFile(name, []byte(sb.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if sb.String() != string(want) {
		t.Errorf("the format has changed:\n%s\nwant:\n%s", sb.String(), want)
	}
}

func TestChangeIDs(t *testing.T) {
	for _, e := range goldenEvents() {
		for i, id := range e.changeIDs(testNode) {
			if id != e.ChangeID(testNode, i) {
				t.Errorf("%+v, hunk %d", e, i)
			}
		}
	}
}

func TestEventRoundTrip(t *testing.T) {
	for _, e := range goldenEvents() {
		got, err := DecodeEvent(e.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Encode(), e.Encode()) || got.ID(testNode) != e.ID(testNode) || e.ID(testNode) != EncodedID(testNode, e.Encode()) {
			t.Errorf("%+v became %+v", e, got)
		}
		if e.Nonce != nil && !reflect.DeepEqual(got, e) {
			t.Errorf("%+v became %+v", e, got)
		}
	}
}

// mirror is an event for a CBOR library.
type mirror struct {
	_      struct{} `cbor:",toarray"`
	Format int
	Event  struct {
		_       struct{} `cbor:",toarray"`
		Parents []ID
		Hunks   [][]struct {
			_        struct{} `cbor:",toarray"`
			Pos, Del int
			Ins      string
		}
		Nonce []byte
	}
}

// Events are canonical CBOR: a library that knows nothing of us reads them and writes the same bytes.
func TestEventIsCanonicalCBOR(t *testing.T) {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	enc, err := o.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	number := rapid.Custom(func(t *rapid.T) int {
		return 1<<rapid.IntRange(0, 30).Draw(t, "bit") + rapid.IntRange(-1, 1).Draw(t, "more")
	})
	splice := rapid.Custom(func(t *rapid.T) Splice {
		n := rapid.SampledFrom([]int{0, 1, 23, 24, 255, 256, 65535, 65536}).Draw(t, "n")
		return Splice{number.Draw(t, "pos"), number.Draw(t, "del"), strings.Repeat("é", n/2) + strings.Repeat("x", n%2)}
	})
	rapid.Check(t, func(t *rapid.T) {
		e := Event{
			Parents: make([]ID, rapid.IntRange(0, 30).Draw(t, "parents")),
			Hunks:   rapid.SliceOfN(rapid.Map(rapid.SliceOfN(splice, 0, 4), func(s []Splice) Hunk { return s }), 0, 30).Draw(t, "hunks"),
		}
		for i := range e.Parents {
			e.Parents[i] = ID{byte(i), byte(i)}
		}
		if rapid.Bool().Draw(t, "nonce") {
			e.Nonce = make([]byte, NonceSize)
		}
		b := e.Encode()
		var m mirror
		if err := cbor.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		again, err := enc.Marshal(m)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("we write %x, the library %x, %v", b, again, err)
		}
		got, err := DecodeEvent(b)
		if err != nil || !bytes.Equal(got.Encode(), b) {
			t.Fatalf("%x is read as %+v, %v", b, got, err)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := DecodeEvent(b[:cut]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%x, cut at %d: %v", b, cut, err)
		}
	})
}

func TestDecodeEventRefuses(t *testing.T) {
	a, b := ID{0xaa}, ID{0xbb}
	ok := (&Event{Parents: []ID{a}, Hunks: []Hunk{{sp(1, 2, "x")}}}).Encode()
	for name, data := range map[string][]byte{
		"nothing":               nil,
		"cut":                   ok[:len(ok)-1],
		"more behind":           append(bytes.Clone(ok), 0),
		"another format":        append([]byte{0x82, 0x02}, ok[2:]...),
		"parents descend":       (&Event{Parents: []ID{b, a}}).Encode(),
		"a parent twice":        (&Event{Parents: []ID{a, a}}).Encode(),
		"short nonce":           (&Event{Nonce: []byte("short")}).Encode(),
		"too many splices":      (&Event{Hunks: []Hunk{make(Hunk, MaxSplices), make(Hunk, 1)}}).Encode(),
		"too many parents":      (&Event{Parents: make([]ID, MaxParents+1)}).Encode(),
		"invalid UTF-8":         (&Event{Hunks: []Hunk{{sp(0, 0, "\xff")}}}).Encode(),
		"a longer integer":      bytes.Replace(ok, []byte{0x01, 0x02, 0x61}, []byte{0x18, 0x01, 0x02, 0x61}, 1),
		"a negative position":   (&Event{Hunks: []Hunk{{sp(-1, 0, "x")}}}).Encode(),
		"too long":              make([]byte, MaxEvent+1),
		"a map":                 {0xa0},
		"an endless array":      {0x9f, 0xff},
		"a position beyond int": {0x82, 0x01, 0x83, 0x80, 0x81, 0x81, 0x83, 0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x61, 'x', 0x40},
	} {
		if e, err := DecodeEvent(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, e := range goldenEvents() {
		f.Add(e.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		if !bytes.Equal(e.Encode(), b) {
			t.Fatalf("%x encodes as %x", b, e.Encode())
		}
		// Whatever was decoded can be added, at the start and after another.
		d := NewDoc(testNode)
		first := add(t, d, Event{Hunks: []Hunk{{sp(0, 0, "some text\n")}}})
		e.Parents = nil
		add(t, d, e)
		e.Parents = []ID{first}
		add(t, d, e)
		if d.Len() != len(d.Text()) {
			t.Fatalf("length %d of %q", d.Len(), d.Text())
		}
	})
}

func TestIsText(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "a\r\n\té漢😀": true, "\x01\x7f": true, "a\x00": false, "\xff": false, "caf\xc3": false, "\xed\xa0\x80": false,
		strings.Repeat("x", MaxText): true, strings.Repeat("x", MaxText+1): false,
	} {
		if IsText([]byte(s)) != want {
			t.Errorf("%.20q: %v", s, !want)
		}
	}
}
