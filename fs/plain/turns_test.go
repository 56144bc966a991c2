package plain

import (
	"fmt"
	"testing"
	"time"
)

// TestTurns: what two devices rewrite by turns arrives late, is named, and is there at once
// for who asks for everything.
func TestTurns(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.detach()
	start := time.Now()
	a.clock = func() time.Time { return start } // however long it takes here, an answer comes at once
	a.attach()
	text := func(n int) string { return fmt.Sprintf("head\nby %d\nfoot\n", n) }
	a.write("f", text(0))
	meet(t, a, b)
	n := 0
	on := func(d *device) func() bool { return func() bool { return d.peek("f") == text(n) } }
	rewrite := func(d *device) {
		d.read("f") // as who answers has done
		n++
		d.write("f", text(n))
		want := fmt.Sprintf("f %q\n", text(n))
		eventually(t, "it is published", func() bool { return d.shown() == want })
	}
	arrives := func() {
		eventually(t, "the other one has it", func() bool { b.flush(); return on(b)() })
		rewrite(b)
		b.send(a)
	}
	answer := func() {
		rewrite(a)
		a.send(b)
	}
	for range 4 {
		arrives()
		eventually(t, "it is here", on(a))
		if notes := a.dir.Notes(); notes != nil {
			t.Fatalf("is slowed after %d changes: %v", n, notes)
		}
		answer()
	}
	began := time.Now()
	arrives()
	eventually(t, "it is here at last", on(a))
	if took := time.Since(began); took < time.Second {
		t.Errorf("is not slowed: it is here after %v", took)
	}
	if notes := a.dir.Notes(); len(notes) != 1 || notes[0].Kind != "by-turns" || notes[0].Path != "f" {
		t.Errorf("the notes are %v", notes)
	}
	for range 2 { // the second would take 16 s by itself
		answer()
		arrives()
		eventually(t, "it is here for who asks", func() bool { a.flush(); return on(a)() })
	}
}

// TestTurnsAreForgotten: what files held that changed is not kept when they change no more.
func TestTurnsAreForgotten(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.write("f", "one\n")
	meet(t, a, b)
	b.write("f", "two\n")
	b.flush()
	b.send(a)
	i, err := a.f.Resolve("f")
	if err != nil {
		t.Fatal(err)
	}
	known := func() bool { return a.dir.turns.Knows(i.Node) }
	eventually(t, "the change is taken up", known)
	eventually(t, "the file is forgotten", func() bool { return !known() })
}
