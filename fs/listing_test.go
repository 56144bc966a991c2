package fs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
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

// A name that comes while the kernel is being handed a listing is in the next one.
func TestListWhileOthersCreate(t *testing.T) {
	here, far := pair(t)
	here.run("mkdir d")
	here.flush()
	exchange(t, here, far)
	dir, err := far.f.Resolve("d")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var listing sync.WaitGroup
	for range 2 {
		listing.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := os.ReadDir(here.path("d")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	const files = 100
	for i := range files {
		if err := far.f.Update(func(tx *crdt.Tx) error {
			_, _, err := tx.Create(dir.Node, fmt.Sprint(i), 0o644, crdt.NewContent{Text: "far\n"})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		far.send(here)
	}
	close(done)
	listing.Wait()
	eventually(t, "all are listed", func() bool {
		list, err := os.ReadDir(here.path("d"))
		return err == nil && len(list) == files
	})
}

// Two who list one directory in small bits, one after the other's beginning, get all of it.
func TestListTogether(t *testing.T) {
	d := mounted(t)
	if err := os.Mkdir(d.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	const files = 1200
	for i := range files {
		d.write(fmt.Sprintf("d/a name of some length, so that there are several answers %d", i), "x")
	}
	var open [2]*os.File
	var got [2]int
	for i := range open {
		var err error
		if open[i], err = os.Open(d.path("d")); err != nil {
			t.Fatal(err)
		}
		defer open[i].Close()
	}
	for more := true; more; {
		more = false
		for i, f := range open {
			names, err := f.Readdirnames(100 * (i + 1))
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			got[i] += len(names)
			more = more || err == nil
		}
	}
	if got != [2]int{files, files} {
		t.Errorf("%v names of %d were listed", got, files)
	}
	d.s.fs.mu.Lock()
	half := len(d.s.fs.listings)
	d.s.fs.mu.Unlock()
	if half > listingsAtMost {
		t.Errorf("%d listings are kept", half)
	}
	eventually(t, "none is kept for ever", func() bool {
		d.s.fs.mu.Lock()
		defer d.s.fs.mu.Unlock()
		return len(d.s.fs.listings) == 0
	})
}

// A directory is listed right after a rename took it across the boundary, both ways.
func TestListAcross(t *testing.T) {
	d := mounted(t)
	d.run("echo '*.out' > .sheafignore; mkdir -p a/sub; echo x > a/f; echo y > a/sub/g; ls -R a")
	d.flush()
	from, to := d.path("a"), d.path("a.out")
	for i := range 20 {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		for dir, want := range map[string]int{to: 2, filepath.Join(to, "sub"): 1} {
			if list, err := os.ReadDir(dir); err != nil || len(list) != want {
				t.Fatalf("after rename %d, %s: %v, %v", i, dir, list, err)
			}
		}
		from, to = to, from
	}
}

// What is made up is listed as it is now, and what this device keeps as it is on its disk.
func TestListingsThatNothingTellsOf(t *testing.T) {
	d := mounted(t)
	files := func() string { return d.run("ls .sheaf/history .sheaf/history") }
	equal(t, "files of an empty folder", files(), ".sheaf/history:\n\n.sheaf/history:\n")
	d.write("f", "one\n")
	d.flush()
	equal(t, "files", files(), ".sheaf/history:\nf\n\n.sheaf/history:\nf\n")
	versions := func() int {
		list, err := os.ReadDir(d.path(".sheaf/history/f"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	equal(t, "versions", fmt.Sprint(versions(), versions()), "1 1")
	d.write("f", "two\n")
	d.flush()
	equal(t, "versions", fmt.Sprint(versions()), "2")
	d.run("mkdir -p .git/objects; ls .git/objects .git/objects; touch .git/objects/a")
	for range 3 { // what the kernel knows of a directory it asks once more after a listing
		equal(t, "in .git", d.run("ls .git/objects"), "a\n")
	}
	if err := os.WriteFile(filepath.Join(d.s.fs.localPath(crdt.Root, ".git"), "objects", "b"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	equal(t, "with what came behind the kernel's back", d.run("ls .git/objects"), "a\nb\n")
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
