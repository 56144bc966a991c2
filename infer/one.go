package infer

import (
	"bytes"
	"cmp"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
)

// One question has one answer, once devices that were apart have met. Of the
// answers that did not know of each other, those that are whole are ordered by
// when they were begun, in logical time. A device takes back its own answer if
// an earlier one is whole, or if any other is whole and its own will never be.
// The earliest whole answer fulfils neither, so one always stays; and nobody
// deletes what is not its own.

// given is one answer to a question.
type given struct {
	turn  int
	span  int // in which its heading begins
	at    int // where that span begins, in bytes
	event crdt.EventID
	time  uint64
	by    crdt.Device
	state conversation.State
	whole bool
}

func (g given) compare(o given) int {
	return cmp.Or(cmp.Compare(g.time, o.time), bytes.Compare(g.by[:], o.by[:]), bytes.Compare(g.event[:], o.event[:]))
}

// settle takes back this device's answers where others stand.
func (w *watcher) settle(f *file) {
	c, err := w.f.Content(f.node)
	if err != nil || c.Object != nil || len(latest(conversation.Parse(c.Text))) < 2 {
		return
	}
	c, spans, err := w.f.Blame(f.node)
	if err != nil || c.Object != nil {
		return
	}
	conv := conversation.Parse(c.Text)
	answers := attribute(c.Text, conv, latest(conv), spans)
	for _, a := range answers {
		if a.by != w.s.home.Device() || !w.yields(f.node, conv, a, answers) {
			continue
		}
		if f.job != nil {
			// The one that is being written is the one that is not ended.
			if a.state.Active() {
				f.job.cancel(errSecond)
			}
			continue
		}
		w.takeBack(f, c, conv, spans, a)
		f.check = time.Now() // the text is another now: look again
		return
	}
}

// yields tells whether a has to go.
func (w *watcher) yields(node crdt.NodeID, conv *conversation.File, a given, all []given) bool {
	for _, o := range all {
		if o.event == a.event || !o.whole || !w.apart(node, a.event, o.event) {
			continue
		}
		better := o.compare(a) < 0 || !a.whole && !a.state.Active()
		if better && (adjacent(conv, a.turn, o.turn) || w.sameQuestion(node, conv, a, o)) {
			return true
		}
	}
	return false
}

// apart tells whether two events were made without knowing of each other.
func (w *watcher) apart(node crdt.NodeID, a, b crdt.EventID) bool {
	return !w.f.Covers(node, crdt.Version{a}, crdt.Version{b}) && !w.f.Covers(node, crdt.Version{b}, crdt.Version{a})
}

// latest are the last answers: older ones have been settled.
func latest(conv *conversation.File) (turns []int) {
	for i, t := range conv.Turns {
		if t.Role == conversation.Model {
			turns = append(turns, i)
		}
	}
	return turns[max(0, len(turns)-8):]
}

// adjacent tells whether nobody says anything between two answers.
func adjacent(conv *conversation.File, a, b int) bool {
	for i := min(a, b) + 1; i < max(a, b); i++ {
		if conv.Turns[i].Role == conversation.Person && conv.Says(i) {
			return false
		}
	}
	return true
}

// sameQuestion tells whether two answers were begun for one question, though
// people have written between them since.
func (w *watcher) sameQuestion(node crdt.NodeID, conv *conversation.File, a, b given) bool {
	qa, qb := w.questionOf(node, a), w.questionOf(node, b)
	n := 0
	for i, t := range conv.Turns {
		if t.Role == conversation.Person && conv.Text(i) == qa {
			n++
		}
	}
	return qa != "" && qa == qb && n == 1
}

// questionOf is the question that stood above an answer when it was begun.
func (w *watcher) questionOf(node crdt.NodeID, g given) string {
	c, err := w.f.ContentAt(node, crdt.Version{g.event})
	if err != nil || c.Object != nil {
		return ""
	}
	conv := conversation.Parse(c.Text)
	for i := len(conv.Turns) - 1; i >= 0; i-- {
		if t := conv.Turns[i]; t.Role == conversation.Model && t.Label.State.Active() {
			if q := conv.Question(i); q >= 0 {
				return conv.Text(q)
			}
		}
	}
	return ""
}

