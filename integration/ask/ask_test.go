// Package ask holds tests of conversations in a real mount: what programs save
// there is answered there.
package ask

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/infer"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

type device struct {
	t      testing.TB
	f      *crdt.Folder
	point  string
	engine *enginetest.Engine
	s      *infer.Service
}

// mounted is a folder in a mount, whose questions a scripted engine answers.
func mounted(t *testing.T) *device {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no /dev/fuse here")
	}
	h, err := crdt.Init(filepath.Join(t.TempDir(), "home"), crdt.Options{DeviceName: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	f, err := h.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, f: f, point: t.TempDir(), engine: &enginetest.Engine{}}
	m, err := fs.Mount(f, h, d.point, fs.Options{})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNoFUSE) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Unmount(t.Context()); err != nil {
			syscall.Unmount(d.point, syscall.MNT_DETACH)
		}
	})
	d.engine.Answer = func(engine.Request) enginetest.Script {
		return enginetest.Script{Pieces: []string{"The ", "answer."}, Gap: 60 * time.Millisecond}
	}
	d.s = infer.New(h, d.engine, infer.Options{Saved: fs.Saved, Blind: fs.Blind})
	if err := d.s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.s.Close() })
	return d
}

// sh runs a shell's command in the mount.
func (d *device) sh(command string) {
	d.t.Helper()
	cmd := exec.Command("sh", "-ec", command)
	cmd.Dir = d.point
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func (d *device) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(d.point, name))
	return string(b)
}

func (d *device) until(name string, cond func(string) bool) {
	d.t.Helper()
	for end := time.Now().Add(15 * time.Second); !cond(d.read(name)); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("%s: %q", name, d.read(name))
		}
	}
}

func (d *device) attr(name string) string {
	b := make([]byte, 100)
	n, err := syscall.Getxattr(filepath.Join(d.point, name), infer.StateAttr, b)
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

const answer = "\n\n## Model (scripted on anna)\n\nThe answer.\n\n## You\n"

func TestShell(t *testing.T) {
	d := mounted(t)
	began := time.Now()
	d.sh(`echo "What is it?" >q.ask`)
	d.until("q.ask", func(s string) bool { return strings.Contains(s, "## Model (scripted on anna: ") })
	if time.Since(began) < time.Second {
		t.Errorf("asked after %v", time.Since(began))
	}
	d.until("q.ask", func(s string) bool { return s == "What is it?"+answer })
	if s := d.attr("q.ask"); s != "done" {
		t.Errorf("state %q", s)
	}
	d.sh(`echo "And why?" >>q.ask`)
	r, err := d.s.Wait(t.Context(), d.f, "q.ask")
	if err != nil || r.State != infer.Done || r.Answer != "The answer." {
		t.Errorf("%+v, %v", r, err)
	}
	d.until("q.ask", func(s string) bool { return s == "What is it?"+answer+"And why?"+answer })
	if n := len(d.engine.Requests()); n != 2 {
		t.Errorf("%d questions", n)
	}
}

// A shell that overwrites a question which it wrote before asks what it says now, also
// if that is the same: it has not read the answer.
func TestOverwrite(t *testing.T) {
	d := mounted(t)
	shell := exec.Command("sh")
	shell.Dir = d.point
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	for i, q := range []string{"slowly", "ok", "slowly", "slowly"} {
		if _, err := io.WriteString(in, "echo "+q+" >q.ask\n"); err != nil {
			t.Fatal(err)
		}
		d.until("q.ask", func(s string) bool { return len(d.engine.Requests()) == i+1 && s == q+answer })
	}
	if err := errors.Join(in.Close(), shell.Wait()); err != nil {
		t.Error(err)
	}
}

// How programs save: a temporary file renamed over, in place, through a backup.
func TestSaves(t *testing.T) {
	d := mounted(t)
	d.sh(`echo "Q" >.tmp1; mv .tmp1 new.ask`)
	d.until("new.ask", func(s string) bool { return s == "Q"+answer })
	d.sh(`cp new.ask .tmp2; echo "Q2" >>.tmp2; mv .tmp2 new.ask`)
	d.until("new.ask", func(s string) bool { return s == "Q"+answer+"Q2"+answer })
	d.sh(`printf "half a line" >half.ask; cp half.ask half.ask~; echo "Q" >moved.txt; sleep 0.3; mv moved.txt moved.ask`)
	time.Sleep(1500 * time.Millisecond)
	for _, name := range []string{"half.ask", "half.ask~", "moved.ask"} {
		if s := d.read(name); strings.Contains(s, "Model") {
			t.Errorf("%s: %q", name, s)
		}
	}
	d.sh(`sed -i s/line/line,/ half.ask; echo >>half.ask`)
	d.until("half.ask", func(s string) bool { return s == "half a line,"+answer })
	for i := range 40 {
		d.sh(`echo Q >` + string(rune('A'+i%26)) + string(rune('a'+i/26)) + `.ask`)
	}
	time.Sleep(1500 * time.Millisecond)
	if n := len(d.engine.Requests()); n != 3 {
		t.Errorf("%d questions", n)
	}
}
