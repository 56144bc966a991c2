package feed

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew: a change of the format")

// golden is an entry as it must be read by every sheaf that knows version 2 of the format.
type golden struct {
	Key       string
	Plain     string
	Entry     string // hexadecimal
	Hash      Hash
	Folder    Folder
	Device    Device
	Run, Seq  uint64
	Prev      Hash
	Frontier  string // Encode, in hexadecimal
	Heads     Hash   // its hash
	Epoch     string
	Time      int64
	Signature string
}

func describe(e *Entry, key Key, plain []byte) golden {
	f := Frontier{}
	for _, h := range e.Frontier {
		f.Advance(h)
	}
	return golden{
		Key: hex.EncodeToString(key[:]), Plain: string(plain), Entry: hex.EncodeToString(e.Bytes()), Hash: e.Hash(),
		Folder: e.Folder, Device: e.Feed.Device, Run: e.Feed.Run, Seq: e.Seq, Prev: e.Prev,
		Frontier: hex.EncodeToString(f.Encode()), Heads: f.Hash(), Epoch: e.Epoch.String(), Time: e.Time,
		Signature: hex.EncodeToString(e.Signature[:]),
	}
}

func TestGolden(t *testing.T) {
	priv, key := signer(1), Key(testHash("key"))
	first := Draft{Folder: Folder(testHash("folder")), Feed: ID{Device: DeviceOf(priv)}, Seq: 1, Time: time.UnixMilli(-5)}
	drafts := map[string]struct {
		draft Draft
		plain string
	}{
		"first":    {first, ""},
		"ordinary": {testDraft(priv), "operations " + strings.Repeat("that repeat ", 20)},
	}
	for name, d := range drafts {
		path := filepath.Join("testdata", name+".json")
		if *update {
			e, err := Seal(priv, key, d.draft, []byte(d.plain))
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.MarshalIndent(describe(e, key, []byte(d.plain)), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var want golden
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(want.Entry)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Decode(want.Folder, raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Verify(); err != nil {
			t.Error(err)
		}
		plain, err := e.Open(key)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(e, key, plain); got != want {
			t.Errorf("%s:\n%+v\nis not\n%+v", name, got, want)
		}
		// Sealed again it differs in nonce and ciphertext only.
		again, err := Seal(priv, key, d.draft, plain)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.header, e.header) || string(plain) != d.plain {
			t.Errorf("%s: sealed with another header", name)
		}
	}
}
