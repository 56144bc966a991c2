package document

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of reading one document.
const (
	MaxText = 2 << 20          // bytes of its text; what is behind is left out
	MaxTime = 20 * time.Second // for all of it
)

// Reader reads documents, each in a child process of its own. It is safe for
// concurrent use.
type Reader struct {
	// Command makes the child process, which calls Run with the last argument.
	// nil: this program, with the argument `document`.
	Command func(kind string) *exec.Cmd

	maxTime time.Duration // 0: MaxTime
}

// Text returns the text of a document. ok is false if it is of no known kind.
// The error is for people to read.
func (r Reader) Text(ctx context.Context, name string, f *os.File) (text string, ok bool, err error) {
	kind := kindOf(name, f)
	if kind == "" {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.maxTime, MaxTime))
	defer cancel()
	command := r.Command
	if command == nil {
		command = ownCommand
	}
	cmd := command(kind)
	out := &limited{max: MaxText}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, out, nil
	if err := cmd.Start(); err != nil {
		return "", true, fmt.Errorf("cannot be read: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	stop()
	switch {
	case out.over:
		err = nil // it was ended for that
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", true, errors.New("takes too long to read")
	case ctx.Err() != nil:
		return "", true, ctx.Err()
	}
	if err != nil {
		return "", true, fmt.Errorf("not a readable %s file", kind)
	}
	if text = clean(out.b); text == "" {
		return "", true, errors.New("there is no text in it")
	}
	return text, true, nil
}

func ownCommand(kind string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.Command(self, "document", kind)
	cmd.Env = []string{"GOTRACEBACK=none"}
	return cmd
}

// limited keeps the first of what is written to it, and then ends the writer.
type limited struct {
	b    []byte
	max  int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.max-len(l.b))
	l.b = append(l.b, p[:n]...)
	if n < len(p) {
		l.over = true
		return n, io.ErrShortWrite
	}
	return n, nil
}

// clean makes bytes a text: whole characters, no NUL, plain line ends.
func clean(b []byte) string {
	for len(b) > 0 && !utf8.Valid(b[max(0, len(b)-utf8.UTFMax):]) {
		if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	s := strings.ToValidUTF8(string(b), "\uFFFD")
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "").Replace(s)
	if s = strings.TrimSpace(s); s != "" {
		s += "\n"
	}
	return s
}

// kindOf tells the kind of a document by its name and its first bytes, empty
// where they do not agree on a known one.
func kindOf(name string, f io.ReaderAt) string {
	head := make([]byte, 5)
	if _, err := f.ReadAt(head, 0); err != nil {
		return ""
	}
	kind := strings.TrimPrefix(strings.ToLower(path.Ext(name)), ".")
	switch kind {
	case "pdf":
		if string(head) == "%PDF-" {
			return kind
		}
	case "docx", "xlsx", "pptx", "odt", "ods", "odp":
		if string(head[:4]) == "PK\x03\x04" {
			return kind
		}
	}
	return ""
}
