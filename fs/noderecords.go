package fs

import (
	"fmt"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// What this device is to know of nodes after a restart is kept beside the folder, many in one
// record. A later record stands before an earlier one.

const (
	keptRecord  = 2048            // nodes in one record at most
	keptRecords = 32              // records that are left as they are when a folder is mounted
	keptRetry   = 5 * time.Second // after records could not be written
)

// nodeRecords is one kind of what is known of nodes. It is under filesystem.mu, but for known.
type nodeRecords[V comparable] struct {
	prefix string // of the records' names
	size   int    // of a value in a record, in bytes
	put    func([]byte, V) []byte
	get    func([]byte) V // the zero value: nothing is known any more

	ofMu    sync.RWMutex // writers of the map hold filesystem.mu, too
	of      map[crdt.NodeID]V
	unsaved []crdt.NodeID
	next    uint64 // the next record's
}

// known is what is kept of a node, for who does not hold filesystem.mu.
func (k *nodeRecords[V]) known(node crdt.NodeID) (V, bool) {
	k.ofMu.RLock()
	defer k.ofMu.RUnlock()
	v, ok := k.of[node]
	return v, ok
}

// set keeps a value, or with the zero one drops what there was.
func (k *nodeRecords[V]) set(fs *filesystem, node crdt.NodeID, v V) {
	var none V
	if k.of[node] == v {
		return
	}
	k.ofMu.Lock()
	if k.of[node] = v; v == none {
		delete(k.of, node)
	}
	k.ofMu.Unlock()
	if k.unsaved = append(k.unsaved, node); len(k.unsaved) == 1 {
		fs.later(quiet, fs.saveKept)
	}
}

// saveKept writes what the last moments brought. What a crash takes from it is not worth
// waiting for.
func (fs *filesystem) saveKept() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for what, save := range map[string]func(*filesystem) error{"inode numbers": fs.numbers.save, "times": fs.times.save} {
		if err := save(fs); err != nil {
			fs.log.Error("keep "+what, "err", err)
			fs.later(keptRetry, fs.saveKept)
		}
	}
}

func (k *nodeRecords[V]) save(fs *filesystem) error {
	err := k.write(fs, k.unsaved)
	if err == nil {
		k.unsaved = nil
	}
	return err
}

func (k *nodeRecords[V]) write(fs *filesystem, nodes []crdt.NodeID) error {
	if len(nodes) == 0 {
		return nil
	}
	return fs.folder.UpdateAs(&origin{fs: fs}, func(tx *crdt.Tx) error {
		for len(nodes) > 0 {
			n := min(len(nodes), keptRecord)
			b := make([]byte, 0, n*(len(crdt.NodeID{})+k.size))
			for _, node := range nodes[:n] {
				b = k.put(append(b, node[:]...), k.of[node])
			}
			tx.SetLocal(k.record(k.next), b)
			nodes = nodes[n:]
			k.next++
		}
		return nil
	})
}

// record names a record, so that later ones come after.
func (k *nodeRecords[V]) record(n uint64) string { return fmt.Sprintf("%s%016x", k.prefix, n) }

// load reads the records, and writes them anew without the nodes that are gone when there
// are many.
func (k *nodeRecords[V]) load(fs *filesystem) error {
	k.of = map[crdt.NodeID]V{}
	var names []string
	var none V
	err := fs.folder.Locals(k.prefix, func(name string, b []byte) error {
		names = append(names, name)
		const id = len(crdt.NodeID{})
		for ; len(b) >= id+k.size; b = b[id+k.size:] {
			if node, v := crdt.NodeID(b[:id]), k.get(b[id:]); v != none {
				k.of[node] = v
			} else {
				delete(k.of, node)
			}
		}
		return nil
	})
	if err != nil || len(names) == 0 {
		return err
	}
	if _, err := fmt.Sscanf(names[len(names)-1], k.prefix+"%x", &k.next); err != nil {
		return fmt.Errorf("what is kept of files, %q: %w", names[len(names)-1], err)
	}
	k.next++
	if len(names) <= keptRecords {
		return nil
	}
	var nodes []crdt.NodeID
	for node := range k.of {
		if _, err := fs.folder.Get(node); err != nil {
			delete(k.of, node)
		} else {
			nodes = append(nodes, node)
		}
	}
	if len(nodes)/keptRecord >= len(names)/2 {
		return nil // they are full
	}
	if err := k.write(fs, nodes); err != nil {
		return err
	}
	return fs.folder.UpdateAs(&origin{fs: fs}, func(tx *crdt.Tx) error {
		for _, name := range names {
			tx.SetLocal(name, nil)
		}
		return nil
	})
}
