package conversation

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// State is how far an answer is. It stands in the answer's heading.
type State string

// The states. Queued, Loading, Reading and Answering end in one of the others.
const (
	Done        State = ""            // the answer is whole
	Queued      State = "queued"      // other answers come first
	Loading     State = "loading"     // the model is
	Reading     State = "reading"     // the model reads the prompt
	Answering   State = "answering"   // the answer is being written
	Interrupted State = "interrupted" // it can go on
	Stopped     State = "stopped"     // because a person changed the question
	Failed      State = "failed"
	Waiting     State = "waiting" // for a model to be had
)

// Active tells whether somebody is working on the answer.
func (s State) Active() bool {
	return s == Queued || s == Loading || s == Reading || s == Answering
}

func known(s State) bool {
	switch s {
	case Queued, Loading, Reading, Answering, Interrupted, Stopped, Failed, Waiting:
		return true
	}
	return false
}

// Label is what a heading says beside its role.
type Label struct {
	Name   string // of the speaker: for an answer, the model and its device
	State  State
	Detail string // of the state, "40%"
}

func parseLabel(r Role, s string) Label {
	s = strings.TrimSpace(s)
	if r != Model {
		return Label{Name: s}
	}
	name, state := "", s
	if i := strings.LastIndex(s, ": "); i >= 0 {
		name, state = s[:i], s[i+2:]
	}
	word, detail, _ := strings.Cut(state, " ")
	if !known(State(word)) {
		return Label{Name: s}
	}
	return Label{Name: name, State: State(word), Detail: detail}
}

// Heading is the line, without its end, under which an answer stands.
func Heading(l Label) string {
	s := l.Name
	if l.State != Done {
		if s != "" {
			s += ": "
		}
		s += string(l.State)
		if l.Detail != "" {
			s += " " + l.Detail
		}
	}
	if s == "" {
		return "## Model"
	}
	return "## Model (" + s + ")"
}

// Invitation is the heading under which a person goes on.
const Invitation = "## You"

// Name makes a text fit to stand in a heading: no longer than max bytes, with
// nothing in it that means something there.
func Name(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '(' || r == ')' || r == ':' || r == '#' || r == '`' || r == '<' || r == '>':
			return '-'
		case unicode.IsControl(r) || unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError:
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	for len(s) > max {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

const notePrefix = "> sheaf: "

// Note is a line, without its end, that sheaf writes below an answer: what was
// read, why it ended. Notes are no part of what the model said.
func Note(s string) string {
	return notePrefix + strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

func isNote(line string) bool { return strings.HasPrefix(line, notePrefix) }

// Notes returns the notes below an answer, without their mark.
func (f *File) Notes(i int) []string {
	var out []string
	for line := range strings.Lines(f.text[f.Answer(i):f.Turns[i].End]) {
		if isNote(line) {
			out = append(out, strings.TrimRight(line[len(notePrefix):], " \t\r\n"))
		}
	}
	return out
}
