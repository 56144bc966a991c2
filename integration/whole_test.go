package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// notebook is what Jupyter writes: cells with an id, and what they printed.
const notebook = `
import json, sys
cell = int(sys.argv[2])
with open(sys.argv[1]) as f: nb = json.load(f)
nb["cells"][cell]["source"] = ["print('of %s')" % sys.argv[3]]
nb["cells"][cell]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["of %s\n" % sys.argv[3]]}]
nb["cells"][cell]["execution_count"] += 1
with open(sys.argv[1], "w") as f: json.dump(nb, f, indent=1); f.write("\n")`

// apartWhole is what is written on two devices into one file: each of what came of it holds one of
// the words, and none the other.
type apartWhole struct{ file, ofA, ofB string }

// TestWhole: npm, a notebook and a file that .gitattributes names are written on two devices that
// are cut off from each other. Both versions are there on both, none of them mixed; another text
// merges as ever. Then one is chosen.
func TestWhole(t *testing.T) {
	need(t, "ip", "nsenter", "npm")
	a, b := rig.Pair(t, rig.NewNet(t))
	npm := `export HOME=` + rig.Scratch(t, "npm") + `; npm install --silent --offline --no-audit --no-fund `
	a.Shell(`
mkdir base one two
for p in base one two; do echo '{"name": "'$p'", "version": "1.0.0"}' > $p/package.json; done
echo '{"name": "app", "version": "1.0.0"}' > package.json
printf 'table.data -merge\n' > .gitattributes
` + npm + ` ./base
"` + python + `" -c 'import json
cells = [{"cell_type": "code", "id": "c%d" % i, "execution_count": 1, "metadata": {}, "outputs": [], "source": ["print(%d)" % i]} for i in range(4)]
with open("n.ipynb", "w") as f: json.dump({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, f, indent=1)'
printf '1\n2\n3\n4\n5\n' | tee table.data > notes.txt`)
	// Not all of the tree: node_modules/ stays on its device.
	for _, f := range []string{".gitattributes", "package-lock.json", "n.ipynb", "table.data", "notes.txt", "two/package.json"} {
		want, err := a.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		rig.Sees(t, f, want, b)
	}
	connected(t, a, 1)
	b.Cut()
	for _, d := range []struct {
		*rig.Device
		name, dep, cell, line string
	}{{a, "A", "one", "0", "1"}, {b, "B", "two", "3", "5"}} {
		d.Shell(npm+` ./$1; "`+python+`" -c "$2" n.ipynb $3 $4; sed -i "$5s/.*/of $4/" table.data notes.txt`, d.dep, notebook, d.cell, d.name, d.line)
	}
	b.Mend()
	rig.Sees(t, "notes.txt", "of A\n2\n3\n4\nof B\n", a, b)
	files := []apartWhole{
		{"package-lock.json", `"one"`, `"two"`}, {"n.ipynb", "of A", "of B"}, {"table.data", "of A", "of B"},
	}
	for _, d := range []*rig.Device{a, b} {
		look := newLooker(t, d)
		for _, f := range files {
			rig.Until(t, d.Name+" shows both of "+f.file, func() error { return f.check(look) })
		}
		s, err := d.Status()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Folders[0].Beside); n != len(files) {
			t.Errorf("status of %s names %d versions beside: %v", d.Name, n, s.Folders[0].Beside)
		}
	}
	// Each way of choosing: the one beside is removed, or renamed over the file, or a program that
	// has read both saves one.
	a.Shell(`rm package-lock\ *.json; mv n\ *.ipynb n.ipynb; sort -u table\ *.data table.data -o table.data`)
	for _, d := range []*rig.Device{a, b} {
		rig.Until(t, d.Name+" shows one of each", func() error {
			if names := strings.TrimSpace(d.Shell(`ls | grep " " | cat`)); names != "" {
				return fmt.Errorf("it also shows %s", names)
			}
			return nil
		})
	}
	// Its lines have their authors all the same, and the last change can be seen.
	if got := b.Sheaf("blame", b.Path("table.data")); strings.Count(got, "\n") < 6 {
		t.Errorf("blame says\n%s", got)
	}
	if got := b.Sheaf("diff", b.Path("table.data")); !strings.Contains(got, "\n+of ") {
		t.Errorf("diff says\n%s", got)
	}
}

// check says what is wrong where the versions of the file are not the two that were written.
func (f *apartWhole) check(look *looker) error {
	files, err := look.files(".")
	if err != nil {
		return err
	}
	stem, end, _ := strings.Cut(f.file, ".")
	var found []string
	for name, content := range files {
		if name != f.file && !(strings.HasPrefix(name, stem+" (") && strings.HasSuffix(name, "."+end)) {
			continue
		}
		hasA, hasB := strings.Contains(content, f.ofA), strings.Contains(content, f.ofB)
		if hasA == hasB {
			return fmt.Errorf("%s is mixed, or neither:\n%s", name, content)
		}
		if !strings.HasSuffix(f.file, ".data") && !json.Valid([]byte(content)) {
			return fmt.Errorf("%s is not JSON:\n%s", name, content)
		}
		found = append(found, fmt.Sprint(hasA))
	}
	slices.Sort(found)
	if !slices.Equal(found, []string{"false", "true"}) {
		return fmt.Errorf("%d versions of %s: of A: %v", len(found), f.file, found)
	}
	return nil
}
