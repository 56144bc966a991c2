package feed

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"
)

// signer returns the device of number n.
func signer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func testHash(s string) Hash { return Hash(blake3.Sum256([]byte(s))) }

// testFolder is the folder of all entries here.
var testFolder = Folder(testHash("folder"))

func testDraft(priv ed25519.PrivateKey) Draft {
	return Draft{
		Folder: testFolder, Feed: ID{Device: DeviceOf(priv), Run: 3}, Seq: 7, Prev: testHash("prev"),
		Frontier: []Head{
			{Feed: ID{Device: DeviceOf(signer(9))}, Seq: 12, Hash: testHash("b")},
			{Feed: ID{Device: DeviceOf(priv), Run: 2}, Seq: 4, Hash: testHash("a")},
		},
		Time: time.UnixMilli(1_700_000_000_123),
	}
}

func TestSealDecodeOpen(t *testing.T) {
	priv, key := signer(1), Key(testHash("key"))
	for _, plain := range [][]byte{nil, []byte("operations"), bytes.Repeat([]byte("sheaf "), 200_000)} {
		e, err := Seal(priv, key, testDraft(priv), plain)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Verify(); err != nil {
			t.Fatal(err)
		}
		d, err := Decode(testFolder, e.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Verify(); err != nil {
			t.Fatal(err)
		}
		if d.Hash() != e.Hash() || d.Head() != e.Head() || !bytes.Equal(d.Bytes(), e.Bytes()) || !slices.Equal(d.Frontier, e.Frontier) ||
			d.Folder != e.Folder || d.Prev != e.Prev || d.Time != e.Time || d.Epoch != e.Epoch || d.Signature != e.Signature || !bytes.Equal(d.Payload, e.Payload) {
			t.Fatal("decoded entry differs from the sealed one")
		}
		for _, x := range []*Entry{e, d} {
			got, err := x.Open(key)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("Open of %d bytes: %d bytes, %v", len(plain), len(got), err)
			}
		}
		if other, err := Decode(Folder(testHash("other folder")), e.Bytes()); err != nil || !errors.Is(other.Verify(), ErrSignature) {
			t.Fatalf("in another folder: %v", err)
		}
		if _, err := d.Open(Key(testHash("other key"))); !errors.Is(err, ErrKey) {
			t.Fatalf("Open with another key: %v", err)
		}
	}
}

