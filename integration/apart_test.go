package integration

import (
	"fmt"
	"math/rand"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// twoHands is what is done to one file while the devices are apart: A runs a program on
// it, and B changes it by hand, having done the same before or not. What B did by hand
// shows A that everything of B has come.
type twoHands struct {
	name   string
	before string // on A, before they part: makes the file f, and repositories
	onB    string // on B, before they part
	a, b   string // while they are apart
	file   string // what both change, "" for f
	want   string // and what it is then
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
	attach = `git init -q -b main .; git remote add origin "$scratch/bare"; git fetch -q; git reset -q origin/main; git branch -q -u origin/main`
	far    = `sed -i -e '/^2\.2/s/$/ reaped/' -e '/^1\.3/a theirs' f`
)

// TestApart: formatters, generators and git change a file on both devices while they are
// cut off from each other. What both did alike is there once, and nothing is lost.
func TestApart(t *testing.T) {
	need(t, "ip", "nsenter", "git", "gofmt", "node")
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	lines := page(rnd, 3)
	begin := "cat > f"
	theirs := func(l []string) []string {
		l = append([]string{}, l...)
		l[6] += " reaped"
		return insert(l, 3, "theirs")
	}
	both := text(insert(theirs(lines), 1, "mine"))
	onlyTheirs := text(theirs(lines))
	prettier, err := filepath.Abs("../.cache/js/node_modules/prettier/bin/prettier.cjs")
	if err != nil {
		t.Fatal(err)
	}
	end := "sed -i 's/the end/the very end/'"

	cases := []twoHands{
		{name: "gofmt on both", before: "printf %s '" + roughGo + "' > f.go", a: "gofmt -w f.go", b: "gofmt -w f.go; " + end + " f.go", file: "f.go", want: strings.Replace(smoothGo, "the end", "the very end", 1)},
		{name: "gofmt against a change", before: "printf %s '" + roughGo + "' > f.go", a: "gofmt -w f.go", b: end + " f.go", file: "f.go", want: strings.Replace(smoothGo, "the end", "the very end", 1)},
		{name: "prettier on both", before: "printf %s '" + roughJS + "' > f.js", a: "node " + prettier + " --write f.js", b: "node " + prettier + " --write f.js; " + end + " f.js", file: "f.js", want: strings.Replace(smoothJS, "the end", "the very end", 1)},
		{name: "prettier against a change", before: "printf %s '" + roughJS + "' > f.js", a: "node " + prettier + " --write f.js", b: end + " f.js", file: "f.js", want: strings.Replace(smoothJS, "the end", "the very end", 1)},
		{name: "a generator on both", before: "printf %s '" + json1 + "' > f.json", a: generate, b: generate + "; sed -i 's/hand/hands/' f.json", file: "f.json", want: strings.Replace(json2, "hand", "hands", 1)},
		{name: "a generator against a change", before: "printf %s '" + json1 + "' > f.json", a: generate, b: "sed -i 's/hand/hands/' f.json", file: "f.json", want: strings.Replace(json2, "hand", "hands", 1)},
		{name: "git checkout of a branch", before: begin + "; " + repository, a: "git checkout -q other", b: far, want: both},
		{name: "git checkout of a file", before: begin + "; " + repository + "; sed -i '1a mine' f", a: "git checkout -q -- f", b: far, want: onlyTheirs},
		{name: "git stash", before: begin + "; " + repository + "; sed -i '1a mine' f", a: "git stash -q", b: far, want: onlyTheirs},
		{name: "git stash and pop", before: begin + "; " + repository + "; sed -i '1a mine' f", a: "git stash -q; git stash pop -q", b: far, want: both},
		{name: "git merge", before: begin + "; " + repository, a: "git merge -q other", b: far, want: both},
		{name: "git rebase", before: begin + "; " + repository + "; echo g > g; git add g; git commit -qm three; git checkout -q other", a: "git rebase -q main", b: far, want: both},
		{name: "git pull on both", before: begin + "; " + repository + "; git push -q origin other:main", onB: attach, a: "git pull -q --ff-only", b: "git pull -q --ff-only; " + far, want: both},
		{name: "git pull against a change", before: begin + "; " + repository + "; git push -q origin other:main", a: "git pull -q --ff-only", b: far, want: both},
	}
	if rig.Small() {
		cases = cases[:1]
	}
	a, b := rig.Pair(t, rig.NewNet(t))
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
	atOnce := func(f func(i int, c twoHands)) {
		var wg sync.WaitGroup
		for i, c := range cases {
			wg.Go(func() { f(i, c) })
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	atOnce(func(i int, c twoHands) { run(a, i, "mkdir -p $scratch; "+c.before) })
	sameTrees(t, a, b)
	atOnce(func(i int, c twoHands) { run(b, i, c.onB) })
	sameTrees(t, a, b)
	connected(t, a, 1)
	b.Cut()
	atOnce(func(i int, c twoHands) {
		run(a, i, c.a)
		run(b, i, c.b)
	})
	b.Mend()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.file == "" {
				c.file = "f"
			}
			rig.Sees(t, fmt.Sprintf("%d/%s", i, c.file), c.want, a, b)
		})
	}
	sameTrees(t, a, b)
}
