package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// samples holds one message of every kind, as the golden files have them.
func samples() map[string]Message {
	var f feed.Folder
	var d feed.Device
	var h feed.Hash
	var secret [32]byte
	for i := range f {
		f[i], d[i], h[i], secret[i] = byte(i), byte(32+i), byte(64+i), byte(96+i)
	}
	heads := feed.Frontier{{Device: d, Run: 1}: {Feed: feed.ID{Device: d, Run: 1}, Seq: 7, Hash: h}}.Encode()
	return map[string]Message{
		"hello":    &Hello{Addrs: []string{"192.0.2.7:4701"}, You: "192.0.2.8:1", Joining: true},
		"join":     &Join{Folder: f, Secret: secret, Name: "laptop"},
		"granted":  &Granted{Grant: []byte("grant")},
		"refused":  &Refused{Reason: ReasonUsed},
		"open":     &Open{Folder: f, Frontier: h},
		"frontier": &Frontier{Heads: heads},
		"entries":  &Entries{Entries: [][]byte{[]byte("one"), []byte("two")}},
		"have":     &Have{Heads: heads, Want: 3, WantBytes: 4 << 20, Probe: 2},
		"probe":    &Probe{N: 2},
		"got":      &Got{Hashes: []feed.Hash{h}},
		"peers":    &Peers{Peers: []Peer{{Device: d, Addrs: []string{"[2001:db8::1]:4701"}, Linked: true}}},
		"get":      &Get{Folder: f, Hash: h, Size: 3 << 20, Off: 1 << 20},
		"digest":   &Digest{Version: 1, Frontier: h, Sum: feed.Hash(secret)},
		"ask":      &Ask{},
		"slice":    &Slice{Status: StatusHere, Data: []byte("slice")},

		"checkpoint": &Checkpoint{Data: []byte("body"), Last: true},
	}
}

func frame(t testing.TB, m Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := NewWriter(&b).Write(m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	all := samples()
	if len(all) != len(kinds) {
		t.Fatalf("%d samples for %d kinds", len(all), len(kinds))
	}
	for name, m := range all {
		path := filepath.Join("testdata", name+".hex")
		got := hex.EncodeToString(frame(t, m)) + "\n"
		if os.Getenv("SHEAF_UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: the encoding changed: %swant %s", name, got, want)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(want)))
		if err != nil {
			t.Fatal(err)
		}
		back, err := NewReader(bytes.NewReader(b)).Read()
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s: read back as %+v, %v; want %+v", name, back, err, m)
		}
	}
}

func TestReadInSequence(t *testing.T) {
	var b bytes.Buffer
	for range 3 {
		b.Write(frame(t, samples()["entries"]))
	}
	r := NewReader(iotest{&b})
	for range 3 {
		m, err := r.Read()
		if err != nil || !reflect.DeepEqual(m, samples()["entries"]) {
			t.Fatalf("read %v, %v", m, err)
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Fatalf("at the end: %v, want io.EOF", err)
	}
}

// iotest gives one byte at a time.
type iotest struct{ r io.Reader }

func (r iotest) Read(p []byte) (int, error) { return r.r.Read(p[:min(1, len(p))]) }

func TestLargeEntry(t *testing.T) {
	m := &Entries{Entries: [][]byte{bytes.Repeat([]byte("x"), feed.MaxEntry)}}
	back, err := NewReader(bytes.NewReader(frame(t, m))).Read()
	if err != nil || !reflect.DeepEqual(back, m) {
		t.Fatalf("the largest entry did not come through: %v", err)
	}
	m.Entries[0] = append(m.Entries[0], make([]byte, 100)...)
	if err := NewWriter(io.Discard).Write(m); err == nil {
		t.Error("an entry over the limit was written")
	}
}

func TestReadRefuses(t *testing.T) {
	open := frame(t, samples()["open"])
	long := bytes.Clone(open)
	binary.BigEndian.PutUint32(long, 1<<31)
	none := make([]byte, headerLen)
	unknown := bytes.Clone(open)
	unknown[4] = 99
	spare := append(bytes.Clone(open), 0)
	binary.BigEndian.PutUint32(spare, uint32(len(spare)-4))
	// 0x18 0x01 spells 1 in two bytes where one would do.
	loose := []byte{0, 0, 0, 4, byte(kindRefused), 0x81, 0x18, 0x01}
	hash := append([]byte{0, 0, 0, 0, byte(kindOpen), 0x82, 0x41, 0x01, 0x41}, 0x02)
	binary.BigEndian.PutUint32(hash, uint32(len(hash)-4))
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"too long":       {long, ErrMalformed},
		"no kind":        {none, ErrMalformed},
		"unknown kind":   {unknown, ErrMalformed},
		"spare byte":     {spare, ErrMalformed},
		"loose spelling": {loose, ErrMalformed},
		"short hash":     {hash, ErrMalformed},
		"garbage":        {[]byte("GET / HTTP/1.1\r\n\r\n"), ErrMalformed},
		"cut":            {open[:20], io.ErrUnexpectedEOF},
		"cut header":     {open[:3], io.ErrUnexpectedEOF},
	} {
		if m, err := NewReader(bytes.NewReader(c.frame)).Read(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want error %v", name, m, err, c.want)
		}
	}
}

func TestChecks(t *testing.T) {
	for name, m := range map[string]Message{
		"long name":       &Join{Name: strings.Repeat("x", MaxName+1)},
		"long address":    &Hello{Addrs: []string{strings.Repeat("x", MaxAddr+1)}},
		"many addresses":  &Hello{Addrs: make([]string, MaxAddrs+1)},
		"no entries":      &Entries{},
		"many entries":    &Entries{Entries: make([][]byte, MaxEntries+1)},
		"no reason":       &Refused{},
		"off the grid":    &Get{Size: 10, Off: 5},
		"beyond the end":  &Get{Size: SliceSize, Off: SliceSize},
		"negative size":   &Get{Size: -1},
		"absent but data": &Slice{Status: StatusAbsent, Data: []byte("x")},
		"long slice":      &Slice{Data: make([]byte, maxSlice+1)},
		"many peers":      &Peers{Peers: make([]Peer, MaxPeers+1)},
		"many hashes":     &Got{Hashes: make([]feed.Hash, MaxHashes+1)},
	} {
		if err := NewWriter(io.Discard).Write(m); err == nil {
			t.Errorf("%s: %T was written", name, m)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, m := range samples() {
		f.Add(frame(f, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for at := 0; ; {
			m, err := r.Read()
			if err != nil {
				return
			}
			again := frame(t, m)
			if !bytes.HasPrefix(b[at:], again) {
				t.Fatalf("%T was read from another spelling", m)
			}
			at += len(again)
		}
	})
}

func BenchmarkSlice(b *testing.B) {
	m := &Slice{Data: make([]byte, SliceSize)}
	in := frame(b, m)
	b.SetBytes(int64(len(in)))
	src := bytes.NewReader(nil)
	r := NewReader(src)
	for b.Loop() {
		src.Reset(in)
		if _, err := r.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
