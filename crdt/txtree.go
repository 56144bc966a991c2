package crdt

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// What a transaction does to names and attributes.

// dir checks that a name can be made in a directory.
func (tx *Tx) free(op string, dir NodeID, name string) error {
	f := tx.f
	if err := checkName(op, name); err != nil {
		return err
	}
	d, ok := f.shown(dir)
	if !ok {
		return fail(op, name, ErrNotExist, nil)
	}
	if d.Kind != Dir {
		return fail(op, f.tree.Path(dir), ErrNotDir, nil)
	}
	if _, ok := f.tree.Entry(dir, name); ok {
		return fail(op, join(f.tree.Path(dir), name), ErrExists, nil)
	}
	return nil
}

func checkName(op, name string) error {
	switch {
	case len(name) > 255:
		return fail(op, name[:32]+"…", ErrNameTooLong, nil)
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fail(op, name, ErrInvalid, errors.New("not a name"))
	}
	return nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Mkdir makes a directory.
func (tx *Tx) Mkdir(dir NodeID, name string, mode uint32) (NodeID, error) {
	if err := tx.free("mkdir", dir, name); err != nil {
		return NodeID{}, err
	}
	node, gen := tx.f.tree.FreshID(Dir, dir, name, nil)
	return node, tx.add(op{Tree: &tree.Op{Do: tree.OpCreate, Node: node, Kind: Dir, Parent: dir, Name: name, Mode: mode & 0o7777, Gen: gen}})
}

// Symlink makes a symbolic link.
func (tx *Tx) Symlink(dir NodeID, name, target string) (NodeID, error) {
	if err := tx.free("symlink", dir, name); err != nil {
		return NodeID{}, err
	}
	if target == "" || len(target) > 4095 || strings.ContainsRune(target, 0) {
		return NodeID{}, fail("symlink", name, ErrInvalid, errors.New("not a target"))
	}
	node, gen := tx.f.tree.FreshID(Symlink, dir, name, []byte(target))
	return node, tx.add(op{Tree: &tree.Op{Do: tree.OpCreate, Node: node, Kind: Symlink, Parent: dir, Name: name, Mode: 0o777, Target: target, Gen: gen}})
}

// Move gives a node another place. The name must be free: replacing a file by
// renaming over it is a Write to it and a Remove of the other.
func (tx *Tx) Move(node, dir NodeID, name string) error {
	n, ok := tx.f.shown(node)
	if !ok || node == Root {
		return fail("rename", node.String(), ErrNotExist, nil)
	}
	if n.Kind == Dir {
		for d := dir; ; {
			if d == node {
				return fail("rename", tx.f.tree.Path(node), ErrInvalid, errors.New("into itself"))
			}
			p, ok := tx.f.shown(d)
			if !ok || d == Root {
				break
			}
			d = p.Parent
		}
	}
	if err := tx.free("rename", dir, name); err != nil {
		return err
	}
	return tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: node, Parent: dir, Name: name}})
}

// MoveBeside is Move to a name that was free when whoever moves looked. What has got it
// meanwhile is shown beside it, as if the two had been done on devices apart; where it is
// the node itself, nothing is left to do.
func (tx *Tx) MoveBeside(node, dir NodeID, name string) error {
	err := tx.Move(node, dir, name)
	if !errors.Is(err, ErrExists) {
		return err
	}
	if e, ok := tx.f.tree.Entry(dir, name); ok && e.Node == node {
		return nil
	}
	return tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: node, Parent: dir, Name: name}})
}

// Remove takes a node out of the tree; its history stays. A directory must be
// empty. The directory it was in stays, also one that others removed and that
// lived only through this node: who removes what is in a directory, name by name,
// still means to remove the directory itself.
func (tx *Tx) Remove(node NodeID) error {
	n, ok := tx.f.shown(node)
	if !ok {
		return fail("remove", node.String(), ErrNotExist, nil)
	}
	return tx.RemoveSeen(node, n.Version)
}

// RemoveSeen is Remove by somebody who had seen an older version of the file:
// what came after it brings the file back.
func (tx *Tx) RemoveSeen(node NodeID, seen Version) error {
	n, ok := tx.f.shown(node)
	if !ok {
		return fail("remove", node.String(), ErrNotExist, nil)
	}
	if node == Root {
		return fail("remove", "/", ErrInvalid, nil)
	}
	if n.Kind == Dir && len(tx.f.tree.ReadDir(node)) > 0 {
		return fail("remove", tx.f.tree.Path(node), ErrNotEmpty, nil)
	}
	var above []tree.Info
	for dir := n.Parent; dir != Root; {
		p, ok := tx.f.shown(dir)
		if !ok {
			break
		}
		above, dir = append(above, *p), p.Parent
	}
	if err := tx.remove(node, seen); err != nil {
		return err
	}
	for _, p := range slices.Backward(above) {
		if _, ok := tx.f.shown(p.Node); !ok {
			if err := tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: p.Node, Parent: p.Parent, Name: p.Name}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tx *Tx) attr(what string, node NodeID, o tree.Op) error {
	if _, ok := tx.f.shown(node); !ok {
		return fail(what, node.String(), ErrNotExist, nil)
	}
	o.Node = node
	return tx.add(op{Tree: &o})
}

// SetMode sets the permission bits, 07777.
func (tx *Tx) SetMode(node NodeID, mode uint32) error {
	return tx.attr("chmod", node, tree.Op{Do: tree.OpMode, Mode: mode & 0o7777})
}

// SetMtime sets the time of last modification, as utimensat does.
func (tx *Tx) SetMtime(node NodeID, t time.Time) error {
	return tx.attr("utimens", node, tree.Op{Do: tree.OpMtime, Mtime: t.UnixNano()})
}

// Limits of extended attributes, those of the kernel.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
)

// SetXattr sets an extended attribute.
func (tx *Tx) SetXattr(node NodeID, key string, value []byte) error {
	if key == "" || len(key) > maxXattrName || len(value) > maxXattrValue {
		return fail("setxattr", key, ErrInvalid, errors.New("too long"))
	}
	return tx.attr("setxattr", node, tree.Op{Do: tree.OpXattr, Key: key, Value: slices.Clone(value)})
}

// RemoveXattr removes an extended attribute.
func (tx *Tx) RemoveXattr(node NodeID, key string) error {
	return tx.attr("removexattr", node, tree.Op{Do: tree.OpXattr, Key: key, Delete: true})
}

// SetLocal keeps a value on this device only, in the same batch as the changes
// beside it, the last of them where they are several batches, so that a restart
// can tell whether they were made; nil removes it.
func (tx *Tx) SetLocal(name string, value []byte) {
	tx.locals = append(tx.locals, local{tx.f.key('k', []byte(name)), slices.Clone(value)})
	tx.stored++
}

// Note makes something known to Status, on this device.
func (tx *Tx) Note(kind, path, what string) {
	tx.f.note(tx.b, Note{Time: time.Now(), Kind: kind, Path: path, Text: what})
	tx.stored++
}

// Return puts a directory that was removed back to where it was last, with those
// above it. One that is shown stays where it is.
func (tx *Tx) Return(dir NodeID) error {
	n := tx.f.tree.Get(dir)
	switch {
	case n == nil:
		return fail("restore", dir.String(), ErrNotExist, nil)
	case n.Kind != Dir:
		return fail("restore", n.Name, ErrNotDir, nil)
	case n.Visible:
		return nil
	}
	if err := tx.Return(n.Parent); err != nil {
		return err
	}
	return tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: dir, Parent: n.Parent, Name: n.Name}})
}
