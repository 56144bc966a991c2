package fs

import (
	"encoding/binary"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Owners are this device's: a number means another person elsewhere. Everything
// belongs to who mounted the folder until a program here says otherwise, by
// chown or by making a name as somebody else. So are the set-ID bits, which give
// an owner's rights away: those of a peer count for nothing. What was said is
// kept beside the folder, a record a node, and outlives restarts.

const (
	ownersMark  = "owners" // set once any node has a record
	ownerPrefix = "owner/"

	setID    = syscall.S_ISUID | syscall.S_ISGID
	modeBits = 0o1777 // of a mode, what is shared
)

// newOwner is whose a name is that a program makes in dir: its own, but for the
// group in a set-group-ID directory; bits is what makes a directory such a one
// in turn.
func newOwner(dir *inode, by fuse.Owner) (o fuse.Owner, bits uint32) {
	dir.mu.Lock()
	defer dir.mu.Unlock()
	if dir.bits&syscall.S_ISGID != 0 {
		return fuse.Owner{Uid: by.Uid, Gid: dir.owner.Gid}, syscall.S_ISGID
	}
	return by, 0
}

// loadOwner sets the owner and set-ID bits of an inode that shows a node.
func (fs *filesystem) loadOwner(in *inode) {
	in.owner = fs.owner
	if !fs.owners.Load() || in.alt != nil {
		return
	}
	b, err := fs.folder.Local(ownerPrefix + in.node.String())
	if err != nil {
		fs.log.Warn("owner of a file", "path", fs.folder.Path(in.node), "err", err)
	}
	fs.setOwner(in, b)
}

// keepOwner records the owner and set-ID bits of a bound inode, where they differ
// from what is on record. The caller holds in.mu.
func (fs *filesystem) keepOwner(in *inode) error {
	b := fs.ownerRecord(in)
	if !fs.owners.Load() && b == nil {
		return nil
	}
	name := ownerPrefix + in.node.String()
	old, err := fs.folder.Local(name)
	if err != nil || string(old) == string(b) {
		return err
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

// ownerRecord is nil for what everything has: uid, gid and set-ID bits otherwise.
func (fs *filesystem) ownerRecord(in *inode) []byte {
	if in.owner == fs.owner && in.bits == 0 {
		return nil
	}
	b := binary.LittleEndian.AppendUint32(nil, in.owner.Uid)
	b = binary.LittleEndian.AppendUint32(b, in.owner.Gid)
	return binary.LittleEndian.AppendUint32(b, in.bits)
}

// setOwner takes up what ownerRecord gave.
func (fs *filesystem) setOwner(in *inode, b []byte) {
	if in.owner = fs.owner; len(b) == 12 {
		in.owner = fuse.Owner{Uid: binary.LittleEndian.Uint32(b), Gid: binary.LittleEndian.Uint32(b[4:])}
		in.bits = binary.LittleEndian.Uint32(b[8:]) & setID
	}
}
