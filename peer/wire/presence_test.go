package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

func samplePresence() *Presence {
	return &Presence{Folder: feed.Folder{1, 2, 3}, N: 7, Files: []OpenFile{
		{Node: [16]byte{4, 5}, Writing: true, Program: "vim"}, {Node: [16]byte{6}},
	}}
}

func TestPresenceGolden(t *testing.T) {
	b, err := samplePresence().Encode()
	if err != nil {
		t.Fatal(err)
	}
	path, got := filepath.Join("testdata", "presence.hex"), hex.EncodeToString(b)+"\n"
	if os.Getenv("SHEAF_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("encoding is %s, not %s (%v)", got, want, err)
	}
	back, err := DecodePresence(b)
	if err != nil || !reflect.DeepEqual(back, samplePresence()) {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

// TestLargestPresence: the limits of a Presence never make more than a datagram.
func TestLargestPresence(t *testing.T) {
	p := &Presence{N: 1 << 63}
	for range MaxOpen {
		f := OpenFile{Writing: true, Program: strings.Repeat("x", MaxProgram)}
		for i := range f.Node {
			f.Node[i] = 0xff
		}
		p.Files = append(p.Files, f)
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodePresence(b); err != nil {
		t.Fatal(err)
	}
}

func TestPresenceRefuses(t *testing.T) {
	good, _ := samplePresence().Encode()
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":     {nil, ErrMalformed},
		"too long":    {make([]byte, MaxPresence+1), ErrMalformed},
		"new version": {append([]byte{presenceVersion + 1}, good[1:]...), ErrVersion},
		"cut short":   {good[:len(good)-1], ErrMalformed},
		"too much":    {append(bytes.Clone(good), 0), ErrMalformed},
		"an escape":   {bytes.Replace(good, []byte("vim"), []byte("v\x1bm"), 1), ErrMalformed},
	} {
		if _, err := DecodePresence(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, p := range map[string]*Presence{
		"many files": {Files: make([]OpenFile, MaxOpen+1)},
		"long name":  {Files: []OpenFile{{Program: strings.Repeat("x", MaxProgram+1)}}},
	} {
		if _, err := p.Encode(); err == nil {
			t.Errorf("%s: was encoded", name)
		}
	}
}

func FuzzPresence(f *testing.F) {
	b, err := samplePresence().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePresence(b)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x comes back as %x, %v", b, again, err)
		}
	})
}
