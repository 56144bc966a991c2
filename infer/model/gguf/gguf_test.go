package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// file builds a GGUF file piece by piece.
type file struct{ bytes.Buffer }

func (f *file) num(v any) *file { _ = binary.Write(f, binary.LittleEndian, v); return f }

func (f *file) text(s string) *file {
	f.num(uint64(len(s)))
	f.WriteString(s)
	return f
}

// small is a file with every kind of value.
func small() []byte {
	f := &file{}
	f.WriteString("GGUF")
	f.num(uint32(3)).num(uint64(1)).num(uint64(8))
	f.text("general.architecture").num(uint32(typeString)).text("llama")
	f.text("general.name").num(uint32(typeString)).text("A \x1b[31mname\n")
	f.text("general.size_label").num(uint32(typeString)).text("135M")
	f.text("general.file_type").num(uint32(typeUint32)).num(uint32(3))
	f.text("llama.context_length").num(uint32(typeUint64)).num(uint64(8192))
	f.text("tokenizer.ggml.tokens").num(uint32(typeArray)).num(uint32(typeString)).num(uint64(2)).text("a").text("b")
	f.text("tokenizer.ggml.scores").num(uint32(typeArray)).num(uint32(typeFloat32)).num(uint64(2)).num([2]float32{})
	f.text("tokenizer.chat_template").num(uint32(typeString)).text("{{ x }}")
	f.text("token_embd.weight").num(uint32(2)).num(uint64(4)).num(uint64(2)).num(uint32(0)).num(uint64(0))
	for f.Len()%32 != 0 {
		f.WriteByte(0)
	}
	f.Write(make([]byte, 32))
	return f.Bytes()
}

func TestParse(t *testing.T) {
	b := small()
	info, err := Parse(bytes.NewReader(b), int64(len(b)))
	want := Info{Architecture: "llama", Name: "A [31mname", Label: "135M", FileType: 3, Context: 8192, Template: true, Tensors: 1}
	if err != nil || info != want {
		t.Errorf("%+v, %v", info, err)
	}
	if d := info.Description(); d != "llama 135M Q4_1" {
		t.Error(d)
	}
}

func TestTruncatedAnywhere(t *testing.T) {
	b := small()
	for n := range b[:len(b)-31] {
		if _, err := Parse(bytes.NewReader(b[:n]), int64(n)); !errors.Is(err, ErrFormat) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{"a.gguf": small(), "b.gguf": []byte("PK\x03\x04 a zip file"), "c.gguf": nil} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); (err == nil) != (name == "a.gguf") || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(dir); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small())
	f.Add([]byte("GGUF\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Parse(bytes.NewReader(b), int64(len(b))); err != nil && !errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
	})
}
