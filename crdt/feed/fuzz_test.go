package feed

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzDecode(f *testing.F) {
	priv := signer(1)
	for _, d := range []Draft{testDraft(priv), {Feed: ID{Device: DeviceOf(priv)}, Seq: 1}} {
		e, err := Seal(priv, Key{}, d, []byte("operations"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.Bytes())
		f.Add(e.Bytes()[:len(e.Bytes())-1])
	}
	f.Add([]byte{0x83, 0x40, 0x40, 0x40})
	f.Add([]byte{0x9f, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		e, err := Decode(testFolder, b)
		if !bytes.Equal(given, b) {
			t.Fatal("Decode changed its argument")
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(e.Bytes(), b) {
			t.Fatal("two encodings of one entry")
		}
		_ = e.Verify()
		if _, err := e.Open(Key{}); err != nil && !errors.Is(err, ErrKey) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
	})
}

// FuzzOpen gives Open what a member sealed on purpose.
func FuzzOpen(f *testing.F) {
	priv, key := signer(1), Key{7}
	enc, err := encoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{packedPlain})
	f.Add(enc.EncodeAll([]byte("operations"), []byte{packedZstd}))
	f.Add(enc.EncodeAll(make([]byte, 1<<20), []byte{packedZstd}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		if len(packed) == 0 {
			return // Decode refuses such a payload
		}
		plain, err := sealPacked(priv, key, testDraft(priv), packed).Open(key)
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && (!errors.Is(err, ErrNewer) || packed[0] <= packedZstd) {
			t.Fatal(err)
		}
		if len(plain) > MaxPlain {
			t.Fatalf("%d bytes", len(plain))
		}
	})
}

func FuzzDecodeFrontier(f *testing.F) {
	f.Add(Frontier{}.Encode())
	f.Add(Frontier{{Run: 1}: {Feed: ID{Run: 1}, Seq: 9}, {Run: 2}: {Feed: ID{Run: 2}, Seq: 1, Hash: Hash{3}}}.Encode())
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := DecodeFrontier(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(fr.Encode(), b) {
			t.Fatal("two encodings of one frontier")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(DeviceOf(signer(1)).String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDevice(s); err == nil && d.String() != s {
			t.Fatal("two spellings of one device")
		}
		if d, err := ParseFolder(s); err == nil && d.String() != s {
			t.Fatal("two spellings of one folder")
		}
	})
}
