package conversation

import (
	"strings"
	"unicode/utf8"
)

// Writer makes the pieces of a model's answer fit to stand in a conversation:
// whole characters of text only, no line that would be a turn's heading or a
// note of sheaf (they get a backslash before them, which Markdown hides), no
// space around the answer, and no fence left open at its end. The zero Writer
// begins an answer.
type Writer struct {
	CRLF bool // the file's lines end so

	fence fence
	bytes string // the first bytes of a character
	held  string // the start of a line, until it is clear what it is
	line  []byte // what was let through of the current line
	space string // space at the end, written when something follows it
	begun bool
}

// Resume goes on with an answer that has some words already.
func Resume(answer string, crlf bool) Writer {
	w := Writer{CRLF: crlf, begun: answer != ""}
	last := strings.LastIndexByte(answer, '\n') + 1
	for line := range strings.Lines(answer[:last]) {
		w.fence.line(line)
	}
	w.line = []byte(answer[last:])
	return w
}

// Add takes the next piece and returns what can be written now.
func (w *Writer) Add(piece string) string {
	var out strings.Builder
	piece = w.bytes + piece
	w.bytes = ""
	for i, r := range piece {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError && !strings.HasPrefix(piece[i:], "\uFFFD") {
			if !utf8.FullRuneInString(piece[i:]) {
				w.bytes = piece[i:]
				break
			}
			out.WriteString(w.rune("\uFFFD"))
			continue
		}
		switch r {
		case 0, '\r':
		default:
			out.WriteString(w.rune(piece[i : i+size]))
		}
	}
	return w.ends(out.String())
}

// InCode tells whether a code fence is open: Close will close it.
func (w *Writer) InCode() bool {
	f := w.fence
	f.line(string(w.line))
	return f.open()
}

// Close ends the answer and returns what is left to be written.
func (w *Writer) Close() string {
	out := w.letGo(escaped(w.held + "\n"))
	w.fence.line(string(w.line))
	w.space = ""
	if w.fence.open() {
		out += "\n" + w.fence.closing()
		w.fence = fence{}
	}
	return w.ends(out)
}

func (w *Writer) ends(s string) string {
	if w.CRLF {
		return strings.ReplaceAll(s, "\n", "\r\n")
	}
	return s
}

// rune takes one character.
func (w *Writer) rune(r string) string {
	switch {
	case r == "\n":
		out := ""
		if w.held != "" {
			out = w.letGo(escaped(w.held + r))
		}
		if w.begun {
			w.fence.line(string(w.line))
			w.space += r
		}
		w.line = w.line[:0]
		return out
	case w.fence.open() || len(w.line) > 0:
		return w.write(r)
	case !w.begun && w.held == "" && (r == " " || r == "\t"):
		return "" // what is left out indents nothing
	}
	w.held += r
	if decided, escape := risky(w.held); decided {
		return w.letGo(escape)
	}
	return ""
}

// letGo writes what was held.
func (w *Writer) letGo(escape bool) string {
	s := w.held
	w.held = ""
	if escape {
		text := strings.TrimLeft(s, " ")
		s = s[:len(s)-len(text)] + `\` + text
	}
	out := ""
	for _, r := range s {
		out += w.write(string(r))
	}
	return out
}

// write writes a character, with the space that was before it.
func (w *Writer) write(r string) string {
	w.line = append(w.line, r...)
	if r == " " || r == "\t" {
		if w.begun {
			w.space += r
		}
		return ""
	}
	out := w.space + r
	w.space, w.begun = "", true
	return out
}

// escaped tells whether the line is one that must not stand in an answer.
func escaped(line string) bool {
	_, escape := risky(line)
	return escape
}

// risky tells whether the start of a line, or a whole one with its end, is
// decided, and whether it needs a backslash.
func risky(s string) (decided, escape bool) {
	for range 3 {
		s = strings.TrimPrefix(s, " ")
	}
	if s == "" {
		return false, false
	}
	mark := strings.TrimSpace(notePrefix)
	if s[0] == mark[0] {
		if strings.HasPrefix(s, mark) {
			return true, true
		}
		return !strings.HasPrefix(mark, s), false
	}
	rest, ok := strings.CutPrefix(s, "##")
	if !ok {
		return s != "#", false
	}
	word := strings.TrimLeft(rest, " \t")
	if word == "" {
		return false, false
	}
	if len(word) == len(rest) {
		return true, false
	}
	for _, w := range []string{"you", "model"} {
		if len(word) < len(w) && strings.EqualFold(word, w[:len(word)]) {
			return false, false
		}
		if len(word) < len(w) || !strings.EqualFold(word[:len(w)], w) {
			continue
		}
		switch rest := strings.TrimLeft(word[len(w):], " \t"); {
		case rest == "":
			return false, false
		case strings.ContainsRune("\n\r(#:", rune(rest[0])):
			return true, true
		}
		return true, false
	}
	return true, false
}
