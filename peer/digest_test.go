package peer

import (
	"errors"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// told waits until b has told a its digest of what a holds now.
func told(t *testing.T, a, b *place, fa *crdt.Folder) (mine, theirs crdt.Digest) {
	t.Helper()
	sh := a.node.folder(fa.ID())
	eventually(t, "a digest of the state as it is is told", func() bool {
		fr, err := fa.Frontier()
		if err != nil {
			t.Fatal(err)
		}
		theirs = sh.toldBy()[b.home.Device()]
		sh.mu.Lock()
		mine = sh.rest.digest
		sh.mu.Unlock()
		return mine.Frontier == fr.Hash() && theirs.Frontier == fr.Hash()
	})
	return mine, theirs
}

func TestDigestsAreCompared(t *testing.T) {
	checkLeaks(t)
	a, b, fa, fb := pair(t)
	write(t, fa, "f", "one\n")
	write(t, fb, "g", "two\n")
	syncWait(t, a, fa)
	mine, theirs := told(t, a, b, fa)
	if mine != theirs {
		t.Fatalf("%v and %v", mine, theirs)
	}
	since := func() bool { return !a.node.Status(fa)[0].Diverged.IsZero() }
	if since() {
		t.Error("devices with the same state count as diverged")
	}
	// What comes from a peer is a claim about its state, of this frontier and made this way.
	s := a.node.linkTo(b.home.Device()).session(fa.ID())
	lie := wire.Digest{Version: mine.Version, Frontier: mine.Frontier, Sum: mine.Sum.Xor(crdt.Hash{1})}
	other := lie
	other.Version++
	s.takeDigest(&other)
	if since() {
		t.Error("a digest that is made in another way counts")
	}
	if got := a.node.Status(fa)[0].Rules; got != RulesNewer {
		t.Errorf("a device with newer rules is said to have %q", got)
	}
	other.Version = mine.Version - 1
	s.takeDigest(&other)
	if got := a.node.Status(fa)[0].Rules; got != RulesOlder {
		t.Errorf("a device with older rules is said to have %q", got)
	}
	other = lie
	other.Frontier = other.Frontier.Xor(crdt.Hash{1})
	s.takeDigest(&other)
	if since() {
		t.Error("a digest of another frontier counts")
	}
	s.takeDigest(&lie)
	if !since() {
		t.Error("another state is not noticed")
	}
	s.takeDigest(&wire.Digest{Version: mine.Version, Frontier: mine.Frontier, Sum: mine.Sum})
	if since() || a.node.Status(fa)[0].Rules != "" {
		t.Error("what is the same again still counts as diverged, or of other rules")
	}
	var err error
	for range 10 * maxDigests {
		if err == nil {
			err = s.takeDigest(&lie)
		}
	}
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("digests without end: %v", err)
	}
}

// A digest that was made before two devices met is told in answer to the other's.
func TestDigestsAreAnswered(t *testing.T) {
	checkLeaks(t)
	a, b, fa, fb := pair(t)
	write(t, fa, "f", "one\n")
	syncWait(t, a, fa)
	told(t, a, b, fa)
	told(t, b, a, fb)
	before := b.node.linkTo(a.home.Device())
	before.close(codeTrouble, nil)
	sh := b.node.folder(fb.ID())
	sh.mu.Lock()
	delete(sh.rest.told, a.home.Device())
	sh.mu.Unlock()
	eventually(t, "they are connected again", func() bool {
		l := b.node.linkTo(a.home.Device())
		if l == nil || l == before {
			return false
		}
		s := l.session(fb.ID())
		return s != nil && s.comparable()
	})
	b.node.linkTo(a.home.Device()).session(fb.ID()).kick(dirtyDigest)
	eventually(t, "the digest is answered", func() bool { return sh.toldBy()[a.home.Device()].Version != 0 })
}

// A device of the language before digests is told none, and counts as nothing.
func TestDigestsAreNotToldToOlder(t *testing.T) {
	checkLeaks(t)
	a, b := newPlace(t, "anna"), newPlace(t, "ben")
	b.node.id.protocols = []string{wire.ALPN}
	fa := a.folder()
	fb := a.invite(fa, b)
	write(t, fa, "f", "one\n")
	syncWait(t, b, fb)
	reads(t, fb, "f", "one\n")
	if s := a.node.linkTo(b.home.Device()).session(fa.ID()); s.comparable() {
		t.Error("a digest would be sent to a device that does not know what it is")
	}
}
