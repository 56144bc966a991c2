// Package output turns the bytes that a model makes into pieces of text that a
// text file can take: whole characters, no NUL, nothing from a stop text on.
package output

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrStop is returned by Write once a stop text was met: the answer is complete.
var ErrStop = errors.New("stop text met")

// Writer passes text on as soon as it is certain. It is used by one goroutine.
type Writer struct {
	emit func(string) error
	stop []string
	held []byte // an unfinished character, or the possible start of a stop text
	done bool
}

// New returns a writer that calls emit with pieces that are never empty. Empty
// stop texts are ignored.
func New(stop []string, emit func(string) error) *Writer {
	w := &Writer{emit: emit}
	for _, s := range stop {
		if s != "" {
			w.stop = append(w.stop, s)
		}
	}
	return w
}

// Write takes bytes cut anywhere. It returns ErrStop after a stop text, or the
// error of emit.
func (w *Writer) Write(p []byte) error {
	if w.done {
		return ErrStop
	}
	w.held = append(w.held, p...)
	n := len(w.held) - unfinished(w.held)
	if at, ok := w.find(w.held[:n]); ok {
		w.done = true
		if err := w.pass(w.held[:at]); err != nil {
			return err
		}
		return ErrStop
	}
	n -= w.hold(w.held[:n])
	err := w.pass(w.held[:n])
	w.held = append(w.held[:0], w.held[n:]...)
	return err
}

// Flush passes on what was held back: the answer ends here. A character that
// never became whole is the replacement character.
func (w *Writer) Flush() error {
	if w.done {
		return nil
	}
	w.done = true
	return w.pass(w.held)
}

func (w *Writer) pass(b []byte) error {
	s := strings.ToValidUTF8(strings.ReplaceAll(string(b), "\x00", ""), string(utf8.RuneError))
	if s == "" {
		return nil
	}
	return w.emit(s)
}

// find returns where the first stop text starts.
func (w *Writer) find(b []byte) (int, bool) {
	first := -1
	for _, s := range w.stop {
		if i := strings.Index(string(b), s); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first, first >= 0
}

// hold returns how many bytes at the end of b might be the start of a stop text.
func (w *Writer) hold(b []byte) int {
	most := 0
	for _, s := range w.stop {
		for n := min(len(s)-1, len(b)); n > most; n-- {
			if strings.HasPrefix(s, string(b[len(b)-n:])) {
				most = n
				break
			}
		}
	}
	return most
}

// unfinished returns how many bytes at the end of b are a character's beginning.
func unfinished(b []byte) int {
	for i := 1; i <= min(utf8.UTFMax-1, len(b)); i++ {
		c := b[len(b)-i]
		if utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}
