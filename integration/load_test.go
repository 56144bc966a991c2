package integration

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// load is a program that writes into a folder as fast as it can, and says on stdout what
// a call returned success for: "append LINE", "file NAME", "held NAME LINE". Each line on
// its stdin is how many writes more it may make, so that its work has a bound. Its
// arguments are the folder, a tag for its names, and whether it syncs before it says so.
// What fails is not repeated, since it may have been done.
//
// It uses plain system calls: a folder whose daemon was killed must fail it, not hang it.
// While nothing is mounted it waits, as far as it can tell: as root it could write into
// the bare directory, again and again.
func load(args []string) int {
	dir, tag, sync := args[0], args[1], args[2] == "sync"
	grants := make(chan int)
	go func() {
		defer close(grants)
		for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
			n, _ := strconv.Atoi(sc.Text())
			grants <- n
		}
	}()
	left := 0
	var (
		held     = -1
		heldName string
		heldOff  int
	)
	say := func(format string, a ...any) { fmt.Printf(format+"\n", a...) }
	put := func(name string, flags int, content string) bool {
		fd, err := unix.Open(filepath.Join(dir, name), flags|unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return false
		}
		n, err := unix.Write(fd, []byte(content))
		ok := err == nil && n == len(content)
		if sync {
			ok = unix.Fsync(fd) == nil && ok
		}
		return unix.Close(fd) == nil && ok
	}
	for i := 0; ; i++ {
		for left == 0 {
			n, ok := <-grants
			if !ok {
				return 0
			}
			left = n
		}
		select {
		case n, ok := <-grants:
			if !ok {
				return 0
			}
			left += n
		default:
		}
		left--
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) != nil || st.Type != unix.FUSE_SUPER_MAGIC {
			if held >= 0 {
				_ = unix.Close(held)
				held = -1
			}
			left++
			time.Sleep(2 * time.Millisecond)
			continue
		}
		switch {
		case i%3 == 0:
			line := fmt.Sprintf("%s line %d", tag, i)
			if put("log.txt", unix.O_APPEND, line+"\n") {
				say("append %s", line)
			}
		case i%3 == 1:
			name := fmt.Sprintf("%s-%d.txt", tag, i)
			if put(name, unix.O_TRUNC, "all of "+name+"\n") {
				say("file %s", name)
			}
		default: // a file held open for a long time
			if held < 0 {
				heldName = fmt.Sprintf("%s-held-%d.txt", tag, i)
				fd, err := unix.Open(filepath.Join(dir, heldName), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
				if err != nil {
					continue
				}
				held, heldOff = fd, 0
			}
			line := fmt.Sprintf("%s held %d\n", tag, i)
			n, err := unix.Pwrite(held, []byte(line), int64(heldOff))
			if err == nil && sync {
				err = unix.Fsync(held)
			}
			if err != nil || n != len(line) {
				_ = unix.Close(held)
				held = -1
				continue
			}
			heldOff += n
			say("held %s %s", heldName, strings.TrimSpace(line))
		}
	}
}

// writer is a running load with the book of what it was told is written.
type writer struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}
	mu   sync.Mutex
	told []string
}

func startLoad(t *testing.T, d *rig.Device, tag string, synced bool) *writer {
	t.Helper()
	mode := "nosync"
	if synced {
		mode = "sync"
	}
	w := &writer{t: t, cmd: rig.StartRole("load", d.Point, tag, mode), done: make(chan struct{})}
	in, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.in = in
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.done)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			w.mu.Lock()
			w.told = append(w.told, sc.Text())
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); w.stop() })
	return w
}

// count is how much was written until now.
func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.told)
}

// more lets it write somewhat more than n, and waits until n more were written.
func (w *writer) more(n int) {
	w.t.Helper()
	from := w.count()
	if _, err := fmt.Fprintln(w.in, n+20); err != nil {
		w.t.Fatal(err)
	}
	rig.Until(w.t, "the load goes on", func() error {
		if got := w.count() - from; got < n {
			return fmt.Errorf("%d of %d written", got, n)
		}
		return nil
	})
}

// snapshot is what was told as written until now.
func (w *writer) snapshot() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.told...)
}

func (w *writer) stop() []string {
	w.in.Close()
	<-w.done
	_ = w.cmd.Wait()
	return w.snapshot()
}

// readAll is the content of a file, or of every file below a directory.
func readAll(path string) string {
	var all strings.Builder
	_ = filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			b, _ := os.ReadFile(p)
			all.Write(b)
			all.WriteByte('\n')
		}
		return nil
	})
	return all.String()
}

// kept checks that everything told as written is in the folder, or set aside in a file
// that status names; nothing may be there twice.
func kept(d *rig.Device, told []string) error {
	s, err := d.Status()
	if err != nil {
		return err
	}
	aside := ""
	for _, n := range s.Notes() {
		aside += n.Text + "\n"
		for w := range strings.FieldsSeq(n.Text + "\n" + n.Path) {
			if w = strings.Trim(w, `"',.;:()`); filepath.IsAbs(w) && !strings.HasPrefix(w, d.Point+"/") && w != d.Point {
				aside += readAll(w)
			}
		}
	}
	all, err := d.TryShell("", `cat log.txt 2>/dev/null || true`)
	if err != nil {
		return err
	}
	logged := map[string]int{}
	for l := range strings.Lines(all) {
		logged[strings.TrimSpace(l)]++
	}
	files, err := d.TryShell("", `find . -name '*-*.txt' -exec grep -H '' {} +`)
	if err != nil {
		return err
	}
	lines := map[string]bool{} // "./name:line"
	for l := range strings.Lines(files) {
		lines[strings.TrimSpace(l)] = true
	}
	var lost []string
	for _, l := range told {
		what, rest, _ := strings.Cut(l, " ")
		ok := false
		switch what {
		case "append":
			if logged[rest] > 1 {
				return fmt.Errorf("doubled: %d times %q", logged[rest], rest)
			}
			ok = logged[rest] == 1 || strings.Contains(aside, rest+"\n")
		case "file":
			ok = lines["./"+rest+":all of "+rest] || strings.Contains(aside, "all of "+rest+"\n")
		case "held":
			name, line, _ := strings.Cut(rest, " ")
			ok = lines["./"+name+":"+line] || strings.Contains(aside, line+"\n")
		}
		if !ok {
			lost = append(lost, l)
		}
	}
	if lost != nil {
		n := len(lost)
		return fmt.Errorf("lost: %d of %d: %q; set aside: %.500q", n, len(told), lost[:min(n, 10)], aside)
	}
	return nil
}
