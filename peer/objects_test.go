package peer

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

func (n *Node) fetchedBytes() int64 {
	n.fetch.mu.Lock()
	defer n.fetch.mu.Unlock()
	return n.fetch.fetched
}

func sameObject(t *testing.T, p *place, o crdt.Object, want io.Reader) {
	t.Helper()
	f, err := p.home.Objects().Open(blob.Hash(o.Hash))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := io.ReadAll(want)
	if !bytes.Equal(got, all) {
		t.Error("the object has other bytes")
	}
}

func TestObjects(t *testing.T) {
	checkLeaks(t)
	a, b, fa, fb := pair(t)
	sizes := []int{5000, wire.SliceSize, wire.SliceSize + 1, 3*wire.SliceSize + 77}
	var objects []crdt.Object
	for i, n := range sizes {
		objects = append(objects, a.writeObject(fa, fmt.Sprintf("o%d", i), random(byte(i), n)))
	}
	for i := range 300 {
		a.writeObject(fa, fmt.Sprintf("small%d", i), random(byte(i), 4100+i))
	}
	syncWait(t, b, fb)
	syncWait(t, a, fa)
	for i, o := range objects {
		sameObject(t, b, o, random(byte(i), sizes[i]))
		info, err := fb.Lookup(crdt.Root, fmt.Sprintf("o%d", i))
		if err != nil || info.Size != o.Size {
			t.Errorf("o%d is not visible: %+v, %v", i, info, err)
		}
	}
	if w := fb.Wanted(); len(w) != 0 {
		t.Errorf("still wanted: %d", len(w))
	}
	if s := a.node.Status(fa)[0]; s.BytesToSend != 0 {
		t.Errorf("status says there are bytes to send: %+v", s)
	}
}

// TestObjectResumes cuts the connection, and then restarts the receiver, in the middle of an
// object: what had arrived is not sent again.
func TestObjectResumes(t *testing.T) {
	const size = 64 << 20 / (1 + scale/2) // 21 MiB with the race detector
	a, b, fa, fb := pair(t)
	syncWait(t, b, fb)
	o := a.writeObject(fa, "large", random(1, size))
	eventually(t, "a third arrives", func() bool { return b.node.fetchedBytes() > size/3 })
	b.node.linkTo(a.home.Device()).conn.CloseWithError(codeTrouble, "cut by the test")
	eventually(t, "two thirds arrive", func() bool { return b.node.fetchedBytes() > 2*size/3 })
	first := b.node.fetchedBytes()
	b.restart()
	syncWait(t, b, fb)
	sameObject(t, b, o, random(1, size))
	second := b.node.fetchedBytes()
	// What was in the air at the two cuts comes twice, no more.
	if total := first + second; total > size+2*laneBytes {
		t.Errorf("%d bytes came, for an object of %d", total, size)
	}
	if second > size/2 {
		t.Errorf("%d bytes came after the restart", second)
	}
}

// TestObjectFromWhoHasIt gets an object from a device that got it itself.
func TestObjectFromWhoHasIt(t *testing.T) {
	a, b, fa, fb := pair(t)
	o := a.writeObject(fa, "x", random(1, 2<<20))
	syncWait(t, b, fb)
	a.stop()
	c := newPlace(t, "cleo")
	fc := b.invite(fb, c)
	syncWait(t, c, fc)
	sameObject(t, c, o, random(1, 2<<20))
}

// TestObjectThatNobodyHas is wanted until someone comes who has it; nobody waits for it
// meanwhile.
func TestObjectThatNobodyHas(t *testing.T) {
	a, b, fa, fb := pair(t)
	syncWait(t, b, fb)
	o := a.writeObject(fa, "x", random(1, 5000))
	syncWait(t, b, fb)
	// Ben knows of it, and has it no more.
	if err := b.home.Objects().Remove(blob.Hash(o.Hash)); err != nil {
		t.Fatal(err)
	}
	a.stop()
	c := newPlace(t, "cleo")
	fc := b.invite(fb, c)
	syncWait(t, c, fc) // although the object stays wanted
	if w := fc.Wanted(); len(w) != 1 {
		t.Fatalf("wanted: %v", w)
	}
	a.start("127.0.0.1:0")
	eventually(t, "the object arrives", func() bool { return len(fc.Wanted()) == 0 })
	sameObject(t, c, o, random(1, 5000))
}

// TestEditsPassObjects measures that what is typed does not queue up behind an object.
func TestEditsPassObjects(t *testing.T) {
	const size = 48 << 20 / scale
	a, b, fa, fb := pair(t)
	syncWait(t, b, fb)
	a.writeObject(fa, "large", random(1, size))
	eventually(t, "it begins to arrive", func() bool { return b.node.fetchedBytes() > 0 })
	var took []time.Duration
	for k := 0; b.node.fetchedBytes() < size*3/4; k++ {
		began := time.Now()
		write(t, fa, "typed", fmt.Sprintf("%d\n", k))
		reads(t, fb, "typed", fmt.Sprintf("%d\n", k))
		took = append(took, time.Since(began))
	}
	if len(took) == 0 {
		t.Skip("the object was faster")
	}
	slices.Sort(took)
	t.Logf("%d edits: median %v, slowest %v", len(took), took[len(took)/2], took[len(took)-1])
	if m := took[len(took)/2]; m > time.Second {
		t.Errorf("an edit took %v while an object was sent", m)
	}
	syncWait(t, b, fb)
}
