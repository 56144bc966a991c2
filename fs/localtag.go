package fs

import (
	"path/filepath"

	"github.com/sheaf-fs/sheaf/crdt"
)

// settleTag is called when a file was closed. If it is new, and says of its
// directory that all in it can be made again, it stays on this device, and with it
// what is made in the directory from now on, or was made a moment ago. The
// directory itself may be shared: on other devices it is empty, or holds their own.
func (fs *filesystem) settleTag(n *inode) {
	n.mu.Lock()
	candidate := !n.bound && !n.gone && isTag(n.name) && n.sess != nil && !n.sess.closed.IsZero()
	n.mu.Unlock()
	if !candidate {
		return
	}
	content, _, err := fs.peek(n, 4096)
	if err != nil {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir := n.parent
	if dir == nil || n.bound || n.gone || dir == fs.root || !proves(n.name, content) || fs.wantsShared(dir.node) {
		return
	}
	list := []*inode{n}
	for _, in := range fs.overIn[dir.node] {
		in.mu.Lock()
		if in != n && in.kind == crdt.File && !in.bound && in.writers == 0 {
			list = append(list, in)
		}
		in.mu.Unlock()
	}
	for _, in := range list {
		name := in.name
		if err := fs.keepDraft(in, dir, name); err != nil {
			fs.log.Error("keep a file on this device", "path", filepath.Join(fs.folder.Path(dir.node), name), "err", err)
		}
	}
}

// keepDraft makes a file that is not in the folder yet one of this device.
func (fs *filesystem) keepDraft(in, dir *inode, name string) error {
	if err := fs.makeLocalDir(dir.node); err != nil {
		return err
	}
	in.mu.Lock()
	writer := in.writer
	in.mu.Unlock()
	if err := fs.takeOutFile(in, dir, name, fs.localPath(dir.node, name), writer); err != nil {
		return err
	}
	if err := fs.locals.stat(fs.localRootDir, dir.node, name, writer); err != nil {
		return err
	}
	fs.staleName(dir, 0, name)
	fs.release(in)
	return nil
}
