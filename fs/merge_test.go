package fs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

const poem = "alpha\nbeta\ngamma\ndelta\nepsilon\n"

// python runs lines of Python one by one, in one process.
type python struct {
	t  testing.TB
	in io.WriteCloser
	sc *bufio.Scanner
}

func startPython(d *device) *python {
	d.t.Helper()
	exe := "/usr/bin/python3" // a version manager's shim takes longer than the test
	if _, err := os.Stat(exe); err != nil {
		exe = "python3"
	}
	c := d.command(exe, "-u", "-c", "import sys\nfor l in sys.stdin:\n  exec(l)\n  print('done')")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		d.t.Skip("no python here")
	}
	d.t.Cleanup(func() { in.Close(); c.Wait() })
	return &python{d.t, in, bufio.NewScanner(out)}
}

func (p *python) do(line string) {
	p.t.Helper()
	fmt.Fprintln(p.in, line)
	if !p.sc.Scan() {
		p.t.Fatalf("python ended at %s", line)
	}
}

// shared makes f hold the poem on both devices.
func shared(t *testing.T) (here, far *device) {
	t.Helper()
	here, far = pair(t)
	here.write("f", poem)
	here.flush()
	exchange(t, here, far)
	equal(t, "shared", far.text("f"), poem)
	return here, far
}

// arrives makes the far device's edit reach the mount.
func (d *device) arrives(far *device, f func(string) string) {
	d.t.Helper()
	far.edit("f", f)
	far.send(d)
}

func TestRemoteIsSeen(t *testing.T) {
	here, far := shared(t)
	time.Sleep(holdAtMost / 2) // the save of the beginning holds back what follows
	equal(t, "before", here.read("f"), poem)
	fi, _ := os.Stat(here.path("f"))
	here.arrives(far, prepend("far\n"))
	eventually(t, "remote text seen", func() bool { return here.read("f") == "far\n"+poem })
	after, _ := os.Stat(here.path("f"))
	if !after.ModTime().After(fi.ModTime()) || after.Size() != int64(len(poem))+4 {
		t.Errorf("size %d and time %v of the remote text", after.Size(), after.ModTime())
	}
	far.edit("f", func(string) string { return "" })
	far.send(here)
	eventually(t, "emptied", func() bool { return here.read("f") == "" })
}

func TestRemoteNames(t *testing.T) {
	here, far := shared(t)
	if _, err := os.Stat(here.path("g")); !os.IsNotExist(err) {
		t.Fatal(err)
	}
	info, _ := far.f.Resolve("f")
	far.edit("f", prepend("x\n"))
	if err := far.f.Update(moveTo(info.Node, "g")); err != nil {
		t.Fatal(err)
	}
	far.send(here)
	eventually(t, "renamed", func() bool {
		_, gone := os.Stat(here.path("f"))
		_, came := os.Stat(here.path("g"))
		return os.IsNotExist(gone) && came == nil
	})
	equal(t, "ls", here.run("ls"), "g\n")
	if err := far.f.Update(removeNode(info.Node)); err != nil {
		t.Fatal(err)
	}
	far.send(here)
	eventually(t, "removed", func() bool { _, err := os.Stat(here.path("g")); return os.IsNotExist(err) })
	equal(t, "ls", here.run("ls"), "")
}

