package infer

import (
	"strings"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
)

// plan is what an answer does to a conversation: where it goes, what it takes
// the place of, and what the model is told. Positions are in bytes of the text.
type plan struct {
	content  crdt.Content
	conv     *conversation.File
	question int // the turn that is answered

	from, to int    // what is replaced by the answer's block
	lead     string // of the block, before the heading
	tail     string // of the block, behind the answer

	resume  bool   // go on with the answer that ends at `from`
	turn    int    // whose heading is changed then
	partial string // what it says already
}

// answerTurn plans the answer to a person's turn. An answer that it has already
// is replaced; so is all that stands below it, unless a person is writing there.
func answerTurn(c crdt.Content, conv *conversation.File, question int) plan {
	text := c.Text
	p := plan{content: c, conv: conv, question: question}
	t := conv.Turns[question]
	p.to = len(text)
	if next := question + 1; next < len(conv.Turns) {
		p.to = conv.Turns[next].Start
		if conv.Turns[next].Role == conversation.Model {
			p.to = conv.Turns[next].End
		}
		if last := conv.Last(); conv.Turns[last].Role == conversation.Model || last <= question {
			p.to = len(text)
		}
	}
	// Space at the end of the question is used, never taken away.
	p.from = t.End
	nl := newline(text)
	end := text[t.Body:t.End]
	if closing, open := conv.Open(t.End); open {
		// Below an open fence nothing would be a heading.
		p.lead = nl + closing + nl + nl
		if strings.HasSuffix(end, "\n") {
			p.lead = closing + nl + nl
		}
	} else {
		switch {
		case strings.TrimSpace(end) == "" || strings.HasSuffix(strings.ReplaceAll(end, "\r\n", "\n"), "\n\n"):
		case strings.HasSuffix(end, "\n"):
			p.lead = nl
		default:
			p.lead = nl + nl
		}
	}
	p.tail = nl
	if p.to == len(text) {
		// People who write on below the answer write the next question.
		p.tail = nl + nl + conversation.Invitation + nl
	} else {
		p.tail = nl + nl
	}
	return p
}

// resumeTurn plans to go on with an answer that was not ended. spans are what
// Blame says of the content.
func resumeTurn(c crdt.Content, spans []crdt.Span, conv *conversation.File, answer int) plan {
	p := plan{content: c, conv: conv, question: conv.Question(answer), resume: true, turn: answer}
	// The notes below the answer go; the space stays.
	t := conv.Turns[answer]
	p.from = conv.Answer(answer)
	if at := tailAt(c.Text, spans, conv, answer); at < p.from {
		p.from = t.Body + len(strings.TrimRight(c.Text[t.Body:at], " \t\r\n"))
	}
	p.to = p.from
	for _, n := range conv.Notes(answer) {
		p.to = t.Body + len(strings.TrimRight(c.Text[t.Body:t.End], " \t\r\n"))
		if strings.HasPrefix(n, interruptedInCode) {
			// The fence was closed only because the answer ended there.
			p.from = t.Body + len(strings.TrimRight(c.Text[t.Body:t.Body+strings.LastIndexByte(c.Text[t.Body:p.from], '\n')+1], "\r\n"))
		}
	}
	p.partial = strings.TrimSpace(strings.ReplaceAll(c.Text[t.Body:p.from], "\r\n", "\n"))
	return p
}

// tailAt is where the text begins that was written behind an answer, together
// with its heading. A code fence that is still open hides the heading in it.
func tailAt(text string, spans []crdt.Span, conv *conversation.File, answer int) int {
	t := conv.Turns[answer]
	tail := t.End
	if _, open := conv.Open(t.End); !open {
		return tail
	}
	var begun crdt.EventID
	at := 0
	for _, s := range spans {
		if at <= t.Start && t.Start < at+s.Bytes {
			begun = s.Event
		}
		if s.Event == begun && at > t.Start && at < t.End && strings.Contains(text[at:at+s.Bytes], conversation.Invitation) {
			tail = at
		}
		at += s.Bytes
	}
	return tail
}

// interruptedInCode begins the note below an answer that ended in a code block.
const interruptedInCode = "interrupted in code"

// asked is the question as it stands once the answer has begun: a fence that
// was open in it is closed then.
func (p plan) asked() string {
	if p.lead == "" || p.resume {
		return p.conv.Text(p.question)
	}
	text := p.content.Text[:p.from] + p.lead
	return conversation.Parse(text).Text(p.question)
}

func newline(text string) string {
	if i := strings.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

func runes(s string) int { return utf8.RuneCountInString(s) }
