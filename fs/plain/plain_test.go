package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// device is a home with a folder and a directory in step with it.
type device struct {
	t    testing.TB
	home *crdt.Home
	f    *crdt.Folder
	root string
	dir  *Dir
	sent map[*device]uint64
}

func newDevice(t testing.TB, name string) *device {
	t.Helper()
	h, err := crdt.Init(filepath.Join(t.TempDir(), name), crdt.Options{DeviceName: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &device{t: t, home: h, root: t.TempDir(), sent: map[*device]uint64{}}
}

// pair returns two devices with one folder, both attached.
func pair(t testing.TB) (a, b *device) {
	t.Helper()
	a, b = newDevice(t, "a"), newDevice(t, "b")
	var err error
	if a.f, err = a.home.CreateFolder("notes"); err != nil {
		t.Fatal(err)
	}
	secret, err := a.f.Invite()
	if err != nil {
		t.Fatal(err)
	}
	g, err := a.f.Redeem(secret, b.home.Device(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if b.f, err = b.home.JoinFolder(g); err != nil {
		t.Fatal(err)
	}
	a.send(b)
	a.attach()
	b.attach()
	return a, b
}

func (d *device) attach() {
	d.t.Helper()
	var o Options
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	var err error
	if d.dir, err = Attach(d.f, d.home, d.root, o); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(d.detach)
	d.flush()
}

func (d *device) detach() {
	d.t.Helper()
	if d.dir == nil {
		return
	}
	if err := d.dir.Close(context.Background()); err != nil {
		d.t.Error(err)
	}
	d.dir = nil
}

// send gives o what it lacks of d's entries, and objects.
func (d *device) send(o *device) {
	d.t.Helper()
	for {
		ls, err := d.f.Since(d.sent[o], 100)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(ls) == 0 {
			break
		}
		for _, l := range ls {
			if _, err := o.f.Receive([]*feed.Entry{l.Entry}); err != nil {
				d.t.Fatal(err)
			}
			d.sent[o] = l.Order
		}
	}
	for _, w := range o.f.Wanted() {
		src, err := d.home.Objects().Open(hash(&w))
		if err != nil {
			continue
		}
		if _, _, err := o.home.Objects().Put(src); err != nil {
			d.t.Fatal(err)
		}
		src.Close()
		o.f.ObjectArrived(w.Hash)
	}
}

func (d *device) flush() {
	d.t.Helper()
	if err := d.dir.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) path(name string) string { return filepath.Join(d.root, name) }

func (d *device) write(name, text string) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.path(name), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) read(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		return "-"
	}
	return string(b)
}

// peek reads a file as sheaf does, so that nobody has read it.
func (d *device) peek(name string) string {
	f, err := openQuietly(d.path(name))
	if err != nil {
		return "-"
	}
	defer f.Close()
	var b strings.Builder
	_, _ = f.WriteTo(&b)
	return b.String()
}

func (d *device) run(script string) {
	d.t.Helper()
	c := exec.Command("sh", "-ec", script)
	c.Dir = d.root
	if out, err := c.CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// disk lists what is on the disk, with contents.
func (d *device) disk() string {
	var b strings.Builder
	_ = filepath.WalkDir(d.root, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(d.root, p)
		if err != nil || rel == "." {
			return nil
		}
		switch {
		case rel == Own, e.Name() == ".git":
			return fs.SkipDir
		case e.IsDir():
			fmt.Fprintf(&b, "%s/\n", rel)
		case e.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(p)
			fmt.Fprintf(&b, "%s -> %s\n", rel, target)
		default:
			fmt.Fprintf(&b, "%s %q\n", rel, d.peek(rel))
		}
		return nil
	})
	return b.String()
}

// shown lists what the folder shows, in the same way.
func (d *device) shown() string {
	var b strings.Builder
	var walk func(dir crdt.NodeID, at string)
	walk = func(dir crdt.NodeID, at string) {
		list, err := d.f.ReadDir(dir)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, i := range list {
			p := filepath.Join(at, i.Name)
			switch i.Kind {
			case crdt.Dir:
				fmt.Fprintf(&b, "%s/\n", p)
				walk(i.Node, p)
			case crdt.Symlink:
				fmt.Fprintf(&b, "%s -> %s\n", p, i.Target)
			default:
				c, err := d.f.ContentAt(i.Node, i.Version)
				if err != nil {
					d.t.Fatal(err)
				}
				if c.Object != nil {
					o, _ := os.ReadFile(d.home.Objects().Path(hash(c.Object)))
					c.Text = string(o)
				}
				fmt.Fprintf(&b, "%s %q\n", p, c.Text)
			}
		}
	}
	walk(crdt.Root, "")
	return b.String()
}

// meet brings folders and directories in step.
func meet(t testing.TB, a, b *device) {
	t.Helper()
	var last [4]string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		a.flush()
		b.flush()
		a.send(b)
		b.send(a)
		last = [4]string{a.disk(), a.shown(), b.shown(), b.disk()}
		if last[0] == last[1] && last[1] == last[2] && last[2] == last[3] {
			return
		}
	}
	t.Fatalf("never in step:\ndisk a\n%s\nfolder a\n%s\nfolder b\n%s\ndisk b\n%s", last[0], last[1], last[2], last[3])
}

func equal(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

const poem = "one\ntwo\nthree\nfour\nfive\n"

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
		{name: "same name", a: `echo a >n`, b: `echo b >n`, then: `rm poem; ls | wc -l >count; rm n*`,
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
