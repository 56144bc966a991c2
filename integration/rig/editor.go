package rig

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Editor is an editor with a file open, on a terminal. It is driven by keystrokes as
// a person types them; nothing is forced.
type Editor struct {
	t    testing.TB
	kind editor
	file string
	tty  *os.File
	cmd  *exec.Cmd

	mu     sync.Mutex
	screen *Screen
}

// editor says how one editor is used.
type editor struct {
	argv   []string // the file's path is added
	bottom string   // keys that go to where a new last line is typed
	ended  string   // keys that end that line
	line   string   // keys that open a new line under line %d
	typed  string   // keys that end typing
	save   string
	quit   string
	saved  string   // what the screen shows once it has saved, "" for nothing sure
	alarms []string // what it asks or warns when the file changed under it
}

var (
	vimAlarms = []string{"WARNING", "really want to write", "E13:", "E139:", "E166:", "E212:", "E514:", "W11:", "W12:", "W13:", "(y/n)", "Press ENTER", "Swap file"}
	editors   = map[string]editor{
		"vim auto": vim("auto"), "vim no": vim("no"), "vim yes": vim("yes"),
		"neovim": {argv: []string{"nvim", "--clean", "-c", "set shortmess+=I"},
			bottom: "Go", line: ":%d\ro", typed: "\x1b", save: ":w\r", quit: ":q\r", saved: "written", alarms: vimAlarms},
		"nano": {argv: []string{"nano", "--ignorercfiles"}, bottom: "\x1b/", line: "\x1bg%d\r\x05\r", save: "\x0f\r", quit: "\x18",
			saved: "Wrote ", alarms: []string{"modified", "Save anyway", "changed on disk", "overwrite", "(Y/N)", "Yes", "Error"}},
		"emacs": emacs(""), "emacs without backups": emacs(" make-backup-files nil"),
		"emacs without locks":     emacs(" create-lockfiles nil"),
		"emacs that reverts":      emacs(" auto-revert-verbose nil) (global-auto-revert-mode 1"),
		"vim without a swap file": vim("auto", "-n"),
	}
)

func emacs(settings string) editor {
	return editor{argv: []string{"emacs", "-nw", "-Q", "--eval", "(progn (setq inhibit-startup-screen t" + settings + "))"},
		bottom: "\x1b>", ended: "\r", line: "\x1bgg%d\r\x05\r", save: "\x18\x13", quit: "\x18\x03", saved: "Wrote ",
		alarms: []string{"changed on disk", "has changed since", "(yes or no)", "(y, n", "really edit", "is locked", "locked by", "auto save"}}
}

func vim(backupcopy string, options ...string) editor {
	return editor{argv: append([]string{"vim", "--clean", "-c", "set backupcopy=" + backupcopy + " shortmess+=I"}, options...),
		bottom: "Go", line: ":%d\ro", typed: "\x1b", save: ":w\r", quit: ":q\r", saved: "written", alarms: vimAlarms}
}

// Editors are the names of the editors that Edit knows.
func Editors() []string {
	return []string{"vim auto", "vim no", "vim yes", "neovim", "nano", "emacs", "emacs without backups"}
}

// Edit opens a file of the folder in an editor, and returns once the screen shows
// shown, a piece of the file's text.
func (d *Device) Edit(name, rel, shown string) *Editor {
	d.t.Helper()
	k, ok := editors[name]
	if !ok {
		d.t.Fatalf("no editor %q", name)
	}
	if _, err := exec.LookPath(k.argv[0]); err != nil {
		Skip(d.t, k.argv[0]+" is not installed")
	}
	e := &Editor{t: d.t, kind: k, file: rel, screen: NewScreen(40, 100)}
	e.cmd = d.Command(context.Background(), append(append([]string{}, k.argv...), rel)...)
	e.cmd.Dir = d.Point
	e.cmd.Env = append(e.cmd.Env, "TERM=vt100", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "HOME="+Scratch(d.t, "editor"))
	tty, err := pty.StartWithSize(e.cmd, &pty.Winsize{Rows: 40, Cols: 100})
	if err != nil {
		d.t.Fatal(err)
	}
	e.tty = tty
	ended := make(chan struct{})
	go func() { // ends when the editor has closed the terminal
		defer close(ended)
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			e.mu.Lock()
			_, _ = e.screen.Write(b[:n])
			e.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	d.t.Cleanup(func() {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
		tty.Close()
		<-ended
	})
	e.Shows(shown)
	return e
}

// Screen is what the editor shows now.
func (e *Editor) Screen() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.screen.String()
}

// Type sends keystrokes.
func (e *Editor) Type(keys string) {
	e.t.Helper()
	if _, err := io.WriteString(e.tty, keys); err != nil {
		e.t.Fatalf("%s: %v\n%s", e.kind.argv[0], err, e.Screen())
	}
}

// Shows waits until the screen shows a text.
func (e *Editor) Shows(text string) {
	e.t.Helper()
	UntilIn(e.t, Deadline()+20*time.Second, e.kind.argv[0]+" shows "+text, func() error {
		if s := e.Screen(); !strings.Contains(s, text) {
			return fmt.Errorf("the screen is:\n%s", s)
		}
		return nil
	})
}

// Append types a new last line into the buffer.
func (e *Editor) Append(line string) {
	e.t.Helper()
	e.Type(e.kind.bottom + line + e.kind.ended + e.kind.typed)
	e.Shows(line)
}

// InsertUnder types a new line under line n (from 1) of the buffer.
func (e *Editor) InsertUnder(n int, line string) {
	e.t.Helper()
	e.Type(fmt.Sprintf(e.kind.line, n) + line + e.kind.typed)
	e.Shows(line)
}

// Save saves, and fails the test if the editor asks or warns.
func (e *Editor) Save() {
	e.t.Helper()
	e.Type(e.kind.save)
	UntilIn(e.t, Deadline(), e.kind.argv[0]+" saves", func() error {
		s := e.Screen()
		for _, a := range e.kind.alarms {
			if strings.Contains(s, a) {
				e.t.Fatalf("%s asks or warns (%q):\n%s", e.kind.argv[0], a, s)
			}
		}
		if !strings.Contains(s, e.kind.saved) {
			return fmt.Errorf("the screen is:\n%s", s)
		}
		return nil
	})
}

// Kill ends the editor at once, as kill -9 does.
func (e *Editor) Kill() {
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
}

// Quit leaves the editor, and fails the test if it does not go.
func (e *Editor) Quit() {
	e.t.Helper()
	e.Type(e.kind.quit)
	done := make(chan error, 1)
	go func() { done <- e.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(Deadline()):
		e.t.Fatalf("%s does not quit:\n%s", e.kind.argv[0], e.Screen())
	}
}
