package crdt

import (
	"encoding/binary"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// Keys of the home's database. Those of a folder begin with "f/" and its id.
//
//	d                         the device's name
//	D                         the device's public key
//	R                         the Rules of the newest sheaf that has had the home
//	c                         set by an orderly close: where the home was
//	l/KEY                     a local setting
//	g/FOLDER                  the grant by which the folder is here
//	f/FOLDER e ORDER          an entry, in the order of arrival
//	f/FOLDER r ORDER          its record: what opening the folder needs of it
//	f/FOLDER i FEED SEQ HASH  where an entry is, and its lamport time
//	f/FOLDER t NODE EVENT     one event of a text
//	f/FOLDER w NODE EVENT SUM an operation that waits for a node, or an event of it
//	f/FOLDER z NODE           the size of a text at a version
//	f/FOLDER v                the rules of merging that those sizes are by: a DigestVersion
//	f/FOLDER d NODE           the digest of a text at a version
//	f/FOLDER u ORDER          an entry that takes a newer sheaf to read it
//	f/FOLDER p INDEX          an operation that is not yet in an entry
//	f/FOLDER P                the entry that they will be in
//	f/FOLDER a HASH           when an object came that a version had waited for
//	f/FOLDER x HASH           an object that expired
//	f/FOLDER k NAME           a local value that was stored with a change
//	f/FOLDER n NUMBER         a note for status
//	f/FOLDER s HASH           a ticket's secret
const (
	deviceNameKey = "d"
	deviceKey     = "D"
	rulesKey      = "R"
	cleanKey      = "c"
	settingPrefix = "l/"
	grantPrefix   = "g/"
	folderPrefix  = "f/"
)

func (f *Folder) key(kind byte, parts ...[]byte) []byte {
	k := make([]byte, 0, 3+len(f.id)+64)
	k = append(k, folderPrefix...)
	k = append(k, f.id[:]...)
	k = append(k, kind)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func (f *Folder) indexKey(id feed.ID, seq uint64, h Hash) []byte {
	return f.key('i', id.Device[:], be64(id.Run), be64(seq), h[:])
}

// feedKey is the prefix of the index keys of a feed.
func (f *Folder) feedKey(id feed.ID) []byte { return f.key('i', id.Device[:], be64(id.Run)) }

// headOfIndex reads an index key, without what is the same for all of a folder.
func headOfIndex(k []byte) feed.Head {
	return feed.Head{
		Feed: feed.ID{Device: Device(k[:32]), Run: binary.BigEndian.Uint64(k[32:])},
		Seq:  binary.BigEndian.Uint64(k[40:]), Hash: Hash(k[48:]),
	}
}

// located is the value of an index key.
type located struct{ order, lamport uint64 }

func (l located) encode() []byte { return append(be64(l.order), be64(l.lamport)...) }

func decodeLocated(b []byte) located {
	if len(b) != 16 {
		return located{}
	}
	return located{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}
