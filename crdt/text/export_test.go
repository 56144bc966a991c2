package text

import (
	"math/rand/v2"
	"testing"

	"github.com/automerge/automerge-go"
)

// What tests outside of the package need of those inside.

// RandomHistory gives a random history in one possible order, its Automerge document as the library makes it, and its
// text by this package.
func RandomHistory(t testing.TB, seed uint64) ([]Event, *automerge.Doc, string) {
	r := rand.New(rand.NewPCG(seed, 3))
	g := randomGraph(t, r, 16)
	ref := newReference(t)
	var events []Event
	for _, i := range g.shuffled(r) {
		ref.add(t, g.events[i])
		events = append(events, g.events[i])
	}
	return events, ref.finished(t, g), g.doc.Text()
}

// Rounds is the number of random rounds of a test.
func Rounds(n int) int { return rounds(n) }

// TestNode is the name of the texts of these tests.
var TestNode = testNode

// TraceEvents gives a recorded session as events, and the text it ends in.
func TraceEvents(t testing.TB, name string) ([]Event, string) {
	tr := openTrace(t, name)
	return tr.events(), tr.EndContent
}
