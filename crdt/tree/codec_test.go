package tree

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

var update = flag.Bool("update", false, "write the golden files")

// examples are operations of each kind, under the names they have in the golden file.
func examples() (names []string, ops []Op) {
	add := func(name string, op Op) {
		names, ops = append(names, name), append(ops, op)
	}
	first := hashOf("first")
	dir := NodeIDFor(Dir, Root, "dir", nil, 0)
	file := NodeIDFor(File, dir, "caf\xe9.txt", first[:], 3) // Latin-1: a name is bytes
	link := NodeIDFor(Symlink, dir, "link", []byte("../x"), 0)
	event := EventID(hashOf("event"))
	add("mkdir", Op{Do: OpCreate, Node: dir, Kind: Dir, Name: "dir", Mode: 0o755})
	add("create", Op{Do: OpCreate, Node: file, Kind: File, Parent: dir, Name: "caf\xe9.txt", Mode: 0o644, First: first, Gen: 3})
	add("symlink", Op{Do: OpCreate, Node: link, Kind: Symlink, Parent: dir, Name: "link", Mode: 0o777, Target: "../x"})
	add("place", Op{Do: OpPlace, Node: file, Name: "new"})
	add("remove", Op{Do: OpRemove, Node: file, Seen: Version{event}})
	add("remove-directory", Op{Do: OpRemove, Node: dir})
	add("text", Op{Do: OpContent, Node: file, Event: event, Text: file, Time: 1_700_000_000_000})
	add("object", Op{Do: OpContent, Node: file, Event: event, Parents: NewVersion(EventID{2}, EventID{1}), Object: &Object{Hash: first, Size: 1 << 40}})
	add("authored", Op{Do: OpContent, Node: file, Event: event, Text: file, By: "a model on anna"})
	add("mode", Op{Do: OpMode, Node: file, Mode: 0o4755})
	add("mtime", Op{Do: OpMtime, Node: file, Mtime: -1})
	add("setxattr", Op{Do: OpXattr, Node: file, Key: "user.k", Value: []byte{0, 255}})
	add("removexattr", Op{Do: OpXattr, Node: file, Key: "user.k", Delete: true})
	return names, ops
}

// The bytes of an operation are a format: devices of all versions must agree on them.
func TestGolden(t *testing.T) {
	const file = "testdata/ops.golden"
	names, ops := examples()
	var b strings.Builder
	for i := range ops {
		if !ops[i].valid() {
			t.Errorf("%s is not valid", names[i])
		}
		code := ops[i].Encode()
		b.WriteString(names[i] + " " + hex.EncodeToString(code) + "\n")
		got, err := DecodeOp(code)
		if err != nil || !reflect.DeepEqual(got, ops[i]) {
			t.Errorf("%s decodes to %+v, %v", names[i], got, err)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("encoded:\n%swant:\n%s", b.String(), want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	_, ops := examples()
	good := ops[0].Encode()
	if good[0] != 0xa5 || good[1] != 0 || good[2] != 1 {
		t.Fatalf("the examples below do not fit %x", good)
	}
	for name, code := range map[string][]byte{
		"nothing":         nil,
		"no map":          {0x80},
		"cut":             good[:len(good)-1],
		"more":            append(append([]byte{}, good...), 0),
		"unknown field":   append([]byte{0xa6}, append(append([]byte{}, good[1:]...), 0x17, 0x01)...),
		"long integer":    append([]byte{0xa5, 0, 0x18, 1}, good[3:]...),
		"short node":      {0xa2, 0, 1, 1, 0x41, 0},
		"double field":    {0xa2, 0, 1, 0, 1},
		"too large":       make([]byte, MaxOp+1),
		"text for a name": {0xa3, 0, 2, 1, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0x61, 'x'},
	} {
		if _, err := DecodeOp(code); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want %v", name, err, ErrMalformed)
		}
	}
}

// What decodes is in its one encoding, and a tree survives it.
func FuzzDecodeOp(f *testing.F) {
	_, ops := examples()
	for i := range ops {
		f.Add(ops[i].Encode())
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		op, err := DecodeOp(code)
		if err != nil {
			return
		}
		if string(op.Encode()) != string(code) {
			t.Fatalf("%x encodes to %x", code, op.Encode())
		}
		a := newAuthor(1)
		for i := range ops {
			a.do(ops[i])
		}
		r := newReplica(noFlaw, nil)
		a.do(op)
		if err := r.hear(a.done); err != nil {
			t.Fatal(err)
		}
		if err := differ(dump(r.tree), newOracle(a.done, func(feed.Hash) bool { return true }).dump()); err != nil {
			t.Fatal(err)
		}
	})
}