// unseen returns the turn of a question that took another one's place by a save whose
// writer did not see the answer: what stands below it answers the other. The turn is
// -1 if there is none, or if somebody is writing below; conv is nil if there is no text.
func (w *watcher) unseen(node crdt.NodeID, ask conversation.Ask) (crdt.Content, *conversation.File, int) {
	c, spans, err := w.f.Blame(node)
	if err != nil || c.Object != nil {
		return c, nil, -1
	}
	conv := conversation.Parse(c.Text)
	if last := conv.Last(); last < 0 || conv.Turns[last].Role != conversation.Model {
		return c, conv, -1
	}
	for _, a := range attribute(c.Text, conv, latest(conv), spans) {
		q := conv.Question(a.turn)
		if q < 0 || conv.Text(q) != ask.Text || !conv.Complete(q) {
			continue
		}
		if was := w.questionOf(node, a); was != "" && was != ask.Text {
			return c, conv, q
		}
	}
	return c, conv, -1
}

// attribute finds out who wrote the answers. Those that people typed are left out.
func attribute(text string, conv *conversation.File, turns []int, spans []crdt.Span) (out []given) {
	at, k := 0, 0
	for i, s := range spans {
		for k < len(turns) {
			t := conv.Turns[turns[k]]
			sharp := t.Start + strings.IndexByte(text[t.Start:], '#')
			if sharp >= at+s.Bytes {
				break
			}
			if s.Author != "" {
				out = append(out, given{
					turn: turns[k], span: i, at: at, event: s.Event, time: s.Time, by: s.Device,
					state: t.Label.State, whole: t.Label.State == conversation.Done && conv.Text(turns[k]) != "",
				})
			}
			k++
		}
		at += s.Bytes
	}
	return out
}

// takeBack deletes what this device's models wrote of an answer, and the
// heading below it that nobody used.
func (w *watcher) takeBack(f *file, c crdt.Content, conv *conversation.File, spans []crdt.Span, a given) {
	end := conv.Turns[a.turn].End
	if next := a.turn + 1; next < len(conv.Turns) && conv.Turns[next].Role == conversation.Person && !conv.Says(next) {
		end = conv.Turns[next].End
	}
	var splices []crdt.Splice
	at, pos := a.at, runes(c.Text[:a.at])
	for _, s := range spans[a.span:] {
		if at >= end {
			break
		}
		text := c.Text[at:min(at+s.Bytes, end)]
		if s.Author != "" && s.Device == w.s.home.Device() {
			splices = append(splices, crdt.Splice{Pos: pos, Del: runes(text)})
		}
		at += s.Bytes
		pos += s.Runes
	}
	err := w.update(func(tx *crdt.Tx) error {
		tx.By(w.s.author(""))
		_, err := tx.Splice(f.node, c.Version, merge(splices)...)
		if err != nil {
			return err
		}
		return tx.SetXattr(f.node, StateAttr, []byte(Done))
	})
	if err != nil {
		w.s.log.Warn("take back a second answer", "path", w.f.Path(f.node), "err", err)
	}
}

// markCutOff marks the answers that ended with the process that wrote them.
func (w *watcher) markCutOff() {
	self := w.s.home.Device().String()
	for _, node := range w.f.Nodes() {
		attrs, err := w.f.Xattrs(node)
		if err != nil || string(attrs[StateAttr]) != string(Answering) || string(attrs[DeviceAttr]) != self {
			continue
		}
		if err := w.markNode(node); err != nil {
			w.s.log.Warn("mark an answer that was cut off", "path", w.f.Path(node), "err", err)
		}
	}
}

func (w *watcher) markNode(node crdt.NodeID) error {
	set := func(s State) func(*crdt.Tx) error {
		return func(tx *crdt.Tx) error { return tx.SetXattr(node, StateAttr, []byte(s)) }
	}
	c, spans, err := w.f.Blame(node)
	if err != nil {
		return err
	}
	conv := conversation.Parse(c.Text)
	device := w.s.author("")
	for i := len(conv.Turns) - 1; i >= 0 && c.Object == nil; i-- {
		l := conv.Turns[i].Label
		if conv.Turns[i].Role != conversation.Model || !l.State.Active() || l.Name != device && !strings.HasSuffix(l.Name, " on "+device) {
			continue
		}
		j := newJob(w, node, resumeTurn(c, spans, conv, i))
		j.author.by = l.Name
		if err := j.tell(conversation.Label{Name: l.Name, State: conversation.Interrupted}); err != nil {
			return err
		}
		end := conversation.Resume(j.plan.partial, j.author.nl == "\r\n")
		j.inCode = end.InCode()
		if s := end.Close(); s != "" {
			if err := j.author.say(s, nil); err != nil {
				return err
			}
		}
		return j.finish(errClosing, fitted{}, engine.Stats{})
	}
	return w.update(set(Cancelled))
}
