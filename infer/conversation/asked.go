package conversation

import "strings"

// Ask is a question that a save asked.
type Ask struct {
	Text  string // of the turn, as File.Text gives it
	Again bool   // it had an answer: what stands below is to be answered anew
}

// Asked tells which question a person asked by a save that turned before, the
// text that they had read, into after. A question is asked by whoever wrote it,
// when its last line is ended: in the last turn, or by changing an earlier turn
// that has an answer. A question that was there before was asked before, so
// taking its answer away, or saving something else, asks nothing.
func Asked(before, after string) (Ask, bool) {
	b, a := Parse(before), Parse(after)
	last := a.Last()
	if last < 0 {
		return Ask{}, false
	}
	if a.Turns[last].Role == Person {
		text := a.Text(last)
		asked := a.Complete(last) && a.count(text) > b.count(text)
		return Ask{Text: text}, asked
	}
	bs, as := b.spoken(), a.spoken()
	for n, i := range as {
		if n+1 >= len(as) || n+1 >= len(bs) || b.Turns[bs[n]].Role != a.Turns[i].Role {
			break
		}
		j := bs[n]
		if a.Turns[i].Role != Person || a.Text(i) == b.Text(j) {
			continue
		}
		answered := a.Turns[as[n+1]].Role == Model && b.Turns[bs[n+1]].Role == Model
		return Ask{Text: a.Text(i), Again: true}, answered
	}
	return Ask{}, false
}

// count returns how many turns of persons say exactly text, and end.
func (f *File) count(text string) int {
	n := 0
	for i, t := range f.Turns {
		if t.Role == Person && f.Complete(i) && f.Text(i) == text {
			n++
		}
	}
	return n
}

// spoken are the turns that say something.
func (f *File) spoken() []int {
	var out []int
	for i, t := range f.Turns {
		if f.Says(i) || t.Role == Model {
			out = append(out, i)
		}
	}
	return out
}

// Find returns the turn of a question that was asked, -1 if it is not there any
// more: the last turn, or the last of that text that is to be answered anew.
func (f *File) Find(q Ask) int {
	last := f.Last()
	if last >= 0 && f.Turns[last].Role == Person && f.Complete(last) && f.Text(last) == q.Text {
		return last
	}
	for i := last - 1; i >= 0; i-- {
		if f.Turns[i].Role != Person || f.Turns[i+1].Role != Model || f.Text(i) != q.Text {
			continue
		}
		// Who changes a question as it is being answered did not see the answer.
		if q.Again || f.Turns[i+1].Label.State == Stopped {
			return i
		}
	}
	return -1
}

// Said is one turn as a model reads it.
type Said struct {
	Role Role
	Text string
}

// History returns what was said up to and including a turn. Turns of one role
// that follow each other are one.
func (f *File) History(last int) []Said {
	var out []Said
	for i := range f.Turns[:last+1] {
		text := f.Said(i)
		if text == "" {
			continue
		}
		if n := len(out) - 1; n >= 0 && out[n].Role == f.Turns[i].Role {
			out[n].Text += "\n\n" + text
			continue
		}
		out = append(out, Said{f.Turns[i].Role, text})
	}
	return out
}

// Said is what a turn says as its speaker said it: without the backslashes that
// keep an answer's lines from being more.
func (f *File) Said(i int) string {
	if f.Turns[i].Role == Model {
		return Unescape(f.Text(i))
	}
	return f.Text(i)
}

// Unescape takes the backslashes away that a Writer puts in.
func Unescape(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), `\`); ok && escaped(strings.TrimRight(rest, "\n")+"\n") {
			line = line[:len(line)-len(rest)-1] + rest
		}
		b.WriteString(line)
	}
	return b.String()
}
