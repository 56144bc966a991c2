package plain

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/sheaf-fs/sheaf/crdt"
)

// record is what the directory and the folder last agreed on about one name.
type record struct {
	Parent  crdt.NodeID  `cbor:"1,keyasint"`
	Name    string       `cbor:"2,keyasint"`
	Node    crdt.NodeID  `cbor:"3,keyasint"`
	Kind    crdt.Kind    `cbor:"4,keyasint"`
	Alt     bool         `cbor:"5,keyasint,omitempty"` // a version shown beside its file
	Mode    uint32       `cbor:"6,keyasint"`
	Target  string       `cbor:"7,keyasint,omitempty"` // of a symlink
	Version crdt.Version `cbor:"8,keyasint,omitempty"` // of what the file holds

	// Next is what the file is about to hold: after a crash it may be either.
	Next crdt.Version `cbor:"9,keyasint,omitempty"`
	// Read is the newest version that somebody here may have read, where that
	// is not Version, because nobody has since it came: the access time is
	// still the one that was set.
	Read   crdt.Version `cbor:"10,keyasint,omitempty"`
	Unread bool         `cbor:"11,keyasint,omitempty"`
	Atime  int64        `cbor:"12,keyasint,omitempty"` // as it was set, ns

	// Kept is a directory that was removed elsewhere and stays for the names in
	// it that are this device's own.
	Kept bool `cbor:"13,keyasint,omitempty"`

	Stat stat `cbor:"14,keyasint"`
}

// entry is a record in its place.
type entry struct {
	record
	parent   *entry
	children map[string]*entry // of a directory
	saved    time.Time         // when it was last saved here
	held     time.Time         // until when a change waits, of a file written by turns
}

const recordPrefix = "plain/"

// key is the name of an entry's record.
func (e *entry) key() string { return fmt.Sprintf("%s%s/%s", recordPrefix, e.parent.Node, e.Name) }

// path is relative to the directory; "" is the directory.
func (e *entry) path() string {
	if e.parent == nil {
		return ""
	}
	return path.Join(e.parent.path(), e.Name)
}

func (e *entry) depth() int {
	n := 0
	for ; e.parent != nil; e = e.parent {
		n++
	}
	return n
}

// attached reports whether an entry is in the table.
func (e *entry) attached() bool {
	for ; e.parent != nil; e = e.parent {
		if e.parent.children[e.Name] != e {
			return false
		}
	}
	return true
}

// below reports whether e is in the directory d, however deep.
func (e *entry) below(d *entry) bool {
	for ; e != nil; e = e.parent {
		if e == d {
			return true
		}
	}
	return false
}

// add puts an entry into its parent's directory.
func (t *table) add(parent *entry, r record) *entry {
	r.Parent = parent.Node
	e := &entry{record: r, parent: parent}
	if r.Kind == crdt.Dir {
		e.children = map[string]*entry{}
	}
	parent.children[r.Name] = e
	t.name(e)
	t.index(e)
	return e
}

// name makes an entry known by its node.
func (t *table) name(e *entry) {
	if !e.Alt && e.Node != (crdt.NodeID{}) {
		t.nodes[e.Node] = e
	}
}

func (t *table) unname(e *entry) {
	if t.nodes[e.Node] == e {
		delete(t.nodes, e.Node)
	}
}

func (t *table) index(e *entry) {
	if e.Stat.Ino != 0 {
		t.inos[e.Stat.id()] = e
	}
}

// drop takes an entry, and what is in it, off the table.
func (t *table) drop(e *entry) {
	for _, c := range e.children {
		t.drop(c)
	}
	if e.parent != nil && e.parent.children[e.Name] == e {
		delete(e.parent.children, e.Name)
	}
	t.unname(e)
	if t.inos[e.Stat.id()] == e {
		delete(t.inos, e.Stat.id())
	}
}

// table holds every record of a directory.
type table struct {
	root  *entry
	nodes map[crdt.NodeID]*entry
	inos  map[fileID]*entry // by the file on the disk
}

// loadTable reads the records. What lost its directory, because a crash came
// between, is forgotten: it is found again on the disk and in the folder.
func loadTable(f *crdt.Folder) (*table, error) {
	in := map[crdt.NodeID][]record{}
	err := f.Locals(recordPrefix, func(name string, value []byte) error {
		var r record
		if err := cbor.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("record %s: %w", strings.TrimPrefix(name, recordPrefix), err)
		}
		in[r.Parent] = append(in[r.Parent], r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tableOf(in), nil
}

// tableOf puts records, by the directory they are in, into their places.
func tableOf(in map[crdt.NodeID][]record) *table {
	t := &table{nodes: map[crdt.NodeID]*entry{}, inos: map[fileID]*entry{}}
	t.root = &entry{record: record{Node: crdt.Root, Kind: crdt.Dir}, children: map[string]*entry{}}
	t.nodes[crdt.Root] = t.root
	dirs := map[crdt.NodeID]bool{crdt.Root: true}
	for queue := []*entry{t.root}; len(queue) > 0; queue = queue[1:] {
		for _, r := range in[queue[0].Node] {
			if r.Kind == crdt.Dir {
				if dirs[r.Node] { // in two places, or in itself: no record of ours says so
					continue
				}
				dirs[r.Node] = true
			}
			if e := t.add(queue[0], r); e.children != nil {
				queue = append(queue, e)
			}
		}
	}
	return t
}

// keep stores an entry's record with the transaction.
func keep(tx *crdt.Tx, e *entry) {
	b, err := cbor.Marshal(e.record)
	if err != nil {
		panic(err) // a struct of plain fields
	}
	tx.SetLocal(e.key(), b)
}

// forget removes the records of an entry and of what is in it.
func forget(tx *crdt.Tx, e *entry) {
	for _, c := range e.children {
		forget(tx, c)
	}
	tx.SetLocal(e.key(), nil)
}
