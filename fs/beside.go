package fs

import (
	"github.com/sheaf-fs/sheaf/crdt"
)

// renameBeside gives a version that is shown beside a file, because the two do not merge, a name:
// a free one makes it a file of its own, that of its own file chooses it over what stands there,
// and that of another file writes it there. In each case it no longer waits for anybody. The
// caller holds filesystem.mu.
func (fs *filesystem) renameBeside(src, dst, to *inode, newName string) error {
	if err := fs.settleLocked(); err != nil {
		return err
	}
	if dst != nil && (dst.kind != crdt.File || !dst.bound || dst.alt != nil) {
		return crdt.ErrReadOnly
	}
	now, err := fs.folder.Get(src.node)
	if err != nil {
		return err
	}
	c, err := fs.folder.ContentAt(src.node, src.alt)
	if err != nil {
		return err
	}
	content := crdt.NewContent{Text: c.Text, Object: c.Object}
	var over crdt.Info
	if dst != nil {
		if over, err = fs.folder.Get(dst.node); err != nil {
			return err
		}
	}
	node := src.node
	err = fs.folder.Update(func(tx *crdt.Tx) (err error) {
		switch {
		case dst == nil:
			if node, _, err = tx.Create(to.node, newName, now.Mode, content); err != nil {
				return err
			}
		case dst.node == src.node:
			return tx.Choose(src.node, src.alt)
		default:
			node = dst.node
			if _, err = tx.Write(node, over.Version, content); err != nil {
				return err
			}
		}
		return tx.Resolve(src.node, src.alt)
	})
	if err != nil {
		return err
	}
	// The kernel has given the new name to what it knew the version as: that is the file now.
	if dst != nil {
		fs.detach(dst)
		fs.unbindGone(dst)
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	fs.unindex(src)
	src.alt = nil
	fs.bind(src, node)
	src.unload()
	src.cached, src.shownLast = false, nil // the same bytes are another version from now on
	id := src.id
	fs.queue.put(func() { fs.server.InodeNotify(id, -1, 0) }) // it can be written now
	return nil
}
