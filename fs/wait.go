package fs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// Editors save by renaming the old file away, or removing it, and making a new
// one of its name at once; git checkout does the same. To the folder this is
// one write to one node. So a removal or rename of a file is journaled at once
// but reaches the folder only after a moment, and a file of that name made by
// the same job before then revives the node (create.go, rename.go).

// dance is how long a removal or rename waits for that. One that git made waits while that
// git runs, gitAtMost: on a busy machine, or for many files, it may take long over it.
const dance = 100 * time.Millisecond

// waiting is a removal or rename of a file that the folder does not know yet.
type waiting struct {
	id   uint64 // in the journal
	in   *inode
	node crdt.NodeID
	dir  *inode // where the folder still has it
	name string
	to   *inode // nil: a removal
	as   string
	by   *caller

	begun, due time.Time
}

// postpone journals a removal (to is nil) or rename of a file or symlink, and
// shows it. The caller holds filesystem.mu.
func (fs *filesystem) postpone(in, dir *inode, name string, to *inode, as string, by *caller) error {
	now := time.Now()
	w := &waiting{id: fs.journal.number(), in: in, node: in.node, dir: dir, name: name, to: to, as: as, by: by, begun: now, due: now.Add(fs.dance)}
	r := record{ID: w.id, Kind: removeRecord, Node: in.node, Path: join(fs.folder.Path(dir.node), name)}
	if to != nil {
		r.Kind, r.Parent, r.Name = moveRecord, to.node, as
	}
	if err := fs.journal.put(r); err != nil {
		return err
	}
	fs.waits[at(dir, name)] = w
	fs.nameChanged()
	fs.gitChanged()
	in.mu.Lock()
	if to != nil {
		fs.put(in, to, as)
	}
	in.mu.Unlock()
	if fault.On("fs-impatient") {
		return fs.settle([]*waiting{w})
	}
	if len(fs.waits) == 1 {
		fs.later(fs.dance, fs.settleDue)
	}
	return nil
}

// settleDue brings what has waited long enough into the folder.
func (fs *filesystem) settleDue() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	now := time.Now()
	var next time.Duration
	var due []*waiting
	running := map[process]bool{}
	for _, w := range fs.waits {
		if !w.due.After(now) && now.Sub(w.begun) < gitAtMost && w.byGit(running) {
			w.due = now.Add(fs.dance)
		}
		if d := w.due.Sub(now); d > 0 {
			next = max(next, d)
		} else {
			due = append(due, w)
		}
	}
	if err := fs.settle(due); err != nil {
		fs.log.Error("publish a removal or rename", "err", err)
		next = quiet
	}
	if len(fs.waits) > 0 {
		fs.later(max(next, time.Millisecond), fs.settleDue)
	}
}

// byGit tells whether the process that began the wait is a git that still runs; running
// keeps what is known of processes.
func (w *waiting) byGit(running map[process]bool) bool {
	c := w.by.wait()
	if c == nil || c.program != "git" {
		return false
	}
	alive, known := running[c.process]
	if !known {
		alive = c.alive()
		running[c.process] = alive
	}
	return alive
}

// settleBelow brings what waits in a directory and below into the folder now. The caller
// holds filesystem.mu.
func (fs *filesystem) settleBelow(top crdt.NodeID) error {
	var list []*waiting
	for _, w := range fs.waits {
		if fs.below(w.dir.node, top) {
			list = append(list, w)
		}
	}
	return fs.settle(list)
}

// below tells whether a directory is another one or in it.
func (fs *filesystem) below(dir, top crdt.NodeID) bool {
	for dir != top {
		info, err := fs.folder.Get(dir)
		if err != nil || dir == crdt.Root {
			return false
		}
		dir = info.Parent
	}
	return true
}

