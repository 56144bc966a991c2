package fs

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A file's inode number is to stay what it was when the file was made: programs such
// as git take another number for another file and read it anew. A node has a number
// of its own (inoFor), but a file that is made here has a number before it has a node.
// Which nodes have such numbers is kept beside the folder, many in one record.

const (
	// madeBit marks numbers of files that were made on this device.
	madeBit = 1 << 62

	numbersPrefix  = "ino/"
	numbersRecord  = 2048 // nodes in one record at most
	numbersRecords = 32   // records that are left as they are when a folder is mounted
	numberSize     = 16 + 8
)

// numbers are the inode numbers of nodes that were files before. They are under
// filesystem.mu.
type numbers struct {
	of      map[crdt.NodeID]uint64
	unsaved []crdt.NodeID
	next    uint64 // the next record's
}

// newNumber is one that no other file has.
func newNumber() uint64 { return madeBit | rand.Uint64()>>3 }

// number is the inode number of a node. The caller holds filesystem.mu.
func (fs *filesystem) number(node crdt.NodeID, alt crdt.Version) uint64 {
	if n, ok := fs.numbers.of[node]; ok && alt == nil {
		return n
	}
	return fs.inoFor(node, alt)
}

// keepNumber makes the number that an inode shows its node's, from now on. The caller
// holds filesystem.mu.
func (fs *filesystem) keepNumber(in *inode) {
	x := &fs.numbers
	if in.ino&madeBit == 0 || x.of[in.node] == in.ino {
		return
	}
	x.of[in.node] = in.ino
	fs.numberChanged(in.node)
}

// dropNumber has a node get a number of its own, should it come back: the file that showed
// it is another node's from now on. The caller holds filesystem.mu.
func (fs *filesystem) dropNumber(node crdt.NodeID) {
	if _, ok := fs.numbers.of[node]; ok {
		delete(fs.numbers.of, node)
		fs.numberChanged(node)
	}
}

func (fs *filesystem) numberChanged(node crdt.NodeID) {
	x := &fs.numbers
	if x.unsaved = append(x.unsaved, node); len(x.unsaved) == 1 {
		fs.later(quiet, fs.saveNumbers)
	}
}

// saveNumbers keeps what the last moments brought. What a crash takes from it are numbers
// alone, so nothing waits for it.
func (fs *filesystem) saveNumbers() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.writeNumbers(fs.numbers.unsaved); err != nil {
		fs.log.Error("keep inode numbers", "err", err)
	}
	fs.numbers.unsaved = nil
}

func (fs *filesystem) writeNumbers(nodes []crdt.NodeID) error {
	if len(nodes) == 0 {
		return nil
	}
	x := &fs.numbers
	return fs.folder.UpdateAs(&origin{fs: fs}, func(tx *crdt.Tx) error {
		for len(nodes) > 0 {
			n := min(len(nodes), numbersRecord)
			b := make([]byte, 0, n*numberSize)
			for _, node := range nodes[:n] {
				b = binary.LittleEndian.AppendUint64(append(b, node[:]...), x.of[node])
			}
			tx.SetLocal(numbersName(x.next), b)
			nodes = nodes[n:]
			x.next++
		}
		return nil
	})
}

// numbersName names a record, so that later ones come after.
func numbersName(n uint64) string { return fmt.Sprintf("%s%016x", numbersPrefix, n) }

// loadNumbers reads the records, and writes them anew without the nodes that are gone
// when there are many.
func (fs *filesystem) loadNumbers() error {
	x := &fs.numbers
	x.of = map[crdt.NodeID]uint64{}
	var names []string
	err := fs.folder.Locals(numbersPrefix, func(name string, b []byte) error {
		names = append(names, name)
		for ; len(b) >= numberSize; b = b[numberSize:] {
			if node, n := crdt.NodeID(b[:16]), binary.LittleEndian.Uint64(b[16:]); n != 0 {
				x.of[node] = n
			} else { // it was dropped
				delete(x.of, node)
			}
		}
		return nil
	})
	if err != nil || len(names) == 0 {
		return err
	}
	if _, err := fmt.Sscanf(names[len(names)-1], numbersPrefix+"%x", &x.next); err != nil {
		return fmt.Errorf("inode numbers %q: %w", names[len(names)-1], err)
	}
	x.next++
	if len(names) <= numbersRecords {
		return nil
	}
	var nodes []crdt.NodeID
	for node := range x.of {
		if _, err := fs.folder.Get(node); err != nil {
			delete(x.of, node)
		} else {
			nodes = append(nodes, node)
		}
	}
	if len(nodes)/numbersRecord >= len(names)/2 {
		return nil // they are full
	}
	if err := fs.writeNumbers(nodes); err != nil {
		return err
	}
	return fs.folder.UpdateAs(&origin{fs: fs}, func(tx *crdt.Tx) error {
		for _, name := range names {
			tx.SetLocal(name, nil)
		}
		return nil
	})
}
