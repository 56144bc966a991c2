package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sheaf-fs/sheaf/cmd/internal/automerge"
	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
)

// maxCompared is how many characters were ever inserted in, or deleted from, a text that is
// compared: what the library needs grows with them, not with the text.
const maxCompared = 4 << 20

// compareTime is how long one text may take: nobody waits for it who did not ask for everything
// to be checked.
const compareTime = 2 * time.Minute

// comparing holds every text of a home against the Automerge library's text of its document.
type comparing struct {
	reply *control.CheckReply
	lib   *automerge.Library
	say   func(string)
	said  time.Time
}

// compare adds to the reply what came of it. Only its context makes it fail: texts that the
// library cannot read are named, and a library that is not there is.
func compare(ctx context.Context, h *crdt.Home, r *control.CheckReply, say func(string)) error {
	r.Automerge = &control.Compared{}
	c := &comparing{reply: r, lib: &automerge.Library{Time: compareTime}, say: say, said: time.Now()}
	defer c.lib.Close()
	for _, f := range h.Folders() {
		for _, n := range f.Nodes() {
			if err := c.text(ctx, f, n); errors.Is(err, automerge.ErrNone) {
				r.Automerge.Missing = err.Error()
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// text compares one file, unless it is none or gone.
func (c *comparing) text(ctx context.Context, f *crdt.Folder, n crdt.NodeID) error {
	t, err := f.TextHistory(n)
	if errors.Is(err, crdt.ErrNotExist) || errors.Is(err, crdt.ErrInvalid) {
		return ctx.Err()
	}
	if err != nil {
		return nil // the check before has named it
	}
	where := fmt.Sprintf("folder %q: %s", f.Name(), f.Path(n))
	if t.Characters > maxCompared {
		c.left(where, fmt.Sprintf("a history of more than %d million characters", maxCompared>>20))
		return ctx.Err()
	}
	doc, err := t.Automerge()
	if err != nil {
		c.differs(f, n, "it makes no Automerge document: "+err.Error())
		return ctx.Err()
	}
	a, err := c.lib.Read(ctx, automerge.Query{Document: doc, Key: "content"})
	switch {
	case errors.Is(err, automerge.ErrRefused):
		c.differs(f, n, "Automerge refuses the document of it: "+err.Error())
	case errors.Is(err, automerge.ErrSlow), errors.Is(err, automerge.ErrDied), errors.Is(err, automerge.ErrLarge):
		c.left(where, err.Error())
	case err != nil:
		return err
	case a.Key != "content" || a.Text != t.Text:
		c.differs(f, n, "it is not the text that Automerge makes of its changes")
	default:
		c.reply.Automerge.Same++
	}
	if time.Since(c.said) >= time.Second {
		c.said = time.Now()
		c.say(fmt.Sprintf("texts held against Automerge so far: %d", c.reply.Automerge.Same))
	}
	return nil
}

func (c *comparing) differs(f *crdt.Folder, n crdt.NodeID, says string) {
	c.reply.Damage = append(c.reply.Damage, control.Damage{What: "text", Folder: f.Name(), Path: f.Path(n), Text: says})
}

func (c *comparing) left(where, why string) {
	c.reply.Automerge.Left = append(c.reply.Automerge.Left, where+": "+why)
}
