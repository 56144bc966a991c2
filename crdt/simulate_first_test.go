package crdt_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt"
)

// made is a checkpoint that a device made once.
type made struct {
	by           *actor
	header, body []byte
}

// firstView is what a newcomer was shown.
type firstView struct {
	by    *actor
	false bool
}

// noteCheckpoint has a device make a checkpoint that is handed out later, when it is old.
func (w *world) noteCheckpoint(a *actor) {
	header, body, err := a.f.MakeCheckpoint(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	if header != nil {
		w.synced(a)
		w.stale = &made{a, header, body}
		w.say(a, "makes a checkpoint")
	}
}

// arrive gives a newcomer what a has: all of its entries, or a checkpoint first, which may be old
// or false, with a few of them; then it may die.
func (w *world) arrive(a, n *actor) {
	how := w.rnd.IntN(4)
	if how == 0 {
		w.pass(a, n, 1000)
		return
	}
	m, lies := w.stale, false
	if how > 1 || m == nil {
		w.noteCheckpoint(a)
		if m = w.stale; m == nil {
			return // a feed is forked
		}
	}
	if how == 3 {
		if l := w.lie(m.by); l != nil {
			m, lies = &l.made, l.told
		}
	}
	c, err := n.f.ParseCheckpoint(m.header, m.by.home.Device())
	if errors.Is(err, crdt.ErrCheckpointVersion) {
		w.pass(a, n, 1000)
		return // its maker reads what the newcomer cannot, or could not
	}
	if err == nil {
		err = n.f.ShowFirst(c, m.body)
	}
	if err != nil {
		w.Fatal(err)
	}
	n.first = nil
	if n.f.Unconfirmed() {
		n.first = &firstView{m.by, lies}
	}
	w.say(n, "is shown a checkpoint of %s, false: %v", m.by.name(), lies)
	w.list(n, crdt.File, crdt.Dir, crdt.Symlink)
	w.pass(a, n, w.rnd.IntN(5))
	switch w.rnd.IntN(4) {
	case 0:
		w.say(n, "is killed")
		w.kill(n)
	case 1:
		w.say(n, "loses power while it receives from %s", a.name())
		w.losePower(n, func() { w.pass(a, n, 1+w.rnd.IntN(8)) })
	case 2:
		w.say(n, "is backed up")
		w.backUp(n)
	}
}

// lie is a checkpoint of which told says whether it is false: there may be nothing to lie about.
type lie struct {
	made
	told bool
}

// lie makes a false checkpoint of what a has, or returns nil if a feed is forked.
func (w *world) lie(a *actor) *lie {
	var said *crdt.Lie
	header, body := crdt.FalseCheckpoint(w, a.f, func(l *crdt.Lie) {
		said = l
		for _, i := range w.list(a, crdt.File) {
			if i.Object == nil && !i.Alt && len(i.Version) > 0 {
				l.Text(a.f.Path(i.Node), fmt.Sprintf("what nobody ever wrote to %v\n", i.Node))
				return
			}
		}
	})
	if header == nil {
		return nil
	}
	w.synced(a)
	return &lie{made{a, header, body}, said.Told}
}

// confirmed waits for a first view that can be confirmed, and holds what is told of it.
func (w *world) confirmed(a *actor) {
	a.f.AwaitConfirm()
	v := a.first
	if v == nil || a.f.Unconfirmed() {
		return
	}
	a.first = nil
	told := ""
	for _, n := range a.f.Status().Notes {
		if n.Kind == "checkpoint" {
			told = n.Text
		}
	}
	if a.f.Forks() > 0 {
		return // nobody can say which entries it was of
	}
	switch {
	case v.false && !strings.Contains(told, "was false"):
		w.Fatalf("%s was shown a false checkpoint of %s, and is told %q", a.name(), v.by.name(), told)
	case !v.false && told != "" && !(w.mallory.forked() && strings.Contains(told, "a feed is forked")):
		w.Fatalf("%s was shown a true checkpoint of %s, and is told %q", a.name(), v.by.name(), told)
	}
}