// settleRename brings the rename of a file into the folder before what is written under the
// new name, which others would else find under the old one. A handle from before says
// nothing: an editor may be about to make the old name anew.
func (fs *filesystem) settleRename(h *handle) error {
	fs.mu.RLock()
	moving := h.in.bound && h.in.parent != nil
	fs.mu.RUnlock()
	if !moving {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, w := range fs.waits {
		if w.in == h.in && w.to != nil && w.begun.Before(h.since) {
			return fs.settle([]*waiting{w})
		}
	}
	return nil
}

// settleLocked brings everything that waits into the folder now. The caller
// holds filesystem.mu.
func (fs *filesystem) settleLocked() error {
	var all []*waiting
	for _, w := range fs.waits {
		all = append(all, w)
	}
	return fs.settle(all)
}

func (fs *filesystem) settle(list []*waiting) error {
	if len(list) == 0 {
		return nil
	}
	var moved []crdt.NodeID
	for _, w := range list {
		moved = append(moved, w.node)
	}
	// Names that one rename frees may be what the next one takes.
	err := fs.updateNames(func(tx *crdt.Tx) error {
		for _, w := range list {
			if w.to == nil {
				if err := tx.Remove(w.node); err != nil && status(err) != fuse.ENOENT {
					return err
				}
			}
		}
		for _, w := range list {
			if w.to != nil {
				if err := tx.MoveBeside(w.node, w.to.node, w.as); err != nil && status(err) != fuse.ENOENT {
					return err
				}
			}
		}
		return nil
	}, moved...)
	if err != nil {
		return err
	}
	ids := make([]uint64, len(list))
	for i, w := range list {
		ids[i] = w.id
		delete(fs.waits, at(w.dir, w.name))
	}
	fs.nameChanged()
	if err := fs.journal.dropAll(ids); err != nil {
		fs.log.Error("end waits", "err", err)
	}
	for _, w := range list {
		w.in.mu.Lock()
		if w.to != nil && w.in.parent == w.to && w.in.name == w.as {
			fs.hide(w.in)
		}
		w.in.mu.Unlock()
		if w.to != nil {
			if info, err := fs.folder.Lookup(w.to.node, w.as); err != nil || info.Node != w.node {
				fs.staleName(w.to, 0, w.as) // another device's has the name
			}
		}
		if w.to == nil {
			fs.unbindGone(w.in)
		}
		fs.release(w.in)
	}
	return nil
}

// forgetWait ends a wait without doing what it waited for. The caller holds
// filesystem.mu.
func (fs *filesystem) forgetWait(w *waiting) {
	delete(fs.waits, at(w.dir, w.name))
	fs.nameChanged()
	if err := fs.journal.drop(w.id); err != nil {
		fs.log.Error("end a wait", "name", w.name, "err", err)
	}
}

// detach makes an inode go on with the bytes it shows, for the handles that are
// open on it, when its name is gone. The caller holds filesystem.mu.
func (fs *filesystem) detach(in *inode) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.gone = true
	if in.bound {
		in.draft.mode = 0o600
		if info, err := fs.folder.Get(in.node); err == nil {
			in.draft.mode = info.Mode
		}
	}
	if in.handles > 0 && in.kind == crdt.File {
		if err := fs.load(in); err != nil {
			fs.log.Warn("keep a removed file for its readers", "err", err)
		}
	}
	if in.sess != nil && in.handles == 0 {
		fs.endSession(in)
	}
}

// unbindGone lets a removed node's number go to another inode.
func (fs *filesystem) unbindGone(in *inode) {
	if in.gone {
		fs.unindex(in)
	}
}

// revive makes a new inode the file of a node whose removal or rename waits.
// The old inode keeps the old bytes: as a copy under its new name, or only for
// the handles that are open. The caller holds filesystem.mu.
func (fs *filesystem) revive(w *waiting, who *caller, mode uint32, owner fuse.Owner) (*inode, error) {
	old := w.in
	old.mu.Lock()
	err := fs.keepOld(w)
	base := old.version
	old.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n := fs.add(&inode{kind: crdt.File, owner: owner, bits: mode & setID})
	n.mu.Lock()
	defer n.mu.Unlock()
	fs.forgetWait(w)
	fs.bind(n, w.node)
	// The view begins as the old content does, cut to nothing.
	content, err := fs.folder.HoldingAt(w.node, base)
	if err == nil {
		err = fs.show(n, content)
	}
	if err == nil {
		_, err = fs.begin(n, who, truncate)
	}
	if err != nil {
		return nil, err
	}
	fs.watch(n, n.sess)
	if info, err := fs.folder.Get(w.node); err == nil && info.Mode != mode&modeBits {
		err := fs.update(func(tx *crdt.Tx) error { return tx.SetMode(w.node, mode&modeBits) })
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}

// keepOld gives the old bytes a life of their own. The caller holds
// filesystem.mu and old.mu.
func (fs *filesystem) keepOld(w *waiting) error {
	old := w.in
	if err := fs.publish(old); err != nil {
		return err
	}
	if err := fs.load(old); err != nil {
		return err
	}
	info, err := fs.folder.Get(w.node)
	if err != nil {
		return err
	}
	fs.discardSession(old)
	fs.unbind(old)
	old.draft = draft{mode: info.Mode, mtime: old.mtime}
	if w.to == nil {
		return nil
	}
	fs.put(old, w.to, w.as)
	fs.later(quiet, func() { fs.ripen(old) })
	return nil
}
