package guardian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// The test program plays every part: the guardian, a daemon with a mount, and the
// command that starts the daemon again.
func TestMain(m *testing.M) {
	switch os.Getenv("GUARDIAN_TEST_ROLE") {
	case "guardian":
		if err := Run(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case "daemon":
		daemon(os.Args[1], os.Args[2])
		return
	}
	os.Exit(m.Run())
}

func as(role string) []string { return []string{"GUARDIAN_TEST_ROLE=" + role} }

// node is a directory or file of a small filesystem that counts what the guardian does.
type node struct {
	fs.Inode
	poked func(tid uint32, what string)
}

func (n *node) Setattr(ctx context.Context, _ fs.FileHandle, _ *fuse.SetAttrIn, o *fuse.AttrOut) syscall.Errno {
	n.tell(ctx, "setattr")
	o.Mode = syscall.S_IFREG | 0o644
	return 0
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.tell(ctx, "open")
	return nil, 0, 0
}

func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, o *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.tell(ctx, "mknod "+name)
	return n.NewInode(ctx, &node{poked: n.poked}, fs.StableAttr{Mode: mode & syscall.S_IFMT}), 0
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	n.tell(ctx, "unlink "+name)
	return 0
}

func (n *node) Rename(ctx context.Context, name string, _ fs.InodeEmbedder, to string, _ uint32) syscall.Errno {
	n.tell(ctx, "rename "+name+" "+to)
	return 0
}

func (n *node) tell(ctx context.Context, what string) {
	if c, ok := fuse.FromContext(ctx); ok && n.poked != nil {
		n.poked(c.Pid, what)
	}
}

