// Package crdttest is what tests of several devices share: a folder that two homes are
// members of, and the way of entries and objects between them without a network.
//
// It promises nothing to programs: it is for tests alone, and fails the test instead of
// returning errors.
package crdttest

import (
	"sync"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Share makes the device of a home a member of a folder, and returns the folder there.
// Nothing has been sent yet.
func Share(t testing.TB, f *crdt.Folder, to *crdt.Home) *crdt.Folder {
	t.Helper()
	secret, err := f.Invite()
	if err != nil {
		t.Fatal(err)
	}
	grant, err := f.Redeem(secret, to.Device(), to.DeviceName())
	if err != nil {
		t.Fatal(err)
	}
	g, err := to.JoinFolder(grant)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// End is a device's side of a folder.
type End struct {
	Home   *crdt.Home
	Folder *crdt.Folder
}

// Sent is how far a device's entries have been handed to others, as a session of peers
// knows it. The zero value has sent nothing. It is safe for concurrent use.
type Sent struct {
	mu sync.Mutex
	to map[string]uint64 // by device
}

// Send hands over what to lacks of from's entries, and the objects that it wants and
// from has.
func (s *Sent) Send(t testing.TB, from, to End) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		s.to = map[string]uint64{}
	}
	who := to.Home.Device().String()
	for {
		batch, err := from.Folder.Since(s.to[who], 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		entries := make([]*feed.Entry, len(batch))
		for i, l := range batch {
			entries[i] = l.Entry
		}
		if _, err := to.Folder.Receive(entries); err != nil {
			t.Fatal(err)
		}
		s.to[who] = batch[len(batch)-1].Order
	}
	for _, w := range to.Folder.Wanted() {
		if h := blob.Hash(w.Hash); from.Home.Objects().Has(h) {
			sendObject(t, from, to, h)
			to.Folder.ObjectArrived(w.Hash)
		}
	}
}

func sendObject(t testing.TB, from, to End, h blob.Hash) {
	t.Helper()
	r, err := from.Home.Objects().Open(h)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := to.Home.Objects().Put(r); err != nil {
		t.Fatal(err)
	}
}
