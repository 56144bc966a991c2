package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// formatter rewrites the file f whenever it hears that it changed, or that another one took
// its place: it puts $2 where it finds $1, and says when.
const formatter = `inotifywait -q -m -e close_write,moved_to --format heard . | while read -r heard; do
	"$python" -c '
import sys, time
old = open("f").read()
new = old.replace(sys.argv[1], sys.argv[2])
if new != old:
	with open("f", "w") as f: f.write(new)
	print(time.time())
' "$1" "$2"; done`

// TestTurns: formatters on two devices, each of which undoes what the other did, do not go
// on at full speed, and status says so; what the file holds is seen at once all the same.
func TestTurns(t *testing.T) {
	need(t, "inotifywait")
	a, b := rig.Pair(t, nil)
	a.Shell(`printf 'head\nmiddle\nfoot\n' > f`)
	sameTrees(t, a, b)
	tabs, spaces := "\n\t", "\n    "
	a.Env, b.Env = append(a.Env, "python="+python), append(b.Env, "python="+python)
	books := []*book{
		listen(t, a, "sh", "-c", formatter, "sh", spaces, tabs),
		listen(t, b, "sh", "-c", formatter, "sh", tabs, spaces),
	}
	watched(t, a, ".")
	watched(t, b, ".")
	a.Shell(`printf 'head\n\tone\n\ttwo\n\tthree\nfoot\n' > f`)
	rig.Until(t, "they go on for some time", func() error {
		if n := books[0].mark() + books[1].mark(); n < 9 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	times := map[string]time.Time{}
	for i, book := range books {
		for n, l := range book.since(0) {
			s, err := strconv.ParseFloat(l, 64)
			if err != nil {
				t.Fatalf("a formatter says: %q", l)
			}
			times[fmt.Sprint(i, n)] = time.Unix(0, int64(s*1e9))
		}
	}
	var last, before time.Time
	for _, at := range times {
		if at.After(last) {
			last, before = at, last
		} else if at.After(before) {
			before = at
		}
	}
	if gap := last.Sub(before); gap < 2*time.Second {
		t.Errorf("is not slowed: the ninth change came %v after the one before", gap)
	}
	for _, d := range []*rig.Device{a, b} {
		rig.Until(t, d.Name+" names the file", func() error {
			s, err := d.Status()
			if err != nil {
				return err
			}
			for _, n := range s.Notes() {
				if n.Kind == "by-turns" && n.Path == "f" && strings.Contains(n.Text, "a and b") {
					return nil
				}
			}
			return fmt.Errorf("not among %v", s.Notes())
		})
	}
	// Nobody waits for the data, but in a plain directory. It is everybody's again once a person
	// changes another part.
	a.Shell(`echo by hand >> f`)
	soon := 2*time.Second + rig.Deadline()/10
	if rig.Plain() {
		soon = rig.Deadline()
	}
	rig.UntilIn(t, soon, "b has what was written by hand", func() error {
		text, err := b.Read("f")
		if err != nil {
			return err
		}
		return everyLine(text, "head", "foot", "by hand")
	})
}

// watched waits until a program watches a file of the folder.
func watched(t *testing.T, d *rig.Device, rel string) {
	t.Helper()
	rig.Until(t, rel+" is watched", func() error {
		_, err := d.TryShell("", `ino=$(printf ' ino:%x ' $(stat -c %i "$1")); grep -q "$ino" /proc/[0-9]*/fdinfo/* 2>/dev/null`, rel)
		return err
	})
}
