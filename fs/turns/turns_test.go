package turns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

func TestTurns(t *testing.T) {
	const rounds = 20
	a, b := crdt.Device{1}, crdt.Device{2}
	both := func(i int) crdt.Device { return []crdt.Device{a, b}[i%2] }
	lines := func(first, last string) string { return "head\n" + first + "\nmiddle\n" + last + "\nfoot\n" }
	for _, c := range []struct {
		name  string
		every time.Duration
		by    func(i int) crdt.Device
		text  func(i int) string
		want  bool
	}{
		{"formatters that disagree", 500 * time.Millisecond, both, func(i int) string { return lines([]string{"\tone", "    one"}[i%2], "\ttwo") }, true},
		{"generators that write who they are", time.Second, both, func(i int) string { return lines(fmt.Sprint("made by ", i%2, " at ", i), "") }, true},
		{"formatters that disagree, seldom", 5 * time.Second, both, func(i int) string { return lines([]string{"\tone", "    one"}[i%2], "") }, false},
		{"one formatter that cannot decide", 100 * time.Millisecond, func(int) crdt.Device { return a }, func(i int) string { return lines([]string{"\tone", "    one"}[i%2], "") }, false},
		{"people who type in different lines", 200 * time.Millisecond, both, func(i int) string {
			return lines(strings.Repeat("word ", (i+1)/2), strings.Repeat("else ", i/2))
		}, false},
		{"people who correct themselves in different lines", 200 * time.Millisecond, both, func(i int) string {
			return lines(strings.Repeat("w", 9-(i+1)/2%5), strings.Repeat("e", 9-i/2%5))
		}, false},
		{"people who type in one line", 200 * time.Millisecond, both, func(i int) string {
			return lines(strings.Repeat("word ", (i+1)/2)+strings.Repeat("else ", i/2), "")
		}, false},
		{"a log that both append to", 50 * time.Millisecond, both, func(i int) string { return strings.Repeat("line\n", i) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			node, now := crdt.NodeID{1}, time.Unix(1e9, 0)
			ts := New(func() time.Time { return now })
			var delays []time.Duration
			for i := range rounds {
				ts.see(node, c.by(i), now, func() *crdt.Body { return crdt.NewBody(c.text(i)) })
				d, _ := ts.Wait(node)
				ts.Due(node)
				delays = append(delays, d)
				now = now.Add(d + c.every)
			}
			if !c.want {
				if d := delays[rounds-1]; d != 0 || len(ts.slowed(now)) != 0 {
					t.Fatalf("is slowed: %v", delays)
				}
				return
			}
			if delays[turnsBefore-1] != 0 || delays[rounds-1] != longest {
				t.Errorf("is slowed from the beginning, or never wholly: %v", delays)
			}
			if got := ts.slowed(now)[node].others; len(got) != 2 {
				t.Errorf("by %v", got)
			}
			now = now.Add(Within + 2*longest + time.Second)
			if got := ts.slowed(now); len(got) != 0 {
				t.Errorf("is slowed for ever: %v", got)
			}
			ts.see(node, a, now, func() *crdt.Body { return crdt.NewBody("else") })
			if d, _ := ts.Wait(node); d != 0 {
				t.Errorf("is slowed anew by one change: %v", d)
			}
			now = now.Add(Within + time.Second)
			if ts.Sweep() || ts.Knows(node) {
				t.Error("is remembered for ever")
			}
		})
	}
}

// TestTurnsTellOnce: what watchers are told late they are told once.
func TestTurnsTellOnce(t *testing.T) {
	node, now := crdt.NodeID{1}, time.Unix(1e9, 0)
	ts := New(func() time.Time { return now })
	see := func(by byte, text string) {
		ts.see(node, crdt.Device{by}, now, func() *crdt.Body { return crdt.NewBody(text) })
		now = now.Add(time.Second)
	}
	for i := range 2 * turnsBefore {
		see(byte(i%2), fmt.Sprint("line ", i, " end\n"))
	}
	if d, waiting := ts.Wait(node); d == 0 || waiting {
		t.Fatalf("the first event: %v, %v", d, waiting)
	}
	if d, waiting := ts.Wait(node); d == 0 || !waiting {
		t.Fatalf("the second does not wait for the first: %v, %v", d, waiting)
	}
	if !ts.Due(node) || ts.Due(node) {
		t.Fatal("told not once")
	}
	if _, waiting := ts.Wait(node); waiting {
		t.Fatal("the next is not told")
	}
	see(0, fmt.Sprint("line ", 2*turnsBefore-1, " end\nand more\n")) // elsewhere: it is over
	see(1, fmt.Sprint("more\nline ", 2*turnsBefore-1, " end\nand more\n"))
	if d, _ := ts.Wait(node); d != 0 {
		t.Fatalf("a change elsewhere is told late: %v", d)
	}
	if ts.Due(node) {
		t.Fatal("told twice")
	}
}
