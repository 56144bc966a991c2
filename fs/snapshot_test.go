package fs

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

const ending = "the end\n"

// changes is a file that another device changes, at its beginning.
type changes struct {
	*device
	far  *device
	node crdt.NodeID
	v    crdt.Version
	text string
}

func changing(t *testing.T, text string) *changes {
	t.Helper()
	here, far := pair(t)
	c := &changes{device: here, far: far, text: text}
	err := far.f.Update(func(tx *crdt.Tx) (err error) {
		c.node, c.v, err = tx.Create(crdt.Root, "log.md", 0o644, crdt.NewContent{Text: text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	far.send(here)
	eventually(t, "the file is here", func() bool { _, err := os.Stat(c.path("log.md")); return err == nil })
	held, err := os.OpenFile(c.path("log.md"), unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() }) // until then the kernel keeps the inode
	return c
}

// more adds a line on the other device, and sends it here.
func (c *changes) more(line string) {
	c.t.Helper()
	c.text = line + c.text
	err := c.far.f.Update(func(tx *crdt.Tx) (err error) {
		c.v, err = tx.Write(c.node, c.v, crdt.NewContent{Text: c.text})
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.far.send(c.device)
}

func (c *changes) arrives() {
	c.t.Helper()
	eventually(c.t, "the new version is shown", func() bool {
		b, err := exec.Command("cat", c.path("log.md")).Output()
		return err == nil && string(b) == c.text
	})
}

// A file that another device changes all the time is read whole, one version or the
// next, by programs that take their time.
func TestReadsAreWhole(t *testing.T) {
	c := changing(t, "0\n"+ending)
	dir := t.TempDir()
	reader := exec.Command("sh", "-c", `
reader() { while ! [ -e "$2/stop" ]; do { dd bs=20 count=1 status=none; sleep 0.1; cat; } <"$1"; done >"$2/out$3"; }
reader "$@" 1 & reader "$@" 2 & reader "$@" 3 & wait`, "sh", c.path("log.md"), dir)
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		c.more(fmt.Sprintf("%d\n", i+1))
		time.Sleep(10 * time.Millisecond) // the pace of somebody who writes, not a wait
	}
	c.arrives()
	if err := os.WriteFile(filepath.Join(dir, "stop"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := reader.Wait(); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := range 3 {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("out", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	reads := 0
	for text := range strings.SplitAfterSeq(string(out), ending) {
		if text == "" {
			continue
		}
		reads++
		if !strings.HasSuffix(c.text, "\n"+text) && c.text != text {
			t.Errorf("torn: %q", text)
		}
	}
	t.Logf("%d reads", reads)
}

// What is opened after a change, before the kernel has heard of it, is not cut at the
// size that the kernel knows.
func TestReadBeforeTheKernelKnows(t *testing.T) {
	c := changing(t, ending)
	in := c.s.fs.node(c.node) // of which the kernel knows the size, and has no page
	busy := make(chan struct{})
	defer close(busy)
	c.s.fs.later(0, func() { <-busy })
	c.more("a line\n")
	in.mu.Lock()
	in.stale = true
	in.mu.Unlock()
	eventually(t, "the new version is to be shown", func() bool { return c.s.fs.flip(in, span{}) })
	got, err := os.ReadFile(c.path("log.md"))
	if err != nil || string(got) != c.text {
		t.Errorf("%q, %v; want %q", got, err, c.text)
	}
	in.mu.Lock()
	in.flipping = false
	in.mu.Unlock()
}

// Who has begun to read a text that changes reads that version to its end; at its end
// it finds what is new, as tail -f does. A save of this device is seen at once.
func TestReadToTheEnd(t *testing.T) {
	c := changing(t, ending)
	first := c.text
	c.more("a line\n")
	c.arrives()
	f, err := os.Open(c.path("log.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	second, b := c.text, make([]byte, 3)
	if _, err := io.ReadFull(f, b); err != nil {
		t.Fatal(err)
	}
	// Others read what came.
	c.more("one more line\n")
	c.arrives()
	rest, err := io.ReadAll(f)
	if got := string(b) + string(rest); err != nil || got != second {
		t.Errorf("%q, %v; want %q", got, err, second)
	}
	if rest, err = io.ReadAll(f); err != nil || string(rest) != c.text[len(second):] {
		t.Errorf("at the end %q, %v; want %q", rest, err, c.text[len(second):])
	}
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != c.text[:3] {
		t.Errorf("at the beginning %q, %v", b, err)
	}
	if err := os.WriteFile(c.path("log.md"), []byte(first+first), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(b, 3); err != nil || string(b) != first[3:6] {
		t.Errorf("after a save %q, %v", b, err)
	}
}

// Once a text has come to rest it is read through the page cache.
func TestReadCachedAtRest(t *testing.T) {
	c := changing(t, ending)
	c.more("a line\n")
	c.arrives()
	defer func() {
		if t.Failed() {
			info, err := c.f.Resolve("log.md")
			if err != nil {
				t.Fatal(err)
			}
			n := c.s.fs.node(info.Node)
			n.mu.Lock()
			defer n.mu.Unlock()
			t.Logf("stale %v, flipping %v, mixed %v, flipped %v ago, told %d, size %d, session %v, %d guards",
				n.stale, n.flipping, n.mixed, time.Since(n.flipped), n.told, n.size(), n.sess != nil, len(n.guards))
		}
	}()
	eventually(t, "the page cache is used", func() bool {
		f, err := os.Open(c.path("log.md"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if b, err := io.ReadAll(f); err != nil || string(b) != c.text {
			t.Errorf("%q, %v", b, err)
		}
		return !c.s.fs.lastOpened().direct
	})
}

// node finds the inode of a node.
func (fs *filesystem) node(id crdt.NodeID) *inode {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.nodes[key(id, nil)]
}

func (fs *filesystem) lastOpened() *handle {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.handles[fs.lastHandle]
}
