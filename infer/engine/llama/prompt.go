package llama

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/llama/internal/native"
)

// vocabulary is what making a prompt needs of a model.
type vocabulary interface {
	Tokenize(text string) []int32 // as text only
	Controls() []native.Control
	BOS() (int32, bool)
	Render([]native.Message) (string, bool)
}

// prompter makes prompts for one model.
type prompter struct {
	vocab    vocabulary
	controls []native.Control  // the longest first
	first    map[byte]struct{} // bytes that a control token starts with

	// The tokens of answers that this process made, by their text. Tokenizing
	// an answer again may give others than those the context holds.
	answers map[string][]int32
	order   []string
}

// maxAnswers is how many answers a prompter remembers.
const maxAnswers = 64

func newPrompter(v vocabulary) *prompter {
	p := &prompter{vocab: v, controls: v.Controls(), first: map[byte]struct{}{}, answers: map[string][]int32{}}
	sort.SliceStable(p.controls, func(i, j int) bool { return len(p.controls[i].Text) > len(p.controls[j].Text) })
	for _, c := range p.controls {
		p.first[c.Text[0]] = struct{}{}
	}
	return p
}

// remember keeps the tokens of an answer for the prompts that contain it.
func (p *prompter) remember(text string, tokens []int32) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	if _, ok := p.answers[text]; !ok {
		p.order = append(p.order, text)
		if len(p.order) > maxAnswers {
			delete(p.answers, p.order[0])
			p.order = p.order[1:]
		}
	}
	p.answers[text] = tokens
}

// prompt returns the tokens of a request.
func (p *prompter) prompt(a *ask) []int32 {
	turns := a.Turns
	var more string // a partial answer to go on with
	if n := len(turns); n > 0 && turns[n-1].Role == engine.Model {
		more, turns = strings.TrimLeft(turns[n-1].Text, " \t\r\n"), turns[:n-1]
	}
	var b builder
	b.p = p
	if id, ok := p.vocab.BOS(); ok {
		b.tokens = append(b.tokens, id)
	}
	for _, part := range p.render(a.System, turns) {
		switch {
		case part.turn < 0:
			b.template(part.text)
		case part.role == engine.Model && p.answers[part.text] != nil:
			b.flush()
			b.tokens = append(b.tokens, p.answers[part.text]...)
		default:
			b.run.WriteString(part.text)
		}
	}
	b.run.WriteString(more)
	b.flush()
	return b.tokens
}

// part is a piece of the template, or the text of a turn.
type part struct {
	text string
	turn int // -1: the template
	role engine.Role
}

// render writes turns in the model's template. What people wrote never goes
// through the template: it is rendered with marks in place of texts.
func (p *prompter) render(system string, turns []turn) []part {
	var texts []part
	var marked []native.Message
	add := func(name string, role engine.Role, text string) {
		mark := fmt.Sprintf("sheaf%dx%016x", len(texts), rand.Uint64())
		texts = append(texts, part{strings.TrimSpace(text), len(texts), role})
		marked = append(marked, native.Message{Role: name, Text: mark})
	}
	if strings.TrimSpace(system) != "" {
		add("system", engine.User, system)
	}
	for _, t := range turns {
		add(t.Role.String(), t.Role, t.Text)
	}
	if out, ok := p.vocab.Render(marked); ok {
		if parts, ok := splitMarks(out, marked, texts); ok {
			return parts
		}
	}
	parts, _ := splitMarks(chatML(marked), marked, texts)
	return parts
}

// chatML is the most common template, for models whose own is not known.
func chatML(messages []native.Message) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString("<|im_start|>" + m.Role + "\n" + m.Text + "<|im_end|>\n")
	}
	b.WriteString("<|im_start|>assistant\n")
	return b.String()
}

// splitMarks puts texts where their marks are. Each mark must be there once, in
// order: a template that drops or repeats turns is not used.
func splitMarks(out string, marks []native.Message, texts []part) ([]part, bool) {
	var parts []part
	for i, m := range marks {
		before, after, ok := strings.Cut(out, m.Text)
		if !ok || strings.Contains(after, m.Text) {
			return nil, false
		}
		parts = append(parts, part{text: before, turn: -1}, texts[i])
		out = after
	}
	return append(parts, part{text: out, turn: -1}), true
}

// builder joins text between control tokens, so that it is tokenized as it would
// be in one go.
type builder struct {
	p      *prompter
	tokens []int32
	run    strings.Builder
}

func (b *builder) flush() {
	b.tokens = append(b.tokens, b.p.vocab.Tokenize(b.run.String())...)
	b.run.Reset()
}

// template adds text in which control tokens count.
func (b *builder) template(s string) {
next:
	for len(s) > 0 {
		if _, ok := b.p.first[s[0]]; ok {
			for _, c := range b.p.controls {
				if strings.HasPrefix(s, c.Text) {
					b.flush()
					b.tokens = append(b.tokens, c.ID)
					s = s[len(c.Text):]
					continue next
				}
			}
		}
		b.run.WriteByte(s[0])
		s = s[1:]
	}
}
