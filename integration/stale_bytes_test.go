package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// staleBytes are programs that read a picture and later save it changed.
var staleBytes = map[string]string{
	"in place": `with open(f, "r+b") as out:
        out.write(pic)
        out.truncate()`,
	"truncated first": `with open(f, "wb") as out: out.write(pic)`,
	"by rename": `with open(f + ".tmp", "wb") as out: out.write(pic)
    os.rename(f + ".tmp", f)`,
}

// TestStaleBytes: programs on A have read pictures that B replaces; then they save theirs.
// Both are there on both devices, until one of the two is removed.
func TestStaleBytes(t *testing.T) {
	a, b := rig.Pair(t, nil)
	onA, onB := newLooker(t, a), newLooker(t, b)
	kinds := slices.Sorted(maps.Keys(staleBytes))
	type open struct {
		dir     string
		program *rig.Talk
	}
	var all []open
	for i, kind := range kinds {
		dir := fmt.Sprint(i)
		a.Shell(`mkdir "$1" && printf 'PNG\0first' > "$1/pic.png"`, dir)
		rig.Until(t, "b has it", func() error { return shows(onB, dir, "PNG\x00first") })
		cmd := a.Command(t.Context(), python, "-c", `import os, sys
f = sys.argv[1]
with open(f, "rb") as pic: pic = pic.read() + b" of A"
print("read", flush=True)
for line in sys.stdin:
    `+staleBytes[kind]+`
`, dir+"/pic.png")
		cmd.Dir = a.Point
		program := rig.StartTalk(t, cmd)
		if _, err := program.Hear(); err != nil {
			t.Fatal(err)
		}
		all = append(all, open{dir, program})
	}
	for _, o := range all {
		b.Shell(`printf 'PNG\0of B' > "$1/pic.png"`, o.dir)
		rig.Until(t, "a has b's", func() error { return shows(onA, o.dir, "PNG\x00of B") })
	}
	nextSecond(t) // nobody's reading is of the moment before the save
	for i, o := range all {
		fmt.Fprintln(o.program.In)
		o.program.In.Close()
		if err := o.program.Cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, l := range []*looker{onA, onB} {
			rig.Until(t, kinds[i]+": both are shown", func() error { return shows(l, o.dir, "PNG\x00first of A", "PNG\x00of B") })
		}
	}
	b.Shell(`rm -- 0/pic\ *`)
	for _, l := range []*looker{onA, onB} {
		rig.Until(t, "one is chosen", func() error { return shows(l, "0", "PNG\x00first of A") })
	}
	sameTrees(t, a, b)
}

// shows says what is wrong where the pictures in a directory are not these.
func shows(l *looker, dir string, want ...string) error {
	files, err := l.files(dir)
	if err != nil {
		return err
	}
	maps.DeleteFunc(files, func(name, _ string) bool { return !strings.HasSuffix(name, ".png") })
	if got := slices.Sorted(maps.Values(files)); !slices.Equal(got, want) {
		return fmt.Errorf("%s holds %q, not %q", dir, got, want)
	}
	return nil
}
