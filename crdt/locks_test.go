package crdt_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// held runs something that takes long, has it stop where it begins to, and calls meanwhile, which
// must end all the same.
func held(t *testing.T, long, meanwhile func()) {
	t.Helper()
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	defer crdt.SetAtLength(func() {
		if once.CompareAndSwap(false, true) {
			close(begun)
			<-goOn
		}
	})()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		long()
	}()
	select {
	case <-begun:
	case <-ended:
		t.Fatal("it did not take long")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		meanwhile()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("others wait for it")
	}
	close(goOn)
	<-ended
	<-done
}

// Saves and reads do not wait for what is done with a whole folder, or with a long text.
func TestNobodyWaits(t *testing.T) {
	old, fresh, entries := newcomer(t)
	saved := 0
	use := func() {
		saved++
		old.write("edited", old.node("edited").Version, "a save\n"+old.read("edited").Text)
		old.read("big")
	}
	t.Run("for a checkpoint", func(t *testing.T) {
		held(t, func() {
			if h, _, err := old.f.MakeCheckpoint(context.Background()); h == nil || err != nil {
				t.Error("none is made", err)
			}
		}, use)
	})
	t.Run("for the digest of a text", func(t *testing.T) {
		old.reopen() // no text is in memory
		held(t, func() {
			if _, err := old.f.Digest(context.Background()); err == nil {
				t.Error("it is of what changed meanwhile")
			}
		}, use)
	})
	t.Run("for a first view that is confirmed", func(t *testing.T) {
		fr, err := old.f.Frontier()
		if err != nil {
			t.Fatal(err)
		}
		fresh.receive(entries[:1])
		old.checkpoint(fresh)
		held(t, func() {
			old.send(fresh)
			fresh.settled()
		}, func() {
			for fresh.f.WantsCheckpoint(fr) {
				time.Sleep(time.Millisecond)
			}
			fresh.node("edited")
			old.create("later", "later\n")
			old.send(fresh)
		})
		same(t, old, fresh)
	})
}

// Nor for reading which entries of a forked feed are held.
func TestNobodyWaitsForForks(t *testing.T) {
	a, b := pair(t)
	back := b.rollBack()
	b.create("x", "1\n")
	b.send(a)
	back()
	b.create("y", "1\n")
	a.sent[b], b.sent[a] = 0, 0
	sync(t, a, b)
	if a.f.Forks() != 1 {
		t.Fatalf("%d forks", a.f.Forks())
	}
	hash := func(d *device) crdt.Hash {
		_, h, err := d.f.Held()
		if err != nil {
			t.Error(err)
		}
		return h
	}
	before := hash(b)
	var meanwhile crdt.Hash
	held(t, func() { meanwhile = hash(a) }, func() { a.create("z", "1\n"); a.seal() })
	if meanwhile != before {
		t.Error("what came meanwhile is in the hash of what was held before")
	}
	if after := hash(a); after == before {
		t.Error("the hash is not of what is held")
	}
	sync(t, a, b)
	if hash(a) != hash(b) {
		t.Error("the devices hold the same entries and do not know")
	}
	defer crdt.SetAtLength(func() { t.Error("it is read again though nothing came") })()
	hash(a)
}
