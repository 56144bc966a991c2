package conversation

import (
	"strings"
)

// Role is who speaks in a turn.
type Role uint8

// The roles.
const (
	Person Role = iota
	Model
)

// Turn is one turn: its heading, if it has one, and what stands below.
type Turn struct {
	Role  Role
	Label Label
	Start int // of the heading; of the body where there is none
	Body  int // behind the heading's line
	End   int
}

// File is a conversation as it was parsed.
type File struct {
	Settings Settings
	Turns    []Turn

	text string
}

const bom = "\uFEFF"

// Parse reads a conversation. Text of any kind is one.
func Parse(text string) *File {
	f := &File{text: text}
	at := 0
	if strings.HasPrefix(text, bom) {
		at = len(bom)
	}
	if n := f.front(text[at:]); n > 0 {
		at += n
	}
	turn := Turn{Role: Person, Start: at, Body: at}
	var fence fence
	for start := at; start < len(text); {
		end := nextLine(text, start)
		line := text[start:end]
		if inside := fence.open(); !fence.line(line) && !inside {
			if role, label, ok := heading(line); ok {
				f.add(turn, start)
				turn = Turn{Role: role, Label: label, Start: start, Body: end}
			}
		}
		start = end
	}
	f.add(turn, len(text))
	return f
}

// add ends a turn. The one before the first heading counts if it says anything.
func (f *File) add(t Turn, end int) {
	t.End = end
	if t.Start == t.Body && strings.TrimSpace(f.text[t.Body:end]) == "" {
		return
	}
	f.Turns = append(f.Turns, t)
}

func nextLine(s string, start int) int {
	if n := strings.IndexByte(s[start:], '\n'); n >= 0 {
		return start + n + 1
	}
	return len(s)
}

// heading tells whether a line is a turn's heading.
func heading(line string) (Role, Label, bool) {
	s := strings.TrimRight(line, " \t\r\n")
	for range 3 {
		s = strings.TrimPrefix(s, " ")
	}
	s, ok := strings.CutPrefix(s, "##")
	if !ok || s == "" || s[0] != ' ' && s[0] != '\t' {
		return 0, Label{}, false
	}
	s = strings.TrimLeft(s, " \t")
	if closed := strings.TrimRight(s, "#"); closed != s && strings.HasSuffix(closed, " ") {
		s = strings.TrimRight(closed, " \t") // the closing sequence of an ATX heading
	}
	word, rest := s, ""
	if i := strings.IndexAny(s, " \t("); i >= 0 {
		word, rest = s[:i], strings.TrimLeft(s[i:], " \t")
	}
	role := Person
	switch {
	case strings.EqualFold(word, "model"):
		role = Model
	case !strings.EqualFold(word, "you"):
		return 0, Label{}, false
	}
	if rest == "" {
		return role, Label{}, true
	}
	if len(rest) < 2 || rest[0] != '(' || rest[len(rest)-1] != ')' {
		return 0, Label{}, false
	}
	return role, parseLabel(role, rest[1:len(rest)-1]), true
}

// Text is what a turn says: without its heading, space around it, and, of an
// answer, the notes below it. Line ends are single newlines.
func (f *File) Text(i int) string {
	t := f.Turns[i]
	s := f.text[t.Body:t.End]
	if t.Role == Model {
		s = f.text[t.Body:f.Answer(i)]
	}
	return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
}

// Says tells whether a turn has anything to say.
func (f *File) Says(i int) bool {
	t := f.Turns[i]
	return strings.TrimSpace(f.text[t.Body:t.End]) != ""
}

// Complete tells whether a turn ends in a newline: its writer is done with the line.
func (f *File) Complete(i int) bool {
	t := f.Turns[i]
	return t.End > t.Body && f.text[t.End-1] == '\n'
}

// Answer returns where the words of an answer end: what follows is space and
// the notes that sheaf wrote below.
func (f *File) Answer(i int) int {
	t := f.Turns[i]
	end := t.End
	for end > t.Body {
		s := strings.TrimRight(f.text[t.Body:end], " \t\r\n")
		last := t.Body + strings.LastIndexByte(s, '\n') + 1
		if !isNote(f.text[last : t.Body+len(s)]) {
			return t.Body + len(s)
		}
		end = last
	}
	return t.Body
}

// Last returns the last turn that says something, -1 if none does.
func (f *File) Last() int {
	for i := len(f.Turns) - 1; i >= 0; i-- {
		if t := f.Turns[i]; f.Says(i) || t.Role == Model && t.Label.State != Done {
			return i
		}
	}
	return -1
}

// Question returns the person's turn that an answer answers, -1 if there is none.
func (f *File) Question(answer int) int {
	for i := answer - 1; i >= 0; i-- {
		if f.Turns[i].Role == Person && f.Says(i) {
			return i
		}
	}
	return -1
}

// Open tells whether a code fence is open at an offset, so that a heading there
// would be code, and returns the line that closes it.
func (f *File) Open(at int) (closing string, open bool) {
	var fence fence
	start := 0
	for start < at {
		end := nextLine(f.text[:at], start)
		fence.line(f.text[start:end])
		start = end
	}
	return fence.closing(), fence.open()
}

// At returns the turn whose heading or body holds an offset, -1 if none does.
func (f *File) At(offset int) int {
	for i, t := range f.Turns {
		if offset >= t.Start && offset < t.End {
			return i
		}
	}
	return -1
}

// IsFile tells whether a name is a conversation's. Swap files, backups and
// other hidden companions of one are not.
func IsFile(name string) bool {
	stem, ok := strings.CutSuffix(name, ".ask")
	return ok && stem != "" && !strings.ContainsRune(".~#", rune(stem[0])) && !strings.HasSuffix(stem, "~")
}
