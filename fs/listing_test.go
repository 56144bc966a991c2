package fs

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A listing that the kernel keeps is used until a name changes, whoever changes it.
func TestKeptListing(t *testing.T) {
	here, far := pair(t)
	here.run("mkdir d && touch d/a d/b")
	here.flush()
	exchange(t, here, far)
	list := func() string { return here.run("ls d d") } // twice, the second time from the cache
	equal(t, "at first", list(), "d:\na\nb\n\nd:\na\nb\n")
	here.run("touch d/c")
	equal(t, "with a new file", list(), "d:\na\nb\nc\n\nd:\na\nb\nc\n")
	here.run("rm d/a")
	equal(t, "without a removed file", list(), "d:\nb\nc\n\nd:\nb\nc\n")
	here.flush()
	exchange(t, here, far)
	dir, err := far.f.Resolve("d")
	if err != nil {
		t.Fatal(err)
	}
	if err := far.f.Update(func(tx *crdt.Tx) error {
		_, _, err := tx.Create(dir.Node, "e", 0o644, crdt.NewContent{Text: "far\n"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	exchange(t, here, far)
	eventually(t, "a file of the other device is listed", func() bool { return list() == "d:\nb\nc\ne\n\nd:\nb\nc\ne\n" })
	here.run("git init -q d")
	equal(t, "with a name of this device", here.run("ls -A d"), ".git\nb\nc\ne\n")
}

// Who lists a directory and removes what it finds gets every name once, also where
// the beginning came from the kernel's cache and the rest does not.
func TestListWhileRemoving(t *testing.T) {
	d := mounted(t)
	if err := os.Mkdir(d.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for i := range 500 {
		name := fmt.Sprintf("a name of some length, so that there are several answers %d", i)
		want[name] = true
		d.write("d/"+name, "x")
	}
	d.run("ls d")
	dir, err := os.Open(d.path("d"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(20)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if !want[n] {
				t.Fatalf("%s was listed twice", n)
			}
			delete(want, n)
			if err := os.Remove(d.path("d/" + n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range want {
		t.Errorf("%s was not listed", n)
	}
}

// Every name has a number of its own, that fits an offset.
func TestListingOrder(t *testing.T) {
	var in []dirent
	for i := range 1000 {
		in = append(in, dirent{name: fmt.Sprint(i)})
	}
	out := inOrder(in)
	if out[0].name != "." || out[1].name != ".." || len(out) != 1002 {
		t.Errorf("%d names, the first %q and %q", len(out), out[0].name, out[1].name)
	}
	for i := range out[1:] {
		if out[i].cookie >= out[i+1].cookie {
			t.Fatalf("%q at %d, then %q at %d", out[i].name, out[i].cookie, out[i+1].name, out[i+1].cookie)
		}
	}
	if out[len(out)-1].cookie >= 1<<63 {
		t.Error("a number is too large for an offset")
	}
}