func serve(t interface{ Fatal(...any) }, point string, poked func(uint32, string)) *fuse.Server {
	hour := time.Hour
	root := &node{poked: poked}
	s, err := fs.Mount(point, root, &fs.Options{EntryTimeout: &hour, AttrTimeout: &hour,
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "sheaf-test", Name: "sheaf"},
		OnAdd: func(ctx context.Context) {
			root.AddChild("f", root.NewPersistentInode(ctx, &node{poked: poked}, fs.StableAttr{Mode: syscall.S_IFREG}), true)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type fatal struct{}

func (fatal) Fatal(a ...any) { fmt.Fprintln(os.Stderr, a...); os.Exit(1) }

// daemon mounts, starts a guardian and says so; "hang" as second word stops the beats.
func daemon(point, mode string) {
	os.Setenv("GUARDIAN_TEST_ROLE", "guardian")
	g, err := Start(Options{Silence: time.Second / 2 * 3,
		Alive:   func() bool { return mode != "hang" },
		Restart: []string{"/bin/sh", "-c", `echo $SHEAF_DEATHS >> "$0"; test $(wc -l < "$0") -ge 2`, point + ".restarted"}})
	if err != nil {
		fatal{}.Fatal(err)
	}
	m := g.Mount(point)
	s := serve(fatal{}, point, nil)
	fmt.Println(g.PID())
	if mode == "close" {
		m.Stop()
		if err := s.Unmount(); err != nil {
			fatal{}.Fatal(err)
		}
		m.Close()
		g.Close()
		return
	}
	io.Copy(io.Discard, os.Stdin)
}

func needFUSE(t *testing.T) {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("no FUSE here:", err)
	} else {
		f.Close()
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestRescue(t *testing.T) {
	needFUSE(t)
	for _, mode := range []string{"kill", "hang", "close"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			point := filepath.Join(t.TempDir(), "m n")
			if err := os.Mkdir(point, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = mountinfo.Detach(point) })
			cmd := exec.Command(os.Args[0], point, mode)
			cmd.Env = append(os.Environ(), as("daemon")...)
			cmd.Stderr = os.Stderr
			stdin, _ := cmd.StdinPipe()
			defer stdin.Close()
			out, _ := cmd.StdoutPipe()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var guardian int
			if _, err := fmt.Fscan(out, &guardian); err != nil {
				t.Fatal(err)
			}
			if mode == "close" {
				if err := cmd.Wait(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "guardian leaves", func() bool { return !alive(guardian) })
				if _, err := os.Stat(point + ".restarted"); err == nil {
					t.Fatal("an orderly end restarted the daemon")
				}
				return
			}
			if !mounted(point) {
				t.Fatal("nothing is mounted")
			}
			if mode == "kill" {
				cmd.Process.Kill()
			}
			cmd.Wait()
			eventually(t, "mount detached", func() bool { return !mounted(point) })
			eventually(t, "daemon started again, with the count of deaths", func() bool {
				b, _ := os.ReadFile(point + ".restarted")
				return string(b) == "1\n2\n" // the first start failed
			})
			eventually(t, "guardian leaves", func() bool { return !alive(guardian) })
		})
	}
}

func TestPokes(t *testing.T) {
	needFUSE(t)
	for k, v := range map[string]string{"GUARDIAN_TEST_ROLE": "guardian"} {
		t.Setenv(k, v)
	}
	g, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	point := t.TempDir()
	m := g.Mount(point)
	heard := make(chan string, 100)
	s := serve(t, point, func(tid uint32, what string) {
		if m.Is(tid) {
			heard <- what
		}
	})
	defer s.Unmount()
	defer m.Stop()
	poke := func(p Poke) error {
		done := make(chan error, 1)
		p.Done = func(err error) { done <- err }
		m.Poke(p)
		return <-done
	}
	check := func(want ...string) {
		t.Helper()
		for _, w := range want {
			select {
			case got := <-heard:
				if got != w {
					t.Fatalf("handler heard %q, want %q", got, w)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("handler did not hear %q", w)
			}
		}
	}
	for _, step := range []struct {
		p    Poke
		want []string
		err  error
	}{
		{p: Poke{Op: Touch, Path: "f"}, want: []string{"setattr", "open"}},
		{p: Poke{Op: Touch, Path: "f", NoOpen: true}, want: []string{"setattr"}},
		{p: Poke{Op: Create, Path: "new"}, want: []string{"mknod new", "setattr", "open"}},
		{p: Poke{Op: Rename, Path: "new", To: "newer"}, want: []string{"rename new newer"}},
		{p: Poke{Op: Remove, Path: "newer"}, want: []string{"unlink newer"}},
		{p: Poke{Op: Touch, Path: "../etc"}, err: syscall.EXDEV},
		{p: Poke{Op: Touch, Path: "/etc/passwd"}, err: syscall.EINVAL},
		{p: Poke{Op: Touch, Path: "."}, err: syscall.EINVAL},
		{p: Poke{Op: Touch, Path: "no/file"}, err: syscall.ENOENT},
	} {
		if err := poke(step.p); !errors.Is(err, step.err) {
			t.Fatalf("%+v: %v, want %v", step.p, err, step.err)
		}
		check(step.want...)
	}

	// A guardian that dies is replaced by one that the handler knows, and that makes the pokes
	// that were asked for meanwhile.
	for round := range 3 {
		old := g.PID()
		_ = syscall.Kill(old, syscall.SIGKILL)
		for i := range 3 {
			name := fmt.Sprint("again", round, i)
			if err := poke(Poke{Op: Create, Path: name, NoOpen: true}); err != nil {
				t.Fatalf("a poke while there is no guardian: %v", err)
			}
			check("mknod "+name, "setattr")
		}
		if now := g.PID(); now == old {
			t.Fatal("the guardian was not killed")
		}
	}

	// Where nothing is mounted, nothing is done.
	m.Stop()
	if err := s.Unmount(); err != nil {
		t.Fatal(err)
	}
	if err := poke(Poke{Op: Touch, Path: "f"}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	m2 := g.Mount(point)
	m = m2
	if err := poke(Poke{Op: Create, Path: "stray"}); !errors.Is(err, syscall.ENOTCONN) {
		t.Fatal("a poke beside a mount:", err)
	}
	if e, _ := os.ReadDir(point); len(e) != 0 {
		t.Fatal("a poke changed the directory under the mount")
	}
	m2.Close()
}

// queueOnly is a mount whose pokes are taken by hand.
func queueOnly() *Mount {
	return &Mount{wake: make(chan struct{}, 1), touches: map[string]*waiting{},
		late: map[string]*waiting{}, recent: map[string][]time.Time{}}
}

func (m *Mount) drain(now time.Time) (said []string) {
	for {
		w, _ := m.nextLocked(now)
		if w == nil {
			return said
		}
		said = append(said, fmt.Sprint(w.Op, w.Path, w.Mtime.UnixNano()))
		w.finish(nil)
	}
}

func TestQueue(t *testing.T) {
	touch := func(p string, n int64) Poke { return Poke{Op: Touch, Path: p, Mtime: time.Unix(0, n)} }
	now := time.Now()
	m := queueOnly()
	finished := 0
	for i := range int64(10) { // merged while they wait
		p := touch("a", i)
		p.Done = func(error) { finished++ }
		m.Poke(p)
	}
	want := func(at time.Duration, pokes ...string) {
		t.Helper()
		if got := m.drain(now.Add(at)); strings.Join(got, " ") != strings.Join(pokes, " ") {
			t.Fatalf("after %v: %q, want %q", at, got, pokes)
		}
	}
	want(0, "1a9")
	if finished != 10 {
		t.Fatal("callers told:", finished)
	}
	// At most two in any second, and the last one is never lost.
	m.Poke(touch("a", 20))
	want(0, "1a20")
	m.Poke(touch("a", 30))
	m.Poke(touch("a", 31))
	m.Poke(touch("b/c", 1))
	want(500*time.Millisecond, "1b/c1")
	want(time.Second, "1a31")

	// Order with what happens to names: late touches come first, and go with a removal.
	for i := range int64(2) {
		m.Poke(touch("d/e", i))
		m.drain(time.Now())
	}
	m.Poke(touch("d/e", 5))
	m.Poke(Poke{Op: Rename, Path: "d", To: "x", Mtime: time.Unix(0, 0)})
	m.Poke(touch("d/e", 6)) // another file that came there since
	want(time.Second, "1d/e5", "4d0")
	want(3*time.Second, "1d/e6")
	m.Poke(touch("g", 0))
	m.drain(time.Now())
	m.Poke(touch("g", 0))
	m.drain(time.Now())
	m.Poke(touch("g", 7))
	m.Poke(Poke{Op: Remove, Path: "g", Mtime: time.Unix(0, 0)})
	want(5*time.Second, "3g0")

	// A flood is refused, not kept.
	var full error
	for i := range maxQueue + 1 {
		m.Poke(Poke{Op: Create, Path: fmt.Sprint(i), Done: func(err error) { full = err }})
	}
	if !errors.Is(full, ErrFull) {
		t.Fatal(full)
	}
}

func TestDelay(t *testing.T) {
	for deaths, want := range []time.Duration{0, 100e6, 200e6, 400e6, 800e6, 1600e6, 3e9, 3e9} {
		if got := delay(deaths); got != want {
			t.Errorf("delay(%d) = %v, want %v", deaths, got, want)
		}
	}
	if delay(1<<40) != maxDelay {
		t.Error("no upper bound")
	}
}

func mounted(point string) bool {
	_, ok := mountinfo.At(point)
	return ok
}
