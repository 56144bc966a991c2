package fs

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// New files: each is in the journal from its creation on (ripening.go), and reaches the folder
// many in one batch.

// publishNew brings new files into the folder, many in one batch, and reports those
// that could not be.
func (fs *filesystem) publishNew(list []*inode) map[*inode]error {
	failed := fs.storeNew(list)
	list = slices.DeleteFunc(slices.Clone(list), func(in *inode) bool { return failed[in] != nil })
	for some := range slices.Chunk(list, maxLocked) { // who makes more names waits for a few files only
		fs.mu.Lock()
		maps.Copy(failed, fs.publishNewLocked(some))
		fs.mu.Unlock()
	}
	return failed
}

// storeNew stores the objects among new files, before the names are locked, and reports those
// that could not be. Each is synced; syncs at one time cost the disk little more than one.
func (fs *filesystem) storeNew(list []*inode) map[*inode]error {
	var mu sync.Mutex
	failed := map[*inode]error{}
	store := func(in *inode) {
		in.mu.Lock()
		defer in.mu.Unlock()
		s := in.sess
		if s == nil || in.bound || in.gone || s.stored != nil {
			return
		}
		if _, err := fs.content(in, s, fs.inodeWhole(in), in.text); err != nil {
			mu.Lock()
			failed[in] = err
			mu.Unlock()
		}
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(storers, len(list)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				store(list[i])
			}
		})
	}
	workers.Wait()
	return failed
}

// newFile is a new file on its way into the folder.
type newFile struct {
	in   *inode
	c    crdt.Holding
	node crdt.NodeID
	v    crdt.Version
}

// publishNewLocked is publishNew for who holds filesystem.mu already.
func (fs *filesystem) publishNewLocked(list []*inode) map[*inode]error {
	failed := map[*inode]error{}
	var out []newFile
	for _, in := range list {
		in.mu.Lock()
		if in.bound || in.gone || in.parent == nil || in.sess != nil && (in.sess.closed.IsZero() || in.sess.storing != nil) {
			in.mu.Unlock()
			continue
		}
		if fs.underway(in) {
			fs.later(quiet, func() { fs.ripen(in) })
			in.mu.Unlock()
			continue
		}
		c := crdt.Holding{Body: in.text, Object: in.object.Object}
		if in.sess != nil {
			var err error
			if c, err = fs.content(in, in.sess, fs.inodeWhole(in), in.text); err != nil {
				failed[in] = err
				in.mu.Unlock()
				continue
			}
		}
		out = append(out, newFile{in: in, c: c})
	}
	defer func() {
		for _, m := range out {
			m.in.mu.Unlock()
			fs.release(m.in)
		}
	}()
	for rest := out; len(rest) > 0; {
		n := together(rest)
		fs.publishTogether(rest[:n], failed)
		rest = rest[n:]
	}
	return failed
}

// together is how many new files, of the first ones of a list, are one entry.
func together(list []newFile) int {
	size := 0
	for i := range list {
		if size += list[i].c.Body.Len(); size > maxTogether && i > 0 {
			return i
		}
	}
	return len(list)
}

// publishTogether brings new files into the folder in one entry, in which their texts stay: they
// are not stored a second time. It notes in failed which could not be. The caller holds
// filesystem.mu and the mu of each file's inode.
func (fs *filesystem) publishTogether(out []newFile, failed map[*inode]error) {
	hidden := map[crdt.NodeID]bool{}
	for _, m := range out {
		dir := m.in.parent.node
		if _, err := fs.folder.Get(dir); err != nil {
			hidden[dir] = true // removed elsewhere; the new file brings it back
		}
	}
	at := time.Time{}
	for _, m := range out {
		if s := m.in.sess; s != nil && s.closed.After(at) {
			at = s.closed
		}
	}
	fs.gitChanged()
	err := fs.folder.BulkAs(&origin{fs: fs, at: at}, func(tx *crdt.Tx) error {
		for i := range out {
			m := &out[i]
			in := m.in
			var err error
			if m.node, m.v, err = tx.CreateBeside(in.parent.node, in.name, in.draft.mode, newContent(m.c)); err != nil {
				failed[in] = err
				continue
			}
			for k, v := range in.draft.xattrs {
				if err := tx.SetXattr(m.node, k, v); err != nil {
					fs.log.Warn("attribute of a new file", "name", in.name, "attribute", k, "err", err)
				}
			}
			if !in.draft.mtime.IsZero() {
				if err := tx.SetMtime(m.node, in.draft.mtime); err != nil {
					fs.log.Warn("time of a new file", "name", in.name, "err", err)
				}
			}
		}
		return nil
	})
	var ended []uint64
	for _, m := range out {
		if err != nil {
			failed[m.in] = err
		}
		if failed[m.in] != nil {
			continue
		}
		s := m.in.sess
		if s != nil {
			s.batched = true
		}
		fs.placed(m.in, m.node, m.c, m.v)
		if s != nil {
			s.batched = false
			if m.in.sess != s {
				ended = append(ended, s.ID)
			}
		}
	}
	if err := fs.journal.dropAll(ended); err != nil {
		fs.log.Error("end the sessions of new files", "err", err)
	}
	if len(hidden) > 0 && err == nil && fs.queue != nil {
		fs.later(0, func() {
			for dir := range hidden {
				fs.dirReturned(dir)
			}
		})
	}
}

// placed makes a new file's inode show the node that it became. The caller
// holds filesystem.mu and in.mu.
func (fs *filesystem) placed(in *inode, node crdt.NodeID, c crdt.Holding, v crdt.Version) {
	fs.hide(in)
	early := in.draft.early
	in.draft = draft{}
	fs.bind(in, node)
	now := time.Now()
	for _, r := range early {
		fs.reads.read(r.wait(), node, v, now, nil)
	}
	if s := in.sess; s != nil {
		fs.saved(in, s, c, v)
		return
	}
	mtime := in.mtime
	if err := fs.show(in, crdt.Holding{Version: v, Body: c.Body, Object: c.Object}); err != nil {
		fs.log.Error("show a new file", "name", in.name, "err", err)
	}
	in.keepTime(v, mtime)
}

// dirReturned tells the kernel that a new file brought its directory back, and
// those that it is in.
func (fs *filesystem) dirReturned(dir crdt.NodeID) {
	var chain []crdt.NodeID
	for dir != fs.root.node {
		info, err := fs.folder.Get(dir)
		if err != nil {
			return // it went again
		}
		chain, dir = append(chain, dir), info.Parent
	}
	for _, d := range slices.Backward(chain) {
		fs.returned(d)
	}
}
