package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// watchTool is a program on B that watches a directory of its own, in which A changes a
// file, makes one, replaces one and removes one. What it then says ends a line.
type watchTool struct {
	name, dir                        string
	script                           string // $1 is the directory
	ready                            string
	content, create, replace, remove string // "" where it does not look for that
}

// watchTools are tried with TypeScript, since tsc says of each change what is wrong.
func watchTools() []watchTool {
	const node = `exec node -e '
const fs = require("fs")
fs.watch(process.argv[1], {recursive: process.argv[2] == "deep"}, (what, name) => console.log(what, name))
setTimeout(() => console.log("ready"), 500) // a recursive watch is set up by and by, without a word
' `
	const entr = `while sleep 0.1; do ls "$1"/*.ts | entr -nda sh -c 'cd "$0" && echo $(cat *.ts | wc -l) lines of $(ls *.ts | wc -l)' "$1"; done`
	return []watchTool{
		{"node fs.watch of a directory", "dir", node + `"$1"`, "ready", "change f.ts", "rename new.ts", "change f.ts", "rename new.ts"},
		{"node fs.watch of a file", "file", node + `"$1/f.ts"`, "ready", "change f.ts", "", "change f.ts", ""},
		{"node fs.watch, recursive", "deep", node + `. deep`, "ready", "change deep/f.ts", "rename deep/new.ts", "change deep/f.ts", "rename deep/new.ts"},
		{"entr", "entr", entr, "1 lines of 1", "2 lines of 1", "3 lines of 2", "4 lines of 2", "3 lines of 1"},
		{"tsc --watch", "tsc", `exec node "$NODE_PATH/typescript/bin/tsc" --watch --preserveWatchOutput --pretty false -p "$1"`,
			"Found 0 errors. Watching for file changes.",
			"tsc/f.ts(2,5): error TS2322: Type 'number' is not assignable to type 'string'.",
			"tsc/new.ts(1,5): error TS2322: Type 'number' is not assignable to type 'string'.",
			"Found 1 error. Watching for file changes.",
			"Found 0 errors. Watching for file changes."},
	}
}

