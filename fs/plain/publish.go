package plain

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// do says what an operation does.
type do int

const (
	opRecord  do = iota // nothing but the record changed, or the mode and time with it
	opMkdir             // a new directory
	opCreate            // a new file
	opSymlink           // a new symlink
	opWrite             // new content
	opMode              // a directory's mode
	opMove              // another place
	opRemove            // not there any more
	opResolve           // a version beside its file was removed
	opForget            // a record that is of no use any more
)

// op is one change made here.
type op struct {
	do      do
	e       *entry
	from    string // key of the record that the change ends
	content *crdt.NewContent
	base    crdt.Version // what the writer, or who removed it, had read
	mode    bool         // it has another mode
	mtime   bool         // it has another time
}

const (
	batch = 128 // operations in one update
	// A file whose time is longer ago than a save takes to be seen was given it.
	given = 6 * time.Second
)

// publish makes what was found part of the folder. It fails where the folder
// can take nothing.
func (d *Dir) publish(ops []op) error {
	for b := range slices.Chunk(ops, batch) {
		var failed []op
		var errs []error
		err := d.folder.UpdateAs(d, func(tx *crdt.Tx) error {
			for _, o := range b {
				if err := d.make(tx, o); err != nil {
					failed, errs = append(failed, o), append(errs, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, o := range failed {
			if err := d.mend(o, errs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// errUnplaced is of what is in a directory that could not be made in the same update, because
// another device made it first: it has no node before that is mended.
var errUnplaced = errors.New("the directory above is not in the folder yet")

// make does one operation.
func (d *Dir) make(tx *crdt.Tx, o op) (err error) {
	e := o.e
	if o.from != "" {
		tx.SetLocal(o.from, nil)
	}
	switch o.do {
	case opForget:
		return nil
	case opRemove:
		// Where others have changed it, or made something in it, it comes back.
		defer d.mark(func(m *marks) { m.markShow(e.parent.Node) })
		err := tx.RemoveSeen(e.Node, o.base)
		if errors.Is(err, crdt.ErrNotExist) || errors.Is(err, crdt.ErrNotEmpty) {
			return nil
		}
		return err
	case opResolve:
		if err := tx.Resolve(e.Node, o.base); !errors.Is(err, crdt.ErrNotExist) {
			return err
		}
		return nil
	}
	if !e.attached() {
		return nil // it, or what it is in, is found anew
	}
	if e.parent.Node == crdt.Root && e.parent != d.table.root {
		return errUnplaced
	}
	switch o.do {
	case opMkdir:
		e.Node, err = tx.Mkdir(e.parent.Node, e.Name, e.Mode)
	case opSymlink:
		e.Node, err = tx.Symlink(e.parent.Node, e.Name, e.Target)
	case opCreate:
		e.Node, e.Version, err = tx.CreateBeside(e.parent.Node, e.Name, e.Mode, *o.content)
	case opWrite:
		var v crdt.Version
		if v, err = tx.Write(e.Node, o.base, *o.content); err == nil {
			e.Version, e.Next = v, nil
		}
	case opMove:
		err = tx.Move(e.Node, e.parent.Node, e.Name)
	}
	if err != nil {
		return err
	}
	if o.do == opCreate || o.do == opWrite {
		e.saved = time.Now()
	}
	if o.mode || o.do == opMode {
		err = tx.SetMode(e.Node, e.Mode)
	}
	if t := time.Unix(0, e.Stat.Mtime); err == nil && e.Kind == crdt.File &&
		(o.do == opRecord && o.mtime || (o.do == opCreate || o.do == opWrite) && time.Since(t) > given) {
		err = tx.SetMtime(e.Node, t)
	}
	d.kept(tx, e)
	if errors.Is(err, crdt.ErrNotExist) {
		return nil // it was removed elsewhere meanwhile, which will be shown
	}
	return err
}

// kept stores an entry's record, which is in step now.
func (d *Dir) kept(tx *crdt.Tx, e *entry) {
	e.Parent = e.parent.Node
	d.table.name(e)
	keep(tx, e)
}

// mend does what could not be done as it was found, since the folder has
// something else there by now.
func (d *Dir) mend(o op, cause error) error {
	e := o.e
	again := func() error {
		return d.folder.UpdateAs(d, func(tx *crdt.Tx) error { return d.make(tx, o) })
	}
	err := cause
	switch {
	case errors.Is(cause, errUnplaced):
		err = again()
	case o.do == opWrite && errors.Is(cause, crdt.ErrInvalid):
		o.base = nil // shown beside the other, if they do not merge
		err = again()
	case e.parent != nil && errors.Is(cause, crdt.ErrNotExist) && o.do != opMove && o.do != opWrite:
		// The directory above is gone: what was made in it brings it back.
		if _, gerr := d.folder.Get(e.parent.Node); gerr == nil {
			err = again() // it was mended a moment ago
			break
		}
		d.table.unname(e.parent)
		e.parent.Node, e.parent.Kept = crdt.NodeID{}, false
		if err := d.mend(op{do: opMkdir, e: e.parent}, d.folder.UpdateAs(d, func(tx *crdt.Tx) error {
			return d.make(tx, op{do: opMkdir, e: e.parent})
		})); err != nil {
			return err
		}
		err = again()
	case errors.Is(cause, crdt.ErrExists):
		info, lerr := d.folder.Lookup(e.parent.Node, e.Name)
		if lerr == nil && info.Kind == e.Kind && o.do != opMove && (e.Kind == crdt.Dir || e.Kind == crdt.Symlink && info.Target == e.Target) {
			e.Node = info.Node
			err = d.folder.UpdateAs(d, func(tx *crdt.Tx) error { d.kept(tx, e); return nil })
			break
		}
		// Both stay: this one gets another name, which the disk will show as well.
		name := e.Name
		call := func(name string) {
			delete(e.parent.children, e.Name)
			e.Name = name
			e.parent.children[name] = e
		}
		for n := 2; n < 100 && errors.Is(err, crdt.ErrExists); n++ {
			if other := numbered(name, n); e.parent.children[other] == nil {
				call(other)
				err = again()
			}
		}
		if err == nil {
			// The record is of the name that is on the disk.
			err = d.folder.UpdateAs(d, func(tx *crdt.Tx) error {
				tx.SetLocal(e.key(), nil)
				call(name)
				d.kept(tx, e)
				return nil
			})
			d.mark(func(m *marks) { m.markShow(e.parent.Node) })
		} else {
			call(name)
		}
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, crdt.ErrNoSpace) || errors.Is(err, crdt.ErrClosed) || errors.Is(err, crdt.ErrDenied) {
		return err
	}
	// What cannot be told is found again as something new.
	rel := e.path()
	d.warn(rel, fmt.Sprintf("cannot be published as it is (%v)", err), cause)
	if e.parent == nil || e.parent.children[e.Name] != e {
		return nil
	}
	err = d.folder.UpdateAs(d, func(tx *crdt.Tx) error { forget(tx, e); return nil })
	d.drop(e)
	d.doubt()
	d.later(path.Dir("/" + rel)[1:], "")
	return err
}

func (m *marks) markShow(dir crdt.NodeID) {
	if m.show == nil {
		m.show, m.update = map[crdt.NodeID]bool{}, map[crdt.NodeID]bool{}
	}
	m.show[dir] = true
}

// numbered is a name with a number before its extension.
func numbered(name string, n int) string {
	ext := path.Ext(name)
	if ext == name {
		ext = ""
	}
	return fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(name, ext), n, ext)
}
