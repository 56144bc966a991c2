package integration

import (
	"fmt"
	"math/rand"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// atWork is a program that changes a file on A. A repository that it needs is made on A
// before the devices part, and on B if B runs it too.
type atWork struct {
	name   string
	file   string // that it changes, "" for f
	before string // on A: makes the file, and repositories
	onB    string // on B, if B runs the program too
	run    string
	made   string // what it makes of the file
	leaves []string
	edit   string // what B makes of the file by hand, and both of these then
	both   string
}

// apart is a program on A, and what B does to the same file while they are apart.
type apart struct {
	atWork
	name string
	b    string
	want map[string]string
}

// newFile is the name that B gives to the program's file.
const newFile = "renamed"

// cells are the program against each of what B may do, with having run it before or not. What
// both did is one change: so a removal by who has it stays, and by who has it not does not.
func (w atWork) cells() (out []apart) {
	if w.file == "" {
		w.file = "f"
	}
	rename, remove := "mv "+w.file+" "+newFile, "rm "+w.file
	out = append(out,
		apart{w, w.name + " against a change", w.edit, map[string]string{w.file: w.both}},
		apart{w, w.name + " against a rename", rename, map[string]string{newFile: w.made}},
		apart{w, w.name + " against a removal", remove, map[string]string{w.file: w.made}})
	if w.onB != "" {
		out = append(out,
			apart{w, w.name + " on both, and a change", w.run + "; " + w.edit, map[string]string{w.file: w.both}},
			apart{w, w.name + " on both, and a rename", w.run + "; " + rename, map[string]string{newFile: w.made}},
			apart{w, w.name + " on both, and a removal", w.run + "; " + remove, map[string]string{}})
	}
	return out
}

// Texts that formatters change, and generators rewrite.
const (
	roughGo  = "package p\n\nfunc  a( ) {\n  x:=1\n  _ = x\n}\n\n\n\nfunc b() {\n}\n\n// the end\n"
	smoothGo = "package p\n\nfunc a() {\n\tx := 1\n\t_ = x\n}\n\nfunc b() {\n}\n\n// the end\n"
	roughJS  = "const a = {b:1,\n  c: 2}\n\n\n\nfunction f( x ){ return x }\n\n// the end\n"
	smoothJS = "const a = { b: 1, c: 2 };\n\nfunction f(x) {\n  return x;\n}\n\n// the end\n"

	generate = `"$python" -c '
import json
with open("f.json") as f: data = json.load(f)
data["version"] += 1
data["files"] = ["a", "b", "c", "d"]
with open("f.json", "w") as f: json.dump(data, f, indent=1); f.write("\n")'`
	json1 = "{\n \"version\": 1,\n \"files\": [\n  \"a\",\n  \"c\"\n ],\n \"by\": \"hand\"\n}\n"
	json2 = "{\n \"version\": 2,\n \"files\": [\n  \"a\",\n  \"b\",\n  \"c\",\n  \"d\"\n ],\n \"by\": \"hand\"\n}\n"

	// A repository in the folder, whose branch "other" has a line more; B has one of its own
	// at the same commit.
	repository = `git init -q -b main .; git add f; git commit -qm one
git checkout -qb other; sed -i '1a mine' f; git commit -qam two; git checkout -q main
git clone -q --bare . "$scratch/bare"; git remote add origin "$scratch/bare"; git fetch -q; git branch -q -u origin/main`
	attach = `git init -q -b main .; git remote add origin "$scratch/bare"; git fetch -q; git reset -q origin/other~1; git branch -q -u origin/main`
	far    = `sed -i -e '/^2\.2/s/$/ reaped/' -e '/^1\.3/a theirs' f`

	changed = `new=$scratch/new.$$; sed '1a mine' f > "$new"; `
)

// works are the programs.
func works(t *testing.T, lines []string) []atWork {
	prettier, err := filepath.Abs("../.cache/js/node_modules/prettier/bin/prettier.cjs")
	if err != nil {
		t.Fatal(err)
	}
	theirs := func(made []string) string { // what far makes of it
		var out []string
		for _, l := range made {
			switch {
			case strings.HasPrefix(l, "1.3"):
				out = append(out, l, "theirs")
			case strings.HasPrefix(l, "2.2"):
				out = append(out, l+" reaped")
			default:
				out = append(out, l)
			}
		}
		return text(out)
	}
	begin, mine := "cat > f; ", insert(lines, 1, "mine")
	theEnd := func(file string) string { return "sed -i 's/the end/the very end/' " + file }
	ended := func(text string) string { return strings.Replace(text, "the end", "the very end", 1) }
	git := func(name, before, run string, made []string) atWork {
		return atWork{name: "git " + name, before: begin + repository + before, run: "git " + run, made: text(made), edit: far, both: theirs(made)}
	}
	pull := git("pull", "; git push -q origin other:main", "pull -q --ff-only", mine)
	pull.onB = attach
	rebase := git("rebase", "; echo g > g; git add g; git commit -qm three; git checkout -q other", "rebase -q main", mine)
	rebase.leaves = []string{"g"}
	return []atWork{
		{name: "gofmt", file: "f.go", before: "printf %s '" + roughGo + "' > f.go", onB: "true", run: "gofmt -w f.go", made: smoothGo, edit: theEnd("f.go"), both: ended(smoothGo)},
		{name: "prettier", file: "f.js", before: "printf %s '" + roughJS + "' > f.js", onB: "true", run: "node " + prettier + " --write f.js", made: smoothJS, edit: theEnd("f.js"), both: ended(smoothJS)},
		{name: "a generator", file: "f.json", before: "printf %s '" + json1 + "' > f.json", onB: "true", run: generate, made: json2, edit: "sed -i 's/hand/hands/' f.json", both: strings.Replace(json2, "hand", "hands", 1)},
		{name: "patch", before: begin + "mkdir -p $scratch", onB: "true", run: changed + `diff -u f "$new" > "$new.diff" || patch -s f "$new.diff"`, made: text(mine), edit: far, both: theirs(mine)},
		{name: "rsync", before: begin + "mkdir -p $scratch", onB: "true", run: changed + `rsync "$new" f`, made: text(mine), edit: far, both: theirs(mine)},
		{name: "rsync --inplace", before: begin + "mkdir -p $scratch", onB: "true", run: changed + `rsync --inplace "$new" f`, made: text(mine), edit: far, both: theirs(mine)},
		git("checkout of a branch", "", "checkout -q other", mine),
		git("checkout of a file", "; sed -i '1a mine' f", "checkout -q -- f", lines),
		git("stash", "; sed -i '1a mine' f", "stash -q", lines),
		git("stash and pop", "; sed -i '1a mine' f", "stash -q; git stash pop -q", mine),
		git("merge", "", "merge -q other", mine),
		rebase,
		pull,
	}
}

// TestApart: formatters, generators and git change a file on A while B changes, renames or
// removes it, and they are cut off from each other. What both did alike is there once, and
// nothing is lost: a renamed file has what A made of it, a removed one is back with that.
func TestApart(t *testing.T) {
	need(t, "ip", "nsenter", "git", "gofmt", "node", "patch", "rsync")
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	lines := page(rnd, 3)
	var cases []apart
	for _, w := range works(t, lines) {
		cases = append(cases, w.cells()...)
	}
	if rig.Small() {
		small := []string{"gofmt on both, and a change", "gofmt on both, and a rename", "git stash against a rename"}
		cases = slices.DeleteFunc(cases, func(c apart) bool { return !slices.Contains(small, c.name) })
	}
	a, b := rig.Pair(t, rig.NewNet(t))
	onA, onB := newLooker(t, a), newLooker(t, b)
	scratch := rig.Scratch(t, "apart")
	run := func(d *rig.Device, i int, script string) {
		if script == "" {
			return
		}
		_, err := d.TryShell(text(lines), `mkdir -p $1; cd $1; scratch=$2 python=`+python+`
export HOME=$2 GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=n@example.org GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=n@example.org
`+script, fmt.Sprint(i), fmt.Sprintf("%s/%d", scratch, i))
		if err != nil {
			t.Errorf("%s: %v", cases[i].name, err)
		}
	}
	atOnce := func(f func(i int, c apart)) {
		var wg sync.WaitGroup
		for i, c := range cases {
			wg.Go(func() { f(i, c) })
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	atOnce(func(i int, c apart) { run(a, i, "mkdir -p $scratch; "+c.before) })
	sameTrees(t, a, b)
	atOnce(func(i int, c apart) { run(b, i, c.onB) })
	sameTrees(t, a, b)
	connected(t, a, 1)
	b.Cut()
	atOnce(func(i int, c apart) {
		run(a, i, c.run)
		run(b, i, c.b)
	})
	b.Mend()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, l := range []*looker{onA, onB} {
				rig.Until(t, "sees both", func() error {
					return has(l, fmt.Sprint(i), c.want, func(n string) bool { return slices.Contains(c.leaves, n) })
				})
			}
		})
	}
	sameTrees(t, a, b)
}
