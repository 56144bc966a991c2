package fs

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sheaf-fs/sheaf/crdt"
)

// localIndex knows the names of this device alone that are in directories of the
// folder, so that no lookup of another name has to ask the disk. They come and go
// only through the mount.
type localIndex struct {
	mu    sync.RWMutex
	dirs  map[crdt.NodeID]map[string]*localName
	total int
	tags  map[crdt.NodeID]bool // directories that say of themselves that they can be made again
	sides int                  // names beside a database

	changes atomic.Uint64 // counts names that came and went, after they did
	changed func()        // called then, nil while nobody lists
}

// localName is one of them.
type localName struct {
	mode   uint32 // its kind, as stat has it
	ino    uint64
	writer *caller // who made the file
}

// openLocalIndex reads what is in the home.
func openLocalIndex(root string) (*localIndex, error) {
	x := &localIndex{dirs: map[crdt.NodeID]map[string]*localName{}, tags: map[crdt.NodeID]bool{}}
	dirs, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		var node crdt.NodeID
		if n, err := hex.Decode(node[:], []byte(d.Name())); err != nil || n != len(node) {
			continue
		}
		list, err := os.ReadDir(filepath.Join(root, d.Name()))
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			os.Remove(filepath.Join(root, d.Name()))
		}
		for _, e := range list {
			if err := x.stat(root, node, e.Name(), nil); err != nil {
				return nil, err
			}
		}
	}
	return x, nil
}

// stat takes up a name that is on the disk.
func (x *localIndex) stat(root string, dir crdt.NodeID, name string, writer *caller) error {
	path := filepath.Join(root, dir.String(), name)
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.dirs[dir]
	if m == nil {
		m = map[string]*localName{}
		x.dirs[dir] = m
	}
	if m[name] == nil {
		x.count(name, 1)
	}
	m[name] = &localName{mode: st.Mode & syscall.S_IFMT, ino: st.Ino | localBit, writer: writer}
	x.tell()
	if isTag(name) {
		x.tags[dir] = true
	}
	return nil
}

func (x *localIndex) count(name string, by int) {
	x.total += by
	if _, ok := databaseOf(name); ok {
		x.sides += by
	}
}

// drop forgets a name that is not on the disk any more.
func (x *localIndex) drop(dir crdt.NodeID, name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.dirs[dir]
	if m[name] == nil {
		return
	}
	x.count(name, -1)
	if delete(m, name); len(m) == 0 {
		delete(x.dirs, dir)
	}
	x.tell()
	if isTag(name) && m[cacheTag] == nil && m[venvTag] == nil {
		delete(x.tags, dir)
	}
}

func (x *localIndex) get(dir crdt.NodeID, name string) *localName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.total == 0 {
		return nil
	}
	return x.dirs[dir][name]
}

// tell says that a name came or went.
func (x *localIndex) tell() {
	x.changes.Add(1)
	if x.changed != nil {
		x.changed()
	}
}

// list returns the names of a directory.
func (x *localIndex) list(dir crdt.NodeID) map[string]localName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.dirs[dir]) == 0 {
		return nil
	}
	out := make(map[string]localName, len(x.dirs[dir]))
	for name, n := range x.dirs[dir] {
		out[name] = *n
	}
	return out
}

// holders are the directories that have such names.
func (x *localIndex) holders() []crdt.NodeID {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]crdt.NodeID, 0, len(x.dirs))
	for d := range x.dirs {
		out = append(out, d)
	}
	return out
}

// tagged tells whether one of the directories says that it can be made again.
func (x *localIndex) tagged(dirs []crdt.NodeID) (int, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.tags) == 0 {
		return 0, false
	}
	for i, d := range dirs {
		if x.tags[d] {
			return i, true
		}
	}
	return 0, false
}
