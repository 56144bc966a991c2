package fs

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// undone is a device that shows a file "f", and one that changes it and undoes that again. A
// program has read the file and may have it open still.
func undone(t *testing.T, opened bool) (here, far *device, in *inode, f *os.File) {
	t.Helper()
	here, far = pair(t)
	here.write("f", "one\n")
	here.flush()
	exchange(t, here, far)
	info, err := here.f.Resolve("f")
	if err != nil {
		t.Fatal(err)
	}
	if f, err = os.Open(here.path("f")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if !opened {
		f.Close()
	}
	for _, s := range []string{"two\n", "one\n"} {
		far.edit("f", func(string) string { return s })
	}
	return here, far, here.s.fs.node(info.Node), f
}

// What leaves a text as it was is not told; the mode and the time that come with it are.
func TestUndoneElsewhere(t *testing.T) {
	for _, opened := range []bool{false, true} {
		t.Run(fmt.Sprintf("opened %v", opened), func(t *testing.T) {
			t.Parallel()
			here, far, in, _ := undone(t, opened)
			at := time.Unix(1e9, 0)
			err := far.f.Update(func(tx *crdt.Tx) error {
				if err := tx.SetMode(in.node, 0o600); err != nil {
					return err
				}
				return tx.SetMtime(in.node, at)
			})
			if err != nil {
				t.Fatal(err)
			}
			far.send(here)
			eventually(t, "mode and time are shown", func() bool {
				fi, err := os.Stat(here.path("f"))
				return err == nil && fi.Mode() == 0o600 && fi.ModTime().Equal(at)
			})
			equal(t, "the text", here.read("f"), "one\n")
		})
	}
}

// A text that came to what it was is in memory no longer than its readers need it.
func TestUndoneIsLetGo(t *testing.T) {
	t.Parallel()
	here, far, in, f := undone(t, true)
	stale := func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.stale
	}
	in.mu.Lock()
	in.holdUntil = time.Now().Add(time.Minute) // which is cut at holdAtMost
	in.mu.Unlock()
	far.send(here)
	eventually(t, "something has come", stale)
	if in.mu.Lock(); !in.loaded {
		t.Error("it is not in memory: the test shows nothing")
	}
	in.mu.Unlock()
	f.Close()
	eventually(t, "it is looked at", func() bool { return !stale() })
	eventually(t, "it is let go", func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return !in.loaded
	})
}

// What another device undid can be done again: what a program has read is then the text as it is
// now, not the same text before.
func TestUndoneIsDoneAgain(t *testing.T) {
	t.Parallel()
	here, far := pair(t)
	here.write("f", "one\n")
	here.flush()
	exchange(t, here, far)
	p := startPython(here)
	p.do(`with open("f") as f: text = f.read()`) // an editor's buffer
	far.edit("f", func(s string) string { return s + "two\n" })
	far.edit("f", func(string) string { return "one\n" })
	far.send(here)
	p.do(`with open("f", "w") as f: f.write(text + "two\n")`)
	here.flush()
	equal(t, "the text", here.text("f"), "one\ntwo\n")
	exchange(t, here, far)
	equal(t, "the text there", far.text("f"), "one\ntwo\n")
}

// Nobody waits for a file while its old versions are compared.
func TestUndoneIsComparedAside(t *testing.T) {
	t.Parallel()
	here, far, in, _ := undone(t, false)
	comparing, looked := make(chan struct{}, 1), make(chan struct{})
	here.s.fs.equal = func(node crdt.NodeID, a, b crdt.Version) bool {
		select {
		case comparing <- struct{}{}:
		default: // again
		}
		<-looked
		return here.s.fs.equalTexts(node, a, b)
	}
	far.send(here)
	<-comparing
	free := in.mu.TryLock()
	if free {
		in.mu.Unlock()
	}
	close(looked)
	if !free {
		t.Error("the file is locked meanwhile")
	}
	eventually(t, "it is compared", func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return !in.stale
	})
	equal(t, "the text", here.read("f"), "one\n")
}