// Saves from stale buffers: the remote edit comes between reading and writing.
func TestStaleSaves(t *testing.T) {
	for _, c := range []struct{ name, read, save string }{
		{"open for writing", "a = open('f').read()", "b = open('f', 'w'); b.write(a.replace('delta', 'DELTA')); b.close()"},
		{"with a pause", "a = open('f').read()", "import time; b = open('f', 'w'); time.sleep(.4); b.write(a.replace('delta', 'DELTA')); b.close()"},
		{"in pieces", "a = open('f').read()", "b = open('f', 'w'); [(b.write(x), b.flush()) for x in a.replace('delta', 'DELTA')]; b.close()"},
		{"through a temporary file", "import os; a = open('f').read()", "b = open('t', 'w'); b.write(a.replace('delta', 'DELTA')); b.close(); os.rename('t', 'f')"},
		{"old file aside first", "import os; a = open('f').read()", "os.rename('f', 'f~'); b = open('f', 'w'); b.write(a.replace('delta', 'DELTA')); b.close(); os.unlink('f~')"},
		{"removed first", "import os; a = open('f').read()", "os.unlink('f'); b = open('f', 'w'); b.write(a.replace('delta', 'DELTA')); b.close()"},
		{"aside, then renamed over", "import os; a = open('f').read()", "b = open('t', 'w'); b.write(a.replace('delta', 'DELTA')); b.close(); os.rename('f', 'f~'); os.rename('t', 'f'); os.unlink('f~')"},
		{"backup by reading again", "a = open('f').read()", "c = open('f').read(); b = open('f', 'w'); b.write(a.replace('delta', 'DELTA')); b.close()"},
		{"by a child", "a = open('f').read()", "import subprocess; subprocess.run(['tee', 'f'], input=a.replace('delta', 'DELTA').encode(), stdout=subprocess.DEVNULL)"},
		{"in place", "b = open('f', 'r+'); a = b.read()", "b.seek(a.index('delta')); b.write('DELTA'); b.close()"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			here, far := shared(t)
			here.patient()
			p := startPython(here)
			p.do(c.read)
			here.arrives(far, func(s string) string { return "far\n" + strings.Replace(s, "beta\n", "", 1) })
			if !strings.HasPrefix(c.read, "b =") {
				eventually(t, "remote text seen", func() bool { return strings.HasPrefix(here.read("f"), "far\n") })
			}
			p.do(c.save)
			want := "far\nalpha\ngamma\nDELTA\nepsilon\n"
			eventually(t, "merged in the folder: "+here.text("f"), func() bool { here.flush(); return here.text("f") == want })
			eventually(t, "merged in the mount: "+here.read("f"), func() bool { return here.read("f") == want })
			equal(t, "names", here.run("ls"), "f\n")

			// A second save by the same process starts from its own first one.
			if c.save[0] == 'b' && c.read[0] == 'a' {
				p.do("b = open('f', 'w'); b.write(a.replace('delta', 'DELTA').replace('epsilon', 'EPSILON')); b.close()")
				want = "far\nalpha\ngamma\nDELTA\nEPSILON\n"
				eventually(t, "merged again: "+here.text("f"), func() bool { return here.text("f") == want })
			}
			exchange(t, here, far)
			equal(t, "far", far.text("f"), want)
		})
	}
}

func TestTools(t *testing.T) {
	here, far := shared(t)
	here.run("sed -i s/beta/BETA/ f")
	equal(t, "sed -i", here.text("f"), strings.Replace(poem, "beta", "BETA", 1))
	here.run("sort -r f > t && mv t f")
	here.flush()
	equal(t, "sort and mv", here.text("f"), "gamma\nepsilon\ndelta\nalpha\nBETA\n")
	equal(t, "names", here.names(), "f")
	before := here.entries()
	here.patient()
	here.run("cat f > /dev/null; touch -c -a f; cat f > t; cp t f; rm t")
	here.flush()
	exchange(t, here, far)
	if n := here.entries(); n != before || here.text("f") != "gamma\nepsilon\ndelta\nalpha\nBETA\n" {
		t.Errorf("a save of the same text made %d entries", n-before)
	}
	info, _ := here.f.Resolve("f")
	v := info.Version
	here.run("cat f > ../t$$; cat ../t$$ > f; rm ../t$$")
	here.flush()
	if info, _ := here.f.Resolve("f"); !info.Version.Equal(v) {
		t.Error("a save of the same text made an event")
	}
}

