package crdt_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// TestBulk holds that texts which are read from their entries are what was written: at once,
// after a restart, on another device, and under later changes.
func TestBulk(t *testing.T) {
	a, b := pair(t)
	a.create("before", "pending\n")
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("line of file %d\n", i), 1+i*10) }
	const files = 40 // short ones, and more than an entry lends
	last := a.f.Last()
	err := a.f.Bulk(func(tx *crdt.Tx) error {
		for i := range files {
			if _, _, err := tx.Create(crdt.Root, fmt.Sprintf("f%d", i), 0o644, crdt.NewContent{Text: text(i)}); err != nil {
				return err
			}
		}
		_, _, err := tx.Create(crdt.Root, "large", 0o644, crdt.NewContent{Text: text(10_000)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := a.f.Last() - last; n != 2 {
		t.Errorf("%d entries, want one for what was pending and one for the rest", n)
	}
	check := func(d *device, when string) {
		t.Helper()
		for i := range files {
			if got := d.read(fmt.Sprintf("f%d", i)).Text; got != text(i) {
				t.Fatalf("%s, f%d is %d bytes, want %d", when, i, len(got), len(text(i)))
			}
		}
		if got := d.read("large").Text; got != text(10_000) {
			t.Fatalf("%s, large is %d bytes", when, len(got))
		}
	}
	check(a, "at once")
	a.send(b)
	check(b, "on the other device")
	b.reopen()
	check(b, "on the other device, opened again")
	a.write("f30", a.node("f30").Version, text(30)+"more\n")
	a.reopen()
	if got := a.read("f30").Text; got != text(30)+"more\n" {
		t.Errorf("f30 was written to, and ends with %.20q", got[max(0, len(got)-20):])
	}
	revs, err := a.f.History("f30", 0)
	if err != nil || len(revs) == 0 || revs[len(revs)-1].Added != len(text(30)) {
		t.Errorf("history of f30: %+v, %v", revs, err)
	}
	a.send(b)
	if a.dump() != b.dump() {
		t.Error("the devices differ")
	}
}

// What a Bulk did before it failed stands, and nothing of it is pending.
func TestBulkFails(t *testing.T) {
	a, b := pair(t)
	stop := errors.New("stop")
	err := a.f.Bulk(func(tx *crdt.Tx) error {
		if _, _, err := tx.Create(crdt.Root, "f", 0o644, crdt.NewContent{Text: "one\n"}); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	a.send(b)
	if got := b.read("f").Text; got != "one\n" {
		t.Errorf("f is %q", got)
	}
	a.reopen()
	a.write("f", a.node("f").Version, "two\n")
	a.send(b)
	if got := b.read("f").Text; got != "two\n" {
		t.Errorf("f is %q", got)
	}
}
