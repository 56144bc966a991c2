package crdt

import (
	"fmt"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// revive brings a node that is not shown back to where it was last, with the directories above
// it. Where its name was given to another one meanwhile it gets one that says so. It returns
// the path.
func (tx *Tx) revive(node NodeID) (string, error) {
	n := tx.f.tree.Get(node)
	dir, err := tx.dirAgain(n.Parent)
	if err != nil {
		return "", err
	}
	return tx.putBack(node, dir, n.Name)
}

// putBack places a node in a directory, under another name if that one is taken.
func (tx *Tx) putBack(node, dir NodeID, name string) (string, error) {
	t := tx.f.tree
	if e, ok := t.Entry(dir, name); !ok || e.Node != node {
		name = tx.freeName(dir, name)
	}
	err := tx.add(op{Tree: &tree.Op{Do: tree.OpPlace, Node: node, Parent: dir, Name: name}})
	return join(t.Path(dir), name), err
}

// dirAgain is a directory that is shown where dir was last: dir itself, or one that has its
// place now.
func (tx *Tx) dirAgain(dir NodeID) (NodeID, error) {
	if _, ok := tx.f.shown(dir); ok {
		return dir, nil
	}
	n := tx.f.tree.Get(dir)
	if n == nil || dir == Root {
		return Root, nil
	}
	above, err := tx.dirAgain(n.Parent)
	if err != nil {
		return dir, err
	}
	if e, ok := tx.f.tree.Entry(above, n.Name); ok && e.Kind == Dir {
		return e.Node, nil
	}
	_, err = tx.putBack(dir, above, n.Name)
	return dir, err
}

// freeName is name, or else "name (restored).ext", "name (restored 2).ext", …
func (tx *Tx) freeName(dir NodeID, name string) string {
	stem, ext := name, ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && len(name)-dot <= 16 {
		stem, ext = name[:dot], name[dot:]
	}
	try := name
	for i := 1; ; i++ {
		if _, taken := tx.f.tree.Entry(dir, try); !taken {
			return try
		}
		suffix := " (restored)" + ext
		if i > 1 {
			suffix = fmt.Sprintf(" (restored %d)%s", i, ext)
		}
		try = clip(stem, tree.MaxName-len(suffix)) + suffix
	}
}

// clip cuts s to n bytes, not inside a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
