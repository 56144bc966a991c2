package crdt

import (
	"errors"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Line is one line of a text and who wrote it: whoever changed it last.
type Line struct {
	Event      EventID   `json:"version"`
	Device     Device    `json:"device"`
	DeviceName string    `json:"deviceName"`
	Author     string    `json:"author,omitempty"` // as in Revision
	Time       time.Time `json:"time"`
	Text       string    `json:"text"` // without its newline
}

// Annotate tells who wrote each line of a file's text. Of a file that is kept whole, now or for
// a time, it compares the versions; where one is not on this device any more, the next counts as
// the author of all that it held. It fails with ErrInvalid for what is no text.
func (f *Folder) Annotate(node NodeID) ([]Line, error) {
	c, err := f.Content(node)
	if err == nil {
		c, err = f.home.Readable(c)
	}
	if err != nil {
		return nil, err
	}
	if c.Object != nil {
		return nil, &Error{Op: "blame", Path: f.Path(node), Kind: ErrInvalid, Hint: "it is not a text; sheaf log shows who changed it"}
	}
	f.mu.RLock()
	err = f.allHere("blame", node, c.Version)
	f.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	a := annotation{f: f, node: node, name: f.names((*Folder).deviceName), todo: map[string]*wanted{}}
	for l := range strings.Lines(c.Text) {
		a.want(c.Version, c.Text, len(a.lines), len(a.lines))
		a.lines = append(a.lines, Line{Text: strings.TrimSuffix(l, "\n")})
	}
	for w := a.next(); w != nil; w = a.next() {
		if err := a.follow(w); err != nil {
			return nil, err
		}
	}
	return a.lines, nil
}

// annotation follows lines back through the versions of a file.
type annotation struct {
	f     *Folder
	node  NodeID
	name  func(Device) string
	lines []Line
	todo  map[string]*wanted // by version
}

// wanted is a version, and the lines that it has and whose author is looked for.
type wanted struct {
	version Version
	text    string
	lamport uint64
	lines   map[int][]int // by line of the version: those of the file
}

func (a *annotation) want(v Version, text string, line int, of ...int) {
	w := a.todo[v.String()]
	if w == nil {
		w = &wanted{version: v, text: text, lines: map[int][]int{}}
		for _, id := range v {
			w.lamport = max(w.lamport, a.event(id).Stamp.Lamport)
		}
		a.todo[v.String()] = w
	}
	w.lines[line] = append(w.lines[line], of...)
}

// next takes out the newest: what leads to it has been followed.
func (a *annotation) next() (newest *wanted) {
	for _, w := range a.todo {
		if newest == nil || w.lamport > newest.lamport {
			newest = w
		}
	}
	if newest != nil {
		delete(a.todo, newest.version.String())
	}
	return newest
}

func (a *annotation) event(id EventID) tree.Event {
	a.f.mu.RLock()
	defer a.f.mu.RUnlock()
	e, _ := a.f.tree.Event(a.node, id)
	return e
}

// credit names an event as the author of lines of the file.
func (a *annotation) credit(e tree.Event, lines []int) {
	for _, i := range lines {
		l := &a.lines[i]
		l.Event, l.Device, l.Author, l.Time = e.ID, e.Stamp.Feed.Device, e.By, time.UnixMilli(e.Time)
		l.DeviceName = a.name(l.Device)
	}
}

func (a *annotation) follow(w *wanted) error {
	if len(w.version) == 0 {
		return nil
	}
	if e := a.event(w.version[0]); e.Object != nil || len(w.version) == 1 && a.first(e) {
		return a.followWhole(w, e)
	}
	return a.followText(w)
}

// first reports whether an event begins a text, and so holds all of it.
func (a *annotation) first(e tree.Event) bool {
	if len(e.Parents) == 0 {
		return true
	}
	p := a.event(e.Parents[0])
	return p.Object != nil || p.Text != e.Text
}

// followText credits lines of a text with the newest event that has inserted part of them; what
// came with its first event is looked for before it.
func (a *annotation) followText(w *wanted) error {
	spans, err := a.spans(w.version)
	if err != nil {
		return err
	}
	byFirst := map[EventID][]int{}
	line, newest := 0, tree.Event{}
	end := func() {
		if of := w.lines[line]; len(of) == 0 {
		} else if len(newest.Parents) > 0 && a.first(newest) {
			byFirst[newest.ID] = append(byFirst[newest.ID], line)
		} else {
			a.credit(newest, of)
		}
		line, newest = line+1, tree.Event{}
	}
	rest := w.text
	for _, s := range spans {
		e := a.event(EventID(s.Event))
		for part := range strings.Lines(rest[:s.Bytes]) {
			if newest.ID.IsZero() || e.Stamp.Lamport > newest.Stamp.Lamport {
				newest = e
			}
			if part[len(part)-1] == '\n' {
				end()
			}
		}
		rest = rest[s.Bytes:]
	}
	if !newest.ID.IsZero() {
		end()
	}
	for id, lines := range byFirst {
		e := a.event(id)
		c, err := a.f.ContentAt(a.node, Version{id})
		if err != nil {
			return err
		}
		was := unchanged(c.Text, w.text)
		for _, line := range lines {
			if old, ok := was[line]; ok {
				a.want(Version{id}, c.Text, old, w.lines[line]...)
			} else {
				a.credit(e, w.lines[line])
			}
		}
	}
	return nil
}

func (a *annotation) spans(v Version) (spans []text.Span, err error) {
	l := a.event(v[0]).Text
	a.f.mu.RLock()
	defer a.f.mu.RUnlock()
	err = a.f.withDoc(a.node, l, func(d *text.Doc) (err error) {
		spans, err = d.BlameAt(textIDs(v))
		return err
	})
	return spans, err
}

// followWhole looks for the lines of content that one event left in what the event was made on.
func (a *annotation) followWhole(w *wanted, e tree.Event) error {
	for _, v := range a.contents(e.Parents) {
		c, err := a.f.ContentAt(a.node, v)
		if err == nil {
			c, err = a.f.home.Readable(c)
		}
		if errors.Is(err, ErrNotHere) || err == nil && c.Object != nil {
			continue
		} else if err != nil {
			return err
		}
		was := unchanged(c.Text, w.text)
		for line, of := range w.lines {
			if old, ok := was[line]; ok {
				a.want(v, c.Text, old, of...)
				delete(w.lines, line)
			}
		}
	}
	for _, of := range w.lines {
		a.credit(e, of)
	}
	return nil
}

// contents divides a version into those that are one content each.
func (a *annotation) contents(v Version) (out []Version) {
	texts := map[lineage]int{}
	for _, id := range v {
		e := a.event(id)
		if i, ok := texts[e.Text]; ok && e.Object == nil {
			out[i] = append(out[i], id)
			continue
		}
		if e.Object == nil {
			texts[e.Text] = len(out)
		}
		out = append(out, Version{id})
	}
	return out
}

// unchanged finds the lines of a text that are as they were before, and which they were.
func unchanged(before, after string) map[int]int {
	was := map[int]int{}
	at := func(s string, n int) (lines int) { return strings.Count(s[:n], "\n") }
	// kept is a stretch that both have, at an offset in each.
	kept := func(a, b, n int) {
		i, j := at(before, a), at(after, b)
		for part := range strings.Lines(before[a : a+n]) {
			whole := part[len(part)-1] == '\n' || a+len(part) == len(before) && b+len(part) == len(after)
			if begins(before, a) && begins(after, b) && whole {
				was[j] = i
			}
			a, b, i, j = a+len(part), b+len(part), i+1, j+1
		}
	}
	a, b, pos := 0, 0, 0
	for _, h := range text.Diff(before, after) {
		for _, s := range h {
			n, _ := forward(before[a:], 0, s.Pos-pos)
			kept(a, b, n)
			gone, _ := forward(before[a+n:], 0, s.Del)
			a, b, pos = a+n+gone, b+n+len(s.Ins), s.Pos+s.Del
		}
	}
	kept(a, b, len(before)-a)
	return was
}

func begins(s string, at int) bool { return at == 0 || s[at-1] == '\n' }
