package crdt_test

import (
	"errors"
	"fmt"
	"strings"
	gosync "sync"

	"github.com/sheaf-fs/sheaf/crdt"
)

// view is a folder as somebody knows it who looked at it once and has listened to notices
// since: it looks again only at what a notice named.
type view struct {
	f      *crdt.Folder
	cancel func()

	mu    gosync.Mutex
	names map[crdt.Place]shown
	dirty map[crdt.NodeID]bool // told of, but not looked at yet
}

type shown struct {
	node crdt.NodeID
	alt  bool
	what string // ends with coming if its text is on its way
}

const coming = "coming"

func newView(f *crdt.Folder) (*view, error) {
	v := &view{f: f, dirty: map[crdt.NodeID]bool{}}
	v.cancel = f.Subscribe(v.hear)
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	v.names, err = look(f)
	return v, err
}

func (v *view) hear(n crdt.Notice) {
	v.mu.Lock()
	defer v.mu.Unlock()
	// Nodes leave their names, versions beside them come and go, nodes take their names: a
	// notice can tell of many batches, and what it says of nodes is joined.
	leave := func(c crdt.Change) {
		if was := v.names[c.Before]; c.Before.Visible && was.node == c.Node && was.alt == c.Alt {
			delete(v.names, c.Before)
		}
	}
	take := func(c crdt.Change) {
		if c.After.Visible {
			v.names[c.After] = shown{c.Node, c.Alt, ""}
		}
	}
	for _, c := range n.Changes {
		if v.dirty[c.Node] = true; c.What&crdt.PlaceChanged != 0 && !c.Alt {
			leave(c)
		}
	}
	for _, c := range n.Changes {
		if c.What&crdt.PlaceChanged != 0 && c.Alt {
			leave(c)
			take(c)
		}
	}
	for _, c := range n.Changes {
		if c.What&crdt.PlaceChanged != 0 && !c.Alt {
			take(c)
		}
	}
}

// check waits for what is on its way and holds what was heard against what is there.
func (v *view) check() error {
	heard := make(chan struct{})
	v.f.Told(func() { close(heard) })
	<-heard
	v.mu.Lock()
	defer v.mu.Unlock()
	names, err := look(v.f)
	if err != nil {
		return err
	}
	for at, is := range names {
		was, ok := v.names[at]
		if !ok || was.node != is.node || was.alt != is.alt {
			return fmt.Errorf("%s is shown, and notices told of %v", at.Name, was)
		}
		if was.what != is.what && !v.dirty[is.node] && !strings.HasSuffix(was.what, coming) {
			return fmt.Errorf("%s was %s, is %s, and no notice told of it", at.Name, was.what, is.what)
		}
	}
	for at := range v.names {
		if _, ok := names[at]; !ok {
			return fmt.Errorf("%s is not shown, and no notice told of it", at.Name)
		}
	}
	v.names = names
	clear(v.dirty)
	return nil
}

// look reads the whole folder.
func look(f *crdt.Folder) (map[crdt.Place]shown, error) {
	names := map[crdt.Place]shown{}
	var walk func(dir crdt.NodeID) error
	walk = func(dir crdt.NodeID) error {
		is, err := f.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, i := range is {
			what := fmt.Sprintf("%v %o %s", i.Kind, i.Mode, i.Target)
			switch {
			case i.Object != nil:
				what += i.Object.Hash.String()
			case i.Kind == crdt.File:
				c, err := f.ContentAt(i.Node, i.Version)
				switch {
				case errors.Is(err, crdt.ErrComing):
					c.Text = coming
				case err != nil:
					return err
				}
				what += c.Text
			}
			names[crdt.Place{Dir: dir, Name: i.Name, Visible: true}] = shown{i.Node, i.Alt, what}
			if i.Kind == crdt.Dir {
				if err := walk(i.Node); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return names, walk(crdt.Root)
}
