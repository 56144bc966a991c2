package plain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const poem = "one\ntwo\nthree\nfour\nfive\n"

// A directory whose name another device takes in the moment in which it is found here, too, is
// that directory, or goes on beside a file. What is in it stays in it.
func TestDirectoryMeanwhile(t *testing.T) {
	for far, want := range map[string]string{
		"mkdir -p q/e; echo a >q/e/a": "q/\nq/c \"c\\n\"\nq/e/\nq/e/a \"a\\n\"\nq/e/b \"b\\n\"\n",
		"echo a >q":                   "q \"a\\n\"\nq (2)/\nq (2)/c \"c\\n\"\nq (2)/e/\nq (2)/e/b \"b\\n\"\n",
	} {
		a, b := pair(t)
		a.run(far)
		a.flush()
		b.run("mkdir -p q/e; echo b >q/e/b; echo c >q/c")
		a.send(b)
		b.flush()
		meet(t, a, b)
		if got := b.disk(); got != want {
			t.Errorf("%s: %s, want %s", far, got, want)
		}
	}
}

// What a person does on one device is on the other, and what both did at once
// is merged.
func TestInStep(t *testing.T) {
	cases := []struct {
		name string
		a, b string // shell scripts run on each, before they meet
		then string // on a, after it
		want string
	}{
		{name: "new", a: `mkdir -p d/e; echo x >d/e/f; ln -s d/e l; printf 'a\0b' >blob`,
			want: "blob \"a\\x00b\"\nd/\nd/e/\nd/e/f \"x\\n\"\nl -> d/e\n"},
		{name: "both edit", a: `sed -i s/one/ONE/ poem`, b: `sed -i s/five/FIVE/ poem`,
			want: `poem "ONE\ntwo\nthree\nfour\nFIVE\n"` + "\n"},
		{name: "rename and edit", a: `mv poem song`, b: `echo six >>poem`,
			want: `song "one\ntwo\nthree\nfour\nfive\nsix\n"` + "\n"},
		{name: "remove and edit", a: `rm poem`, b: `echo six >>poem`,
			want: `poem "one\ntwo\nthree\nfour\nfive\nsix\n"` + "\n"},
		{name: "move a directory", a: `mkdir d; mv poem d`, then: `mkdir top; mv d top/e`,
			want: "top/\ntop/e/\n" + `top/e/poem "one\ntwo\nthree\nfour\nfive\n"` + "\n"},
		{name: "remove a directory", a: `mkdir -p d/e; cp poem d/e`, then: `rm -r d`,
			want: `poem "one\ntwo\nthree\nfour\nfive\n"` + "\n"},
		{name: "same name", a: `echo a >n`, b: `echo b >n`, then: `rm poem; n=$(ls | wc -l); echo $n >count; rm n*`,
			want: "count \"2\\n\"\n"},
		{name: "same file", a: `echo a >n`, b: `echo a >n`, want: "n \"a\\n\"\n" + `poem "one\ntwo\nthree\nfour\nfive\n"` + "\n"},
		{name: "same directory", a: `mkdir d; echo a >d/a`, b: `mkdir d; echo b >d/b`, then: `rm poem`,
			want: "d/\nd/a \"a\\n\"\nd/b \"b\\n\"\n"},
		{name: "file becomes directory", a: `rm poem; mkdir poem; echo x >poem/x`, want: "poem/\npoem/x \"x\\n\"\n"},
		{name: "exchange", a: `echo b >b; echo a >a`, then: `mv a t; mv b a; mv t b; rm poem`, want: "a \"b\\n\"\nb \"a\\n\"\n"},
		{name: "backup by rename", a: `cp poem p2; mv poem poem~; cat p2 >poem; echo six >>poem; rm poem~ p2`,
			b: `sed -i s/one/ONE/ poem`, want: `poem "ONE\ntwo\nthree\nfour\nfive\nsix\n"` + "\n"},
		{name: "moved and removed", a: `mkdir d; mv poem d/p`, b: `rm poem`, then: `rm -rf d`, want: ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			if c.name != "new" {
				a.write("poem", poem)
			}
			meet(t, a, b)
			a.run(c.a)
			b.run(c.b)
			meet(t, a, b)
			if c.then != "" {
				a.run(c.then)
				meet(t, a, b)
			}
			equal(t, "the directory", a.disk(), c.want)
		})
	}
}

