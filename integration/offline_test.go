package integration

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestOffline: both devices are cut off from each other and go on; connected again they
// have the same tree byte for byte, nobody's line is lost, and what both did alike is
// there once.
func TestOffline(t *testing.T) {
	need(t, "ip", "nsenter", "python3")
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	a, b := rig.Pair(t, rig.NewNet(t))

	files := []string{"p0.txt", "p1.txt", "p2.txt", "p3.txt"}
	for _, f := range append([]string{"moved.txt", "doomed.txt", "gone.txt", "alike.txt", "twice.txt"}, files...) {
		a.Write(f, text(page(rnd, 4)))
	}
	a.Shell(`mkdir -p dir/sub; echo deep > dir/sub/deep.txt`)
	sameTrees(t, a, b)
	connected(t, a, 1)

	b.Cut()
	var inserted []string
	rounds := 6
	for _, d := range []*rig.Device{a, b} {
		// The same paragraphs of several files, by a program that reads and rewrites.
		for _, f := range files {
			for i := range rounds {
				line := fmt.Sprintf("%s was here in %s, %d", d.Name, f, i)
				inserted = append(inserted, line)
				d.Shell(`exec python3 -c '
import sys
f, at, line = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lines = open(f).read().split("\n")
lines.insert(at, line)
open(f, "w").write("\n".join(lines))
' "$@"`, f, fmt.Sprint(1+rnd.Intn(9)), line)
			}
		}
		// The same change on both, and the same new file on both.
		d.Shell(`sed -i '2a\
both wrote this' alike.txt; echo 'both made this' > same.txt; mkdir both; echo $1 > both/$1.txt`, d.Name)
		// A new name that both take, for different things.
		d.Write("taken.txt", "taken by "+d.Name+"\n")
	}
	inserted = append(inserted, "both wrote this", "both made this", "taken by a", "taken by b", "b edits what a moves", "b edits what a removes", "deep b")
	a.Shell(`mv moved.txt elsewhere.txt; rm doomed.txt gone.txt; mv twice.txt twice-a.txt; mv dir dir-a`)
	b.Shell(`echo 'b edits what a moves' >> moved.txt; echo 'b edits what a removes' >> doomed.txt; mv twice.txt twice-b.txt; echo 'deep b' >> dir/sub/deep.txt`)
	b.Mend()
	connected(t, a, 1)

	var all string
	rig.Until(t, "every line somewhere, once", func() error {
		var err error
		if all, err = a.TryShell("", `find . -type f -exec cat {} +`); err != nil {
			return err
		}
		return everyLine(all, inserted...)
	})
	listing := sameTrees(t, a, b)
	for _, want := range []string{"elsewhere.txt ", "doomed.txt ", "both/a.txt ", "both/b.txt ", "same.txt ", "dir-a/sub/deep.txt ", "taken.txt "} {
		if !strings.Contains("\n"+listing, "\n"+want) {
			t.Errorf("no %s in:\n%s", want, listing)
		}
	}
	for _, not := range []string{"moved.txt ", "gone.txt ", "twice.txt ", "dir/"} {
		if strings.Contains("\n"+listing, "\n"+not) {
			t.Errorf("%s is still there:\n%s", not, listing)
		}
	}
	if n := strings.Count(listing, "twice-"); n != 1 {
		t.Errorf("a file renamed by both has %d names:\n%s", n, listing)
	}
	if n := strings.Count(listing, "taken"); n != 2 {
		t.Errorf("two files of one name are shown as %d:\n%s", n, listing)
	}
}