// TestWatchTools: what people leave running to build or reload at a change does so at a
// change of another device.
func TestWatchTools(t *testing.T) {
	need(t, "node", "entr")
	js, err := filepath.Abs("../.cache/js/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	a, b := rig.Pair(t, nil)
	b.Env = append(b.Env, "NODE_PATH="+js)
	tools := watchTools()
	if rig.Small() {
		tools = tools[:1]
	}
	for _, w := range tools {
		a.Shell(`mkdir "$1"; cd "$1"; echo 'let one: string = "1"' > f.ts
echo '{"compilerOptions": {"noEmit": true, "lib": ["es5"], "types": []}, "include": ["*.ts"]}' > tsconfig.json`, w.dir)
	}
	sameTrees(t, a, b)
	books := map[string]*book{}
	for _, w := range tools {
		books[w.name] = listen(t, b, "sh", "-c", w.script, "sh", w.dir)
	}
	for _, w := range tools {
		books[w.name].heard(t, w.name, 0, w.ready)
	}
	for _, step := range []struct {
		name, do string
		want     func(w watchTool) string
	}{
		{"content", `echo 'let two: string = 2' >> f.ts`, func(w watchTool) string { return w.content }},
		{"create", `echo 'let three: string = 3' > new.ts`, func(w watchTool) string { return w.create }},
		{"replace", `sed -i -e 's/= 2/= "2"/' -e '$a // the end' f.ts`, func(w watchTool) string { return w.replace }},
		{"remove", `rm new.ts`, func(w watchTool) string { return w.remove }},
	} {
		marks := map[string]int{}
		for _, w := range tools {
			marks[w.name] = books[w.name].mark()
			a.Shell(`cd "$1"; `+step.do, w.dir)
		}
		for _, w := range tools {
			if want := step.want(w); want != "" {
				t.Run(step.name+"/"+w.name, func(t *testing.T) { books[w.name].heard(t, w.name, marks[w.name], want) })
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestTail: a log that A appends to is followed on B, line by line, through its rotation.
func TestTail(t *testing.T) {
	need(t, "tail")
	a, b := rig.Pair(t, nil)
	a.Shell(`echo begin > log`)
	sameTrees(t, a, b)
	books := map[string]*book{
		"-f": listen(t, b, "tail", "-s", "0.1", "-n", "+1", "-f", "log"),
		"-F": listen(t, b, "tail", "-s", "0.1", "-n", "+1", "-F", "log"),
	}
	const lines = 100
	for option, book := range books {
		book.heard(t, "tail "+option, 0, "begin")
	}
	want := []string{"begin"}
	for i := range lines {
		want = append(want, fmt.Sprint("line ", i+1))
	}
	a.Shell(`for i in $(seq $1); do echo line $i; sleep 0.01; done >> log`, fmt.Sprint(lines))
	all := strings.Join(want, "\n")
	for option, book := range books {
		rig.Until(t, "tail "+option+" says every line", func() error {
			return rig.SameText(strings.Join(book.since(0), "\n"), all)
		})
	}
	a.Shell(`mv log log.1; echo after > log`)
	books["-F"].heard(t, "tail -F", 0, "after")
	a.Shell(`echo later >> log; echo late >> log.1`)
	books["-F"].heard(t, "tail -F", 0, "later")
	books["-f"].heard(t, "tail -f", 0, "late")
}

// TestMake: make on B builds anew what A changed, and nothing else, whenever A changes it.
func TestMake(t *testing.T) {
	need(t, "make")
	a, b := rig.Pair(t, nil)
	out := rig.Scratch(t, "make")
	a.Shell(`for i in 1 2 3 4; do echo $i > $i.c; done
printf 'all: $(patsubst %%.c,$(O)/%%.o,$(wildcard *.c))\n$(O)/%%.o: %%.c\n\t@cp $< $@; echo built $*\n' > Makefile`)
	sameTrees(t, a, b)
	build := func() string { return strings.Join(strings.Fields(b.Shell(`make -s O="$1"`, out)), " ") }
	equal := func(what, want string) {
		t.Helper()
		if got := build(); got != want {
			t.Errorf("%s: make says %q, want %q", what, got, want)
		}
	}
	equal("at first", "built 1 built 2 built 3 built 4")
	equal("at once again", "")
	for _, step := range []struct{ do, want string }{
		{`echo more >> 2.c`, "built 2"},
		{`sed -i s/3/three/ 3.c`, "built 3"},
		{`chmod 600 1.c`, ""},
		{`touch 1.c`, "built 1"},
		{`mv 4.c 5.c; echo 4 > 4.c`, "built 4 built 5"},
		{`cp 1.c 6.c`, "built 6"},
		{`cat 1.c > 1.tmp; mv 1.tmp 1.c`, ""}, // the same text
	} {
		a.Shell(step.do)
		sameTrees(t, a, b)
		if step.want != "" {
			rig.Until(t, step.do+" is seen", func() error { // by its time, which the trees do not show
				if b.Shell(`make -q O="$1" || echo outdated`, out) == "" {
					return fmt.Errorf("make has nothing to do")
				}
				return nil
			})
		}
		equal(step.do, step.want)
	}
	// B saves and builds while A's change comes in, which B's programs see a little later.
	for i := range 10 {
		done := make(chan error)
		go func() {
			_, err := a.TryShell("", `sleep 0.0$1; sed -i "1i of a $1" 1.c`, fmt.Sprint(i))
			done <- err
		}()
		b.Shell(`echo of b $2 >> 1.c; sleep 0.15; make -s O="$1"`, out, fmt.Sprint(i)) // A's change has come, and waits
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		rig.Until(t, "both changes", func() error {
			text, err := b.Read("1.c")
			if err != nil {
				return err
			}
			return everyLine(text, fmt.Sprint("of a ", i), fmt.Sprint("of b ", i))
		})
		build()
		b.Shell(`cmp 1.c "$1/1.o"`, out)
	}
}
