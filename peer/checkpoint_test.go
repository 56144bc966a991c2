package peer

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// large fills a folder so that a checkpoint of it is worth making.
func large(t *testing.T, f *crdt.Folder) {
	t.Helper()
	err := f.Update(func(tx *crdt.Tx) error {
		for i := range 2100 {
			if _, _, err := tx.Create(crdt.Root, fmt.Sprintf("f%d", i), 0o644, crdt.NewContent{Text: fmt.Sprintf("text %d\n", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewcomerIsGivenACheckpoint(t *testing.T) {
	checkLeaks(t)
	a, b := newPlace(t, "anna"), newPlace(t, "ben")
	fa := a.folder()
	large(t, fa)
	fb := a.invite(fa, b)
	syncWait(t, b, fb)
	if fb.Unconfirmed() {
		t.Error("in step, and what is shown is not confirmed")
	}
	reads(t, fb, "f2000", "text 2000\n")
	write(t, fb, "mine", "ben's\n")
	reads(t, fa, "mine", "ben's\n")
	if notes := fb.Status().Notes; len(notes) > 0 {
		t.Errorf("notes %v", notes)
	}

	// A second one is not asked for twice on a stream, nor taken unasked.
	s := a.node.linkTo(b.home.Device()).session(fa.ID())
	if err := s.takeCheckpoint(&wire.Checkpoint{Header: []byte("x")}); !errors.Is(err, ErrProtocol) {
		t.Errorf("a checkpoint that nobody asked for: %v", err)
	}
}

func TestFalseCheckpointsAreViolations(t *testing.T) {
	checkLeaks(t)
	a, b, fa, _ := pair(t)
	large(t, fa)
	s := a.node.linkTo(b.home.Device()).session(fa.ID())
	for what, parts := range map[string][]*wire.Checkpoint{
		"no header":  {{Data: []byte("body"), Last: true}},
		"bad header": {{Header: []byte("header")}},
	} {
		s.f.mu.Lock()
		s.f.asker, s.asking = s, asking{}
		s.f.mu.Unlock()
		var err error
		for _, m := range parts {
			if err == nil {
				err = s.takeCheckpoint(m)
			}
		}
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", what, err)
		}
	}
	d, now := crdt.Device{1}, time.Now()
	if !s.f.mayHave(d, now) || s.f.mayHave(d, now.Add(time.Second)) || !s.f.mayHave(d, now.Add(2*madeEvery)) {
		t.Error("checkpoints are made as often as a device comes back")
	}
	s.served = true
	if err := s.takeAsk(); !errors.Is(err, ErrProtocol) {
		t.Errorf("a second question: %v", err)
	}
}
