package crdt

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// What a device may put into an entry. By rules that they know, all devices refuse a whole entry for
// one operation that does not read, and what comes after a refused entry in its feed is refused with
// it. So the limits that readers have are looked at before an operation is made, where its maker can
// still be told.

// resolveOp finds what an operation of this device stands for, if it is a textOp. size is as in
// pend. It fails with ErrInvalid where another device would refuse the operation, or do nothing for it.
func (f *Folder) resolveOp(o *op, size int) (v resolved, err error) {
	switch {
	case o.Tree != nil && size > tree.MaxOp:
		err = fmt.Errorf("an operation of %d bytes, at most %d", size, tree.MaxOp)
	case o.Tree != nil:
		err = o.Tree.Check()
	case o.Text != nil && authorOf(o.Text.By) != o.Text.By:
		err = errors.New("not an author's name")
	case o.Text != nil:
		v, err = f.resolve(o.Text)
	case o.Admit != nil && !validName(o.Admit.Name), o.Found != nil && !validName(o.Found.Name):
		err = errors.New("not a device name")
	case o.Admit != nil:
		err = o.Admit.Device.Check()
	case o.Found != nil:
	case o.Mark != nil && (len(o.Mark.Label) > maxLabel || !utf8.ValidString(o.Mark.Label)):
		err = errors.New("not a label")
	case o.Mark != nil:
	default:
		err = errors.New("no operation")
	}
	if err != nil {
		return resolved{}, fail("change", f.subject(o), ErrInvalid, err)
	}
	return v, nil
}

// subject is the path of what an operation is about, else the folder's name.
func (f *Folder) subject(o *op) string {
	var path string
	switch {
	case o.Tree != nil:
		path = f.tree.LastPath(o.Tree.Node)
	case o.Text != nil:
		path = f.tree.LastPath(o.Text.Node)
	}
	if path == "" {
		return f.grant.Name
	}
	return path
}