// TestTruncationIsNotPublished: nobody else sees the window between truncation
// and writing.
func TestTruncationIsNotPublished(t *testing.T) {
	here, _ := shared(t)
	f, err := os.OpenFile(here.path("f"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "seen here", here.read("f"), "")
	time.Sleep(quiet + 200*time.Millisecond)
	here.flush()
	equal(t, "published", here.text("f"), poem)
	f.Close()
	eventually(t, "emptied at close", func() bool { return here.text("f") == "" })
}

func TestAppends(t *testing.T) {
	here, far := shared(t)
	f, err := os.OpenFile(here.path("f"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 3 {
		fmt.Fprintf(f, "here %d\n", i)
		here.arrives(far, func(s string) string { return s + fmt.Sprintf("far %d\n", i) })
	}
	want := []string{"here 0", "here 1", "here 2", "far 0", "far 1", "far 2"}
	eventually(t, "appends of both sides published while open", func() bool {
		text := here.text("f")
		for _, w := range want {
			if strings.Count(text, w+"\n") != 1 {
				return false
			}
		}
		return true
	})
	fmt.Fprintln(f, "last")
	f.Close()
	exchange(t, here, far)
	if s := far.text("f"); !strings.HasPrefix(s, poem) || strings.Count(s, "\n") != 12 {
		t.Errorf("appends of both sides: %q", s)
	}
	eventually(t, "seen in the mount", func() bool { return here.read("f") == here.text("f") })
}

// TestRemoteWaitsForWriter: a program that writes at offsets of its own does not
// find other people's text under them.
func TestRemoteWaitsForWriter(t *testing.T) {
	here, far := shared(t)
	f, err := os.OpenFile(here.path("f"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("alpha\nbeta\ngamma\n")
	here.arrives(far, prepend("far\n"))
	time.Sleep(50 * time.Millisecond)
	f.WriteString("delta\nEPSILON\n")
	f.Close()
	equal(t, "merged", here.text("f"), "far\nalpha\nbeta\ngamma\ndelta\nEPSILON\n")
}

func TestRemoteRemovalDuringEdit(t *testing.T) {
	here, far := shared(t)
	f, err := os.OpenFile(here.path("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("ALPHA"), 0)
	info, _ := far.f.Resolve("f")
	if err := far.f.Update(removeNode(info.Node)); err != nil {
		t.Fatal(err)
	}
	far.send(here)
	time.Sleep(50 * time.Millisecond)
	f.Close()
	eventually(t, "the edit brings the file back", func() bool { return strings.HasPrefix(here.text("f"), "ALPHA") })
	eventually(t, "it is seen", func() bool {
		b, err := os.ReadFile(here.path("f"))
		return err == nil && strings.HasPrefix(string(b), "ALPHA")
	})
}

// TestVim drives vim by its keys: no saving may need force.
func TestVim(t *testing.T) {
	if _, err := exec.LookPath("vim"); err != nil {
		t.Skip("no vim here")
	}
	for _, mode := range []string{"auto", "no", "yes"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			here, far := shared(t)
			c := here.command("vim", "-u", "NONE", "-i", "NONE", "-N", "--cmd", "set backupcopy="+mode+" writebackup shortmess=at", "f")
			c.Env = append(os.Environ(), "TERM=xterm")
			tty, err := pty.Start(c)
			if err != nil {
				t.Fatal(err)
			}
			defer tty.Close()
			screen := make(chan string, 1000)
			go func() {
				b := make([]byte, 4096)
				for {
					n, err := tty.Read(b)
					if err != nil {
						close(screen)
						return
					}
					screen <- string(b[:n])
				}
			}()
			said := ""
			keys := func(s string) { t.Helper(); io.WriteString(tty, s) }
			drain := func() string {
				for {
					select {
					case s := <-screen:
						said += s
					default:
						return said
					}
				}
			}
			eventually(t, "vim is up", func() bool { return strings.Contains(drain(), "epsilon") })
			keys("Golast\x1b") // an unsaved change
			eventually(t, "vim has a change", func() bool { return strings.Contains(drain(), "last") })
			time.Sleep(holdSave)
			for i := range 2 {
				here.arrives(far, prepend(fmt.Sprintf("far %d\n", i)))
				eventually(t, "remote text seen", func() bool { return strings.HasPrefix(here.read("f"), fmt.Sprintf("far %d\n", i)) })
				said = ""
				keys(fmt.Sprintf("Gosave %d\x1b:w\r", i))
				eventually(t, "saved", func() bool {
					if strings.Contains(drain(), "changed since") {
						t.Fatalf("vim asks: %q", said)
					}
					return strings.Contains(here.text("f"), fmt.Sprintf("save %d\n", i))
				})
			}
			want := "far 1\nfar 0\n" + poem + "last\nsave 0\nsave 1\n"
			equal(t, "merged", here.text("f"), want)
			keys(":q\r")
			done := make(chan error, 1)
			go func() { done <- c.Wait() }()
			select {
			case <-done:
			case <-time.After(3 * time.Second):
				t.Errorf("vim does not end: %q", drain())
				syscall.Kill(c.Process.Pid, syscall.SIGKILL)
			}
			eventually(t, "nothing is left: "+here.run("ls -A"), func() bool { return here.run("ls -A") == "f\n" })
			here.flush()
			exchange(t, here, far)
			equal(t, "far", far.text("f"), want)
			equal(t, "names", far.names(), "f")
		})
	}
}
