package fs

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A file's inode number is to stay what it was when the file was made: programs such
// as git take another number for another file and read it anew. A node has a number
// of its own (inoFor), but a file that is made here has a number before it has a node,
// and one that took another's place by a rename has that of the node it was.

const (
	// madeBit marks numbers of files that were made on this device.
	madeBit = 1 << 62

	numbersPrefix = "ino/"
)

// numbers are the inode numbers of nodes that were other files before. They are under
// filesystem.mu.
type numbers struct {
	nodeRecords[uint64]
	taken map[uint64]crdt.NodeID // who has a number that was another node's own
}

func newNumbers() numbers {
	return numbers{nodeRecords[uint64]{prefix: numbersPrefix, size: 8, put: binary.LittleEndian.AppendUint64, get: binary.LittleEndian.Uint64},
		map[uint64]crdt.NodeID{}}
}

func (x *numbers) load(fs *filesystem) error {
	if err := x.nodeRecords.load(fs); err != nil {
		return err
	}
	for node, n := range x.of {
		if n&madeBit == 0 {
			x.taken[n] = node
		}
	}
	return nil
}

// newNumber is one that no other file has.
func newNumber() uint64 { return madeBit | rand.Uint64()>>3 }

// number is the inode number of a node. The caller holds filesystem.mu.
func (fs *filesystem) number(node crdt.NodeID, alt crdt.Version) uint64 {
	if alt != nil {
		return fs.inoFor(node, alt)
	}
	x := &fs.numbers
	if n, ok := x.of[node]; ok {
		return n
	}
	n := fs.inoFor(node, nil)
	if by, ok := x.taken[n]; ok && by != node {
		n = newNumber()
		x.set(fs, node, n)
	}
	return n
}

// keepNumber makes the number that an inode shows its node's, from now on. The caller
// holds filesystem.mu.
func (fs *filesystem) keepNumber(in *inode) {
	x := &fs.numbers
	if n, ok := x.of[in.node]; ok && n == in.ino || !ok && in.ino == fs.inoFor(in.node, nil) {
		return
	}
	if in.ino&madeBit == 0 {
		x.taken[in.ino] = in.node
	}
	x.set(fs, in.node, in.ino)
}

// dropNumber has a node get a number of its own, should it come back: the file that showed
// it is another node's from now on. The caller holds filesystem.mu.
func (fs *filesystem) dropNumber(node crdt.NodeID) { fs.numbers.set(fs, node, 0) }