// A ciphertext moved to another place does not open, even if its new place is signed well.
func TestPayloadIsBoundToItsPlace(t *testing.T) {
	priv, key := signer(1), Key(testHash("key"))
	e, err := Seal(priv, key, testDraft(priv), []byte("operations"))
	if err != nil {
		t.Fatal(err)
	}
	moves := map[string]func(*Entry){
		"folder":   func(e *Entry) { e.Folder[0]++ },
		"run":      func(e *Entry) { e.Feed.Run++ },
		"seq":      func(e *Entry) { e.Seq++ },
		"prev":     func(e *Entry) { e.Prev[0]++ },
		"frontier": func(e *Entry) { e.Frontier = e.Frontier[:1] },
		"time":     func(e *Entry) { e.Time++ },
		"payload":  func(e *Entry) { e.Payload = slices.Clone(e.Payload); e.Payload[len(e.Payload)-1]++ },
	}
	for name, move := range moves {
		m := *e
		move(&m)
		m.encode()
		copy(m.Signature[:], ed25519.Sign(priv, toSign(m.hash)))
		m.setSignature()
		d, err := Decode(m.Folder, m.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := d.Verify(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := d.Open(key); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s changed: Open says %v", name, err)
		}
	}
}

// Whatever bit of an entry is flipped: it is malformed, or its signature is wrong.
func TestFlippedBits(t *testing.T) {
	priv := signer(1)
	e, err := Seal(priv, Key{}, testDraft(priv), []byte("operations"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.Bytes() {
		b := slices.Clone(e.Bytes())
		b[i] ^= 1 << (i % 8)
		d, err := Decode(testFolder, b)
		if err == nil {
			err = d.Verify()
		}
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := range e.Bytes() {
		if _, err := Decode(testFolder, e.Bytes()[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := Decode(testFolder, append(slices.Clone(e.Bytes()), 0)); !errors.Is(err, ErrMalformed) {
		t.Fatalf("one byte more: %v", err)
	}
}

func TestDraftsThatAreRefused(t *testing.T) {
	priv := signer(1)
	other := Head{Feed: ID{Device: DeviceOf(signer(2))}, Seq: 1}
	tests := []struct {
		name   string
		change func(*Draft)
		want   error
	}{
		{"seq 0", func(d *Draft) { d.Seq = 0 }, ErrMalformed},
		{"seq beyond", func(d *Draft) { d.Seq = MaxSeq + 1 }, ErrMalformed},
		{"run beyond", func(d *Draft) { d.Feed.Run = MaxSeq + 1 }, ErrMalformed},
		{"first with predecessor", func(d *Draft) { d.Seq = 1 }, ErrMalformed},
		{"later without", func(d *Draft) { d.Prev = Hash{} }, ErrMalformed},
		{"own feed in frontier", func(d *Draft) { d.Frontier = []Head{{Feed: d.Feed, Seq: 1}} }, ErrMalformed},
		{"a feed twice", func(d *Draft) { d.Frontier = []Head{other, other} }, ErrMalformed},
		{"head 0", func(d *Draft) { d.Frontier = []Head{{Feed: other.Feed}} }, ErrMalformed},
		{"frontier too long", func(d *Draft) { d.Frontier = make([]Head, MaxFrontier+1) }, ErrTooLarge},
		{"another's feed", func(d *Draft) { d.Feed.Device = DeviceOf(signer(2)) }, ErrKey},
	}
	for _, tt := range tests {
		d := testDraft(priv)
		tt.change(&d)
		if _, err := Seal(priv, Key{}, d, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := Seal(priv, Key{}, testDraft(priv), make([]byte, MaxPlain+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("plain too large: %v", err)
	}
	if _, err := Decode(testFolder, make([]byte, MaxEntry+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("entry too large: %v", err)
	}
}

func TestWhatDoesNotCompress(t *testing.T) {
	priv := signer(1)
	noise := make([]byte, MaxEntry)
	blake3.New().Digest().Read(noise)
	if _, err := Seal(priv, Key{}, testDraft(priv), noise); !errors.Is(err, ErrTooLarge) {
		t.Errorf("incompressible %d bytes: %v", len(noise), err)
	}
	if _, err := Seal(priv, Key{}, testDraft(priv), noise[:MaxEntry-4096]); err != nil {
		t.Errorf("incompressible %d bytes: %v", MaxEntry-4096, err)
	}
}

// A bomb that a member made on purpose is refused before it fills memory.
func TestDecompressionBomb(t *testing.T) {
	priv, key := signer(1), Key{1}
	enc, err := encoder()
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, MaxPlain+1), []byte{packedZstd})
	e := sealPacked(priv, key, testDraft(priv), bomb)
	if _, err := e.Open(key); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("Open: %v", err)
	}
	e = sealPacked(priv, key, testDraft(priv), []byte("\x01not zstd"))
	if _, err := e.Open(key); !errors.Is(err, ErrMalformed) {
		t.Fatalf("Open of what is not compressed: %v", err)
	}
	twice := slices.Concat([]byte{packedZstd}, enc.EncodeAll(make([]byte, MaxPlain), nil), enc.EncodeAll(make([]byte, MaxPlain), nil))
	e = sealPacked(priv, key, testDraft(priv), twice)
	if _, err := e.Open(key); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("Open of two frames: %v", err)
	}
}

// What a later version of the format made is told from what is malformed: it is nobody's fault.
func TestNewer(t *testing.T) {
	priv, key := signer(1), Key{1}
	e := sealPacked(priv, key, testDraft(priv), []byte("\x02packed as nobody knows yet"))
	if _, err := e.Open(key); !errors.Is(err, ErrNewer) {
		t.Errorf("Open of what is packed in a new way: %v", err)
	}
	header := func(fields ...any) []byte {
		return encode(wireEntry{Header: encode(fields), Payload: make([]byte, minPayload), Signature: make([]byte, ed25519.SignatureSize)})
	}
	for want, entries := range map[error][][]byte{
		ErrNewer: {
			header(version+1, Device{1}, 0, 1, Hash{}, []wireHead{}, Epoch{}, 0),
			header(version+1, Device{1}, 0, 1, Hash{}, []wireHead{}, Epoch{}, 0, "and more"),
			header(version + 1),
		},
		ErrMalformed: {
			header(version-1, Device{1}, 0, 1, Hash{}, []wireHead{}, Epoch{}, 0),
			header(version), header(), header("3"), header(-1),
		},
	} {
		for i, b := range entries {
			if _, err := Decode(testFolder, b); !errors.Is(err, want) {
				t.Errorf("Decode of entry %d that is %v: %v", i, want, err)
			}
		}
	}
}

// sealPacked seals bytes that Seal would not.
func sealPacked(priv ed25519.PrivateKey, key Key, d Draft, packed []byte) *Entry {
	e := &Entry{Folder: d.Folder, Feed: d.Feed, Seq: d.Seq, Prev: d.Prev, Epoch: key.Epoch(), Time: d.Time.UnixMilli()}
	e.sealPacked(key, append(make([]byte, saltSize), packed...))
	e.encode()
	return e
}

func TestSmallOrderKeysSignNothing(t *testing.T) {
	identity := Device{1}
	e := &Entry{Feed: ID{Device: identity}, Seq: 1, Payload: make([]byte, minPayload)}
	e.encode()
	e.Signature[0] = 1 // R = identity, S = 0
	e.setSignature()
	if !ed25519.Verify(identity[:], toSign(e.hash), e.Signature[:]) {
		t.Log("crypto/ed25519 now refuses small-order keys itself")
	}
	if err := e.Verify(); !errors.Is(err, ErrMalformed) {
		t.Fatalf("Verify: %v", err)
	}
	if _, err := ParseDevice(identity.String()); !errors.Is(err, ErrMalformed) {
		t.Fatalf("ParseDevice: %v", err)
	}
}

func TestFrontier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Frontier{}
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			id := ID{Device: Device{rapid.Byte().Draw(t, "device")}, Run: rapid.Uint64Range(0, 2).Draw(t, "run")}
			seq := rapid.Uint64Range(1, MaxSeq).Draw(t, "seq")
			before := f[id].Seq
			if f.Advance(Head{Feed: id, Seq: seq, Hash: testHash("x")}) != (seq > before) {
				t.Fatalf("Advance from %d to %d", before, seq)
			}
			if !f.Covers(id, seq) || f.Covers(id, max(seq, before)+1) {
				t.Fatal("Covers")
			}
		}
		g, err := DecodeFrontier(f.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.Heads(), g.Heads()) || f.Hash() != g.Hash() || len(f) != len(g) {
			t.Fatal("decoded frontier differs")
		}
		c := f.Clone()
		c.Advance(Head{Feed: ID{Run: 9}, Seq: 1})
		if f.Covers(ID{Run: 9}, 1) || c.Hash() == f.Hash() {
			t.Fatal("a clone shares with its origin")
		}
	})
}

// A frontier names more feeds than an entry can.
func TestLongFrontier(t *testing.T) {
	f := Frontier{}
	const n = MaxFrontier + 1
	for i := range uint64(n) {
		f.Advance(Head{Feed: ID{Run: i}, Seq: 1})
	}
	g, err := DecodeFrontier(f.Encode())
	if err != nil || len(g) != n {
		t.Fatalf("%d feeds, %v", len(g), err)
	}
}

func TestText(t *testing.T) {
	d := DeviceOf(signer(1))
	got, err := ParseDevice(d.String())
	if err != nil || got != d || len(d.String()) != 52 || len(d.Short()) != 8 {
		t.Fatalf("%s: %s, %v", d, got, err)
	}
	var back Device
	b, _ := d.MarshalText()
	if err := back.UnmarshalText(b); err != nil || back != d {
		t.Fatal(err)
	}
	f := Folder(testHash("f"))
	if g, err := ParseFolder(f.String()); err != nil || g != f {
		t.Fatal(err)
	}
	var h Hash
	b, _ = testHash("h").MarshalText()
	if err := h.UnmarshalText(b); err != nil || h != testHash("h") {
		t.Fatal(err)
	}
	s := d.String()
	for _, bad := range []string{"", s[:51], s + "a", s[:51] + "9", "A" + s[1:], s[:51] + string(s[51]+1), string(make([]byte, 1000))} {
		if _, err := ParseDevice(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseDevice(%q): %v", bad, err)
		}
	}
	if s := (Key{1}).String(); len(s) > 24 {
		t.Errorf("a key prints itself: %s", s)
	}
}