// An editor that has had a file open since before it changed saves from what it
// read; one that has read the change means what it leaves out.
func TestBase(t *testing.T) {
	for _, save := range []string{"in place", "by rename"} {
		for _, reread := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/reread=%v", save, reread), func(t *testing.T) {
				t.Parallel()
				a, b := pair(t)
				a.write("poem", poem)
				meet(t, a, b)
				buffer := b.read("poem")
				a.run(`sed -i s/one/ONE/ poem`)
				meet(t, a, b)
				a.run(`sed -i s/two/TWO/ poem`)
				meet(t, a, b)
				if reread {
					equal(t, "b sees", b.read("poem"), "ONE\nTWO\nthree\nfour\nfive\n")
				}
				buffer += "six\n"
				if save == "in place" {
					b.write("poem", buffer)
				} else {
					b.write("poem.new", buffer)
					b.run("mv poem.new poem")
				}
				meet(t, a, b)
				want := "ONE\nTWO\nthree\nfour\nfive\nsix\n"
				if reread {
					want = buffer
				}
				equal(t, "merged", a.read("poem"), want)
			})
		}
	}
}

// What changed while nothing was attached is found, and a restart changes nothing.
func TestRestart(t *testing.T) {
	a, b := pair(t)
	a.write("poem", poem)
	a.write("d/x", "x\n")
	a.write("gone", "x\n")
	meet(t, a, b)
	b.detach()
	b.run(`sed -i s/one/ONE/ poem; mv d e; rm gone; echo n >new`)
	a.run(`sed -i s/five/FIVE/ poem; echo y >d/y`)
	a.flush()
	a.send(b)
	b.attach()
	meet(t, a, b)
	equal(t, "the directory", a.disk(), "e/\ne/x \"x\\n\"\ne/y \"y\\n\"\nnew \"n\\n\"\n"+`poem "ONE\ntwo\nthree\nfour\nFIVE\n"`+"\n")
	a.detach()
	before, err := a.f.Since(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	a.attach()
	after, err := a.f.Since(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(after) {
		t.Errorf("a restart made %d entries", len(after)-len(before))
	}
}

// A directory that is not the one it was is refused, and nothing is removed.
func TestAnotherDirectory(t *testing.T) {
	a, b := pair(t)
	a.write("poem", poem)
	meet(t, a, b)
	a.detach()
	full := a.root
	a.root = t.TempDir()
	if _, err := Attach(a.f, a.home, a.root, Options{}); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	a.root = full
	a.attach()
	// The same while it is attached.
	if err := os.Rename(a.root, a.root+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(a.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := a.dir.Flush(); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	if err := a.dir.Wait(); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	a.dir = nil
	equal(t, "the folder", a.shown(), `poem "one\ntwo\nthree\nfour\nfive\n"`+"\n")
}

// A file is not replaced under a program that writes it, and a truncation is not
// published before what follows.
func TestOpenForWriting(t *testing.T) {
	a, b := pair(t)
	a.write("poem", poem)
	meet(t, a, b)
	w, err := os.OpenFile(b.path("poem"), os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.run(`sed -i s/one/ONE/ poem`)
	a.flush()
	b.flush()
	b.send(a)
	a.send(b)
	b.flush()
	equal(t, "at b", b.peek("poem"), "")
	equal(t, "at a", a.peek("poem"), strings.Replace(poem, "one", "ONE", 1))
	if _, err := w.WriteString(poem + "six\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	meet(t, a, b)
	equal(t, "merged", a.peek("poem"), strings.Replace(poem, "one", "ONE", 1)+"six\n")
}

// What stays on this device stays, also where others remove what is around it.
func TestLocalNames(t *testing.T) {
	a, b := pair(t)
	a.write("d/x", "x\n")
	meet(t, a, b)
	b.write("d/.git/config", "c\n")
	b.flush()
	a.run("rm -r d")
	a.flush()
	a.send(b)
	eventually(t, "x is removed", func() bool { return b.peek("d/x") == "-" })
	b.flush()
	equal(t, "b keeps", b.peek("d/.git/config"), "c\n")
	equal(t, "the folder", b.shown(), "")
	b.write("d/y", "y\n")
	eventually(t, "y is shared", func() bool { b.flush(); return b.shown() == "d/\nd/y \"y\\n\"\n" })
	meet(t, a, b)
	// Rules act when something is made.
	b.run(`echo '*.log' >.sheafignore; echo x >a.log; mkdir node_modules; echo x >node_modules/x; echo {} >package.json`)
	b.flush()
	a.write("b.log", "from elsewhere\n")
	a.flush()
	a.send(b)
	b.flush()
	for _, name := range []string{"a.log", "node_modules"} {
		if strings.Contains(b.shown(), name) {
			t.Errorf("%s was shared", name)
		}
	}
	equal(t, "what others share", b.peek("b.log"), "from elsewhere\n")
	b.run(`rm -r .sheafignore a.log node_modules b.log package.json`)
	meet(t, a, b)
	// Links that leave the folder are not made elsewhere.
	a.run("ln -s /etc/passwd out; ln -s ../.. up; ln -s d/y in")
	a.flush()
	a.send(b)
	eventually(t, "the link in the folder", func() bool { _, err := os.Readlink(b.path("in")); return err == nil })
	b.flush()
	for _, name := range []string{"out", "up"} {
		if _, err := os.Lstat(b.path(name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
	if !strings.Contains(b.shown(), "out ->") {
		t.Error("the link was removed for everybody")
	}
}

// Whatever two people do, their directories end alike, and every line that was
// written is in a file or in the history.
func TestRandom(t *testing.T) {
	seeds := 6
	if s := os.Getenv("SHEAF_SEEDS"); s != "" {
		fmt.Sscan(s, &seeds)
	}
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			a, b := pair(t)
			token := 0
			var typed []string
			act := func(d *device) {
				names := []string{"p", "q", "d/p", "d/q", "e/p", "e/f/p", "d", "e"}
				x, y := names[r.IntN(len(names))], names[r.IntN(len(names))]
				token++
				word := fmt.Sprintf("word%d", token)
				script := []string{
					`mkdir -p $(dirname X); [ -d X ] || { echo W >>X && echo typed; }`,
					`mkdir -p $(dirname X); [ -d X ] || { (echo W; cat X 2>/dev/null) >.t; mv .t X && echo typed; }`,
					`rm -rf X`,
					`[ ! -e X ] || { mkdir -p $(dirname Y); mv -T X Y; }`,
					`[ ! -f X ] || { mkdir -p $(dirname Y); cp X Y; }`,
				}[r.IntN(5)]
				script = strings.NewReplacer("X", x, "Y", y, "W", word).Replace(script)
				c := exec.Command("sh", "-c", script+" 2>/dev/null; true")
				c.Dir = d.root
				out, _ := c.Output()
				if strings.Contains(string(out), "typed") {
					typed = append(typed, word)
					d.flush() // what is written over before it is seen was never here
				}
			}
			for range 25 {
				for range 1 + r.IntN(3) {
					act(a)
				}
				for range r.IntN(3) {
					act(b)
				}
				switch r.IntN(4) {
				case 0:
					a.flush()
					a.send(b)
				case 1:
					b.flush()
					b.send(a)
				case 2:
					meet(t, a, b)
				}
			}
			meet(t, a, b)
			all := history(t, a)
			for _, w := range typed {
				if !strings.Contains(all, w+"\n") {
					t.Errorf("%s is nowhere", w)
				}
			}
		})
	}
}

// history is every content that the folder ever had.
func history(t *testing.T, d *device) string {
	t.Helper()
	var b strings.Builder
	for _, n := range d.f.Nodes() {
		revs, err := d.f.Log(n)
		if err != nil {
			continue
		}
		for _, r := range revs {
			if c, err := d.f.ContentAt(n, r.Version); err == nil {
				b.WriteString(c.Text)
			}
		}
	}
	return b.String()
}
