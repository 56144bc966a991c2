package plain

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// replaced is a file that is off its place, and that a program may still have written to.
type replaced struct {
	path    string
	node    crdt.NodeID
	version crdt.Version
	stat    stat
}

func (d *Dir) lookAgain(r replaced) {
	d.old = append(d.old, r)
	time.AfterFunc(lastLookAfter, func() { d.mark(func(m *marks) { m.late = append(m.late, r) }) })
}

// lastLook publishes what was written into files that were replaced, and ends them.
func (d *Dir) lastLook(late []replaced) error {
	for _, r := range late {
		i := slices.IndexFunc(d.old, func(o replaced) bool { return o.path == r.path })
		if i < 0 {
			continue
		}
		st, err := lstat(r.path)
		if err == nil && !st.sameBytes(r.stat) {
			if err := d.rescue(r); err != nil {
				return err
			}
		}
		d.old = slices.Delete(d.old, i, i+1)
		os.Remove(r.path)
	}
	return nil
}

// nodeWhole tells whether a file of the folder is kept whole.
func (d *Dir) nodeWhole(node crdt.NodeID) bool { return d.rules.Whole(d.folder.Path(node)) }

func (d *Dir) rescue(r replaced) error {
	f, err := openQuietly(r.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := fstat(int(f.Fd()))
	if err != nil {
		return nil
	}
	c, err := d.content(f, st, nil, d.nodeWhole(r.node))
	if err != nil || c.Object == nil && c.Text == "" {
		return err
	}
	d.log.Info("a file was written after it was replaced", "path", filepath.Base(r.path))
	return d.folder.UpdateAs(d, func(tx *crdt.Tx) error {
		_, err := tx.Write(r.node, r.version, *c)
		return err
	})
}
