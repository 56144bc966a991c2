package fs

import (
	"encoding/binary"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Owners are this device's: a number means another person elsewhere. Everything
// belongs to who mounted the folder until a program here says otherwise, by
// chown or by making a name as somebody else. What was said is kept beside the
// folder, a record a node, and outlives restarts.

const (
	ownersMark  = "owners" // set once any node has an owner of its own
	ownerPrefix = "owner/"
)

// newOwner is whose a name is that a program makes in dir: its own, but for the
// group in a set-group-ID directory; bits is what makes a directory such a one
// in turn. It is not to be called in an update of the folder.
func (fs *filesystem) newOwner(dir *inode, by fuse.Owner) (o fuse.Owner, bits uint32) {
	if info, err := fs.folder.Get(dir.node); err == nil && info.Mode&syscall.S_ISGID != 0 {
		return fuse.Owner{Uid: by.Uid, Gid: dir.owner.Gid}, syscall.S_ISGID
	}
	return by, 0
}

// loadOwner sets the owner of an inode that shows a node.
func (fs *filesystem) loadOwner(in *inode) {
	in.owner = fs.owner
	if !fs.owners.Load() || in.alt != nil {
		return
	}
	b, err := fs.folder.Local(ownerPrefix + in.node.String())
	if err != nil {
		fs.log.Warn("owner of a file", "path", fs.folder.Path(in.node), "err", err)
	}
	if len(b) == 8 {
		in.owner = decodeOwner(b)
	}
}

// keepOwner records the owner of a bound inode, where that differs from what is
// on record.
func (fs *filesystem) keepOwner(in *inode) error {
	if !fs.owners.Load() && in.owner == fs.owner {
		return nil
	}
	name := ownerPrefix + in.node.String()
	old, err := fs.folder.Local(name)
	if err != nil {
		return err
	}
	b := encodeOwner(in.owner, fs.owner)
	if string(old) == string(b) {
		return nil
	}
	err = fs.update(func(tx *crdt.Tx) error {
		tx.SetLocal(name, b)
		tx.SetLocal(ownersMark, []byte{1})
		return nil
	})
	if err == nil {
		fs.owners.Store(true)
	}
	return err
}

func decodeOwner(b []byte) fuse.Owner {
	return fuse.Owner{Uid: binary.LittleEndian.Uint32(b), Gid: binary.LittleEndian.Uint32(b[4:])}
}

// encodeOwner is nil for the owner that everything has.
func encodeOwner(o, everybody fuse.Owner) []byte {
	if o == everybody {
		return nil
	}
	b := binary.LittleEndian.AppendUint32(nil, o.Uid)
	return binary.LittleEndian.AppendUint32(b, o.Gid)
}
