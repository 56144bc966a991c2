package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// sizesAim is how much more an edit of a file of 10 MB may cost than one of 10 KB, in time and in
// memory, the write of the file itself not counted.
const sizesAim = 3

// sized is a device with one text, which is edited again and again.
type sized struct {
	a     *rig.Device
	name  string
	lines []string
	size  int
	edits int
}

func newSized(b *testing.B, name string, size int) *sized {
	s := &sized{a: rig.NewDevice(b, name, nil), name: name, lines: strings.SplitAfter(prose(1, size), "\n"), size: size}
	s.a.Init()
	if err := save(s.path(), s.text()); err != nil {
		b.Fatal(err)
	}
	rig.Until(b, "the file is in the folder", func() error {
		if r := s.a.Try("log", s.path()); r.Code != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	return s
}

func (s *sized) path() string { return s.a.Path("f.txt") }

// line changes one line, always as long as before, and tells where it is.
func (s *sized) line() (offset int, line string) {
	s.edits++
	at := s.edits * 7919 % (len(s.lines) - 1)
	for _, l := range s.lines[:at] {
		offset += len(l)
	}
	mark := fmt.Sprintf("%06d", s.edits)
	s.lines[at] = mark + s.lines[at][min(len(mark), len(s.lines[at])-1):]
	return offset, s.lines[at]
}

func (s *sized) text() []byte {
	s.line()
	return []byte(strings.Join(s.lines, ""))
}

// edit makes one edit and gives the time of what is not the write of the file itself.
type edit func(s *sized) (time.Duration, error)

// addTime adds up what calls take.
func addTime(took *time.Duration, call func() error) error {
	start := time.Now()
	err := call()
	*took += time.Since(start)
	return err
}

func openTimed(took *time.Duration, path string, flags int) (fd int, err error) {
	err = addTime(took, func() error {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
		return err
	})
	return fd, err
}

func closeTimed(took *time.Duration, fd int) error {
	return addTime(took, func() error { return unix.Close(fd) })
}

func rewritten(s *sized, path string) (took time.Duration, err error) {
	text := s.text()
	fd, err := openTimed(&took, path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return 0, err
	}
	for len(text) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, text[:min(len(text), 1<<20)])
		text = text[n:]
	}
	if cerr := closeTimed(&took, fd); err == nil {
		err = cerr
	}
	return took, err
}

var sizedEdits = []struct {
	what string
	edit edit
	file bool // the file itself is written
}{
	{"rewritten", func(s *sized) (time.Duration, error) { return rewritten(s, s.path()) }, true},
	{"written aside and renamed over", func(s *sized) (time.Duration, error) {
		took, err := rewritten(s, s.a.Path("f.txt.new"))
		if err == nil {
			err = addTime(&took, func() error { return os.Rename(s.a.Path("f.txt.new"), s.path()) })
		}
		return took, err
	}, true},
	{"six bytes in place", func(s *sized) (took time.Duration, err error) {
		at, line := s.line()
		fd, err := openTimed(&took, s.path(), unix.O_RDWR)
		if err != nil {
			return 0, err
		}
		err = addTime(&took, func() error {
			_, err := unix.Pwrite(fd, []byte(line[:min(6, len(line)-1)]), int64(at))
			return err
		})
		if cerr := closeTimed(&took, fd); err == nil {
			err = cerr
		}
		return took, err
	}, false},
	{"a line appended", func(s *sized) (took time.Duration, err error) {
		s.edits++
		line := fmt.Sprintf("line %d was appended\n", s.edits)
		s.lines = slices.Insert(s.lines, len(s.lines)-1, line)
		fd, err := openTimed(&took, s.path(), unix.O_WRONLY|unix.O_APPEND)
		if err != nil {
			return 0, err
		}
		err = addTime(&took, func() error {
			_, err := unix.Write(fd, []byte(line))
			return err
		})
		if cerr := closeTimed(&took, fd); err == nil {
			err = cerr
		}
		return took, err
	}, false},
}

// benchSizes edits a text of 10 KB and one of 10 MB by turns, each on a device of its own.
func benchSizes(b *testing.B, t *table) {
	const n = 40
	files := []*sized{newSized(b, "small", 10<<10), newSized(b, "large", 10<<20)}
	var memory [2]int64
	for _, e := range sizedEdits {
		var took, busy [2]time.Duration
		var wrote [2]int64
		var all [2][]time.Duration
		for range n {
			for i, s := range files {
				pid := s.a.PID()
				w, u := written(b, pid), busyOf(b, pid)
				d, err := e.edit(s)
				if err != nil {
					b.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond)
				all[i] = append(all[i], d)
				wrote[i] += written(b, pid) - w
				busy[i] += busyOf(b, pid) - u
			}
		}
		for i := range files {
			slices.Sort(all[i])
			took[i] = all[i][n/2]
		}
		ratio := float64(took[1]) / float64(took[0])
		t.aimed("one edit of 10 KB / of 10 MB, "+e.what,
			fmt.Sprintf("%s / %s, %.1fx", show(took[0]), show(took[1]), ratio),
			fmt.Sprintf("the daemon wrote %s / %s, and took %s / %s of processor time", bytesOf(wrote[0]/n), bytesOf(wrote[1]/n), show(busy[0]/n), show(busy[1]/n)),
			fmt.Sprintf("<= %dx", sizesAim), ratio <= sizesAim)
	}
	for i, s := range files {
		memory[i] = status(b, s.a.PID(), "VmHWM")
		if got, err := s.a.Read("f.txt"); err != nil || got != strings.Join(s.lines, "") {
			b.Fatalf("%s: the file is not what was written: %v", s.name, err)
		}
	}
	ratio := float64(memory[1]) / float64(memory[0])
	t.aimed("resident at most meanwhile", fmt.Sprintf("%d MB / %d MB, %.1fx", memory[0]>>20, memory[1]>>20, ratio), "", fmt.Sprintf("<= %dx", sizesAim), ratio <= sizesAim)
	for i, s := range files {
		memory[i] = settled(b, s.a.PID())
	}
	ratio = float64(memory[1]) / float64(memory[0])
	t.aimed("resident at rest after it", fmt.Sprintf("%d MB / %d MB, %.1fx", memory[0]>>20, memory[1]>>20, ratio), "", fmt.Sprintf("<= %dx", sizesAim), ratio <= sizesAim)
}

func bytesOf(n int64) string {
	if n < 100<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}

// written is how many bytes a process has handed to write calls, answers to the kernel included.
func written(b *testing.B, pid int) int64 {
	b.Helper()
	io, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "io"))
	if err != nil {
		b.Fatal(err)
	}
	for l := range strings.Lines(string(io)) {
		if v, ok := strings.CutPrefix(l, "wchar: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	b.Fatal("no wchar")
	return 0
}

// busyOf is what a process has used of the processors, to the nanosecond.
func busyOf(b *testing.B, pid int) (busy time.Duration) {
	b.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		s, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended
		}
		ns, _ := strconv.ParseInt(strings.Fields(string(s))[0], 10, 64)
		busy += time.Duration(ns)
	}
	return busy
}
