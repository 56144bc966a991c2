//go:build cgo

package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lib "github.com/automerge/automerge-go"

	"github.com/sheaf-fs/sheaf/cmd/internal/automerge"
)

// program is what make built, else built now: not the test binary, which the race detector would
// leave no room in its memory.
var program = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("SHEAF_BIN"); built != "" {
		return filepath.Join(filepath.Dir(built), automerge.Program), nil
	}
	path := filepath.Join(scratch, automerge.Program)
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sheaf-automerge")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func library(t *testing.T) *automerge.Library {
	l := &automerge.Library{Time: 10 * time.Minute, Command: func() (*exec.Cmd, error) { // however slow the machine is
		path, err := program()
		return exec.Command(path), err
	}}
	t.Cleanup(l.Close)
	return l
}

func document(t *testing.T, set map[string]any, edits ...func(*lib.Doc)) []byte {
	d := lib.New()
	for k, v := range set {
		if err := d.RootMap().Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Commit("first"); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(d)
		if _, err := d.Commit("edit"); err != nil {
			t.Fatal(err)
		}
	}
	return d.Save()
}

func TestRead(t *testing.T) {
	l := library(t)
	edit := func(d *lib.Doc) {
		if err := d.Path("content").Text().Splice(0, 1, "O"); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		doc  []byte
		key  string
		want automerge.Answer
	}{
		"the usual key":   {document(t, map[string]any{"content": lib.NewText("one\n"), "other": "x"}, edit), "", automerge.Answer{Key: "content", Text: "One\n", Keys: []string{"content", "other"}}},
		"another":         {document(t, map[string]any{"content": lib.NewText("one\n"), "other": "x"}), "other", automerge.Answer{Key: "other", Text: "x", Keys: []string{"content", "other"}}},
		"the only one":    {document(t, map[string]any{"notes": lib.NewText("é漢😀"), "n": 7}), "", automerge.Answer{Key: "notes", Text: "é漢😀", Keys: []string{"notes"}}},
		"several":         {document(t, map[string]any{"a": "1", "b": "2"}), "", automerge.Answer{Keys: []string{"a", "b"}}},
		"none":            {document(t, map[string]any{"n": 7}), "", automerge.Answer{}},
		"not of that key": {document(t, map[string]any{"a": "1"}), "b", automerge.Answer{Keys: []string{"a"}}},
	} {
		a, err := l.Read(t.Context(), automerge.Query{Document: c.doc, Key: c.key, History: true})
		if err != nil || a.Key != c.want.Key || a.Text != c.want.Text || strings.Join(a.Keys, " ") != strings.Join(c.want.Keys, " ") {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if name == "the usual key" && (len(a.Steps) != 2 || a.Steps[0].Text != "one\n" || a.Steps[1].Text != "One\n" || len(a.Steps[1].After) != 1) {
			t.Errorf("%s: steps %+v", name, a.Steps)
		}
	}
}

// Documents that were damaged, or made to do damage, are refused or read; the library's process
// may end of one, and reads the next.
func TestHostile(t *testing.T) {
	l := library(t)
	good := document(t, map[string]any{"content": lib.NewText(strings.Repeat("some text\n", 100))})
	hostile := [][]byte{nil, []byte("x"), good[:len(good)/2], bytes.Repeat(good, 3), append(bytes.Clone(good), 0xff), bomb(t)}
	r := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		b := bytes.Clone(good)
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			b = seal(b)
		}
		hostile = append(hostile, b)
	}
	for i, b := range hostile {
		_, err := l.Read(t.Context(), automerge.Query{Document: b, History: true})
		if err != nil && !errors.Is(err, automerge.ErrRefused) && !errors.Is(err, automerge.ErrDied) {
			t.Errorf("document %d: %v", i, err)
		}
	}
	if a, err := l.Read(t.Context(), automerge.Query{Document: good}); err != nil || a.Key != "content" {
		t.Fatalf("a good one after them: %+v, %v", a, err)
	}
}

// seal gives a document of one chunk the checksum of what it holds now, so that more than the
// checksum is tried.
func seal(b []byte) []byte {
	if len(b) > 8 {
		sum := sha256.Sum256(b[8:])
		copy(b[4:8], sum[:4])
	}
	return b
}

// bomb is a compressed change of 64 MiB.
func bomb(t *testing.T) []byte {
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 64 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := []byte{0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 2}
	b = binary.AppendUvarint(b, uint64(z.Len()))
	return append(b, z.Bytes()...)
}
