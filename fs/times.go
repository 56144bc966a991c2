package fs

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// What stat shows of a file that nothing happened to is the same after a restart: git, make
// and backup programs take another time for another content. The folder knows when a change
// became part of it; when a program here wrote, renamed or made it so, the mount knows. It is
// kept once the kernel lets go of a file, or the folder is unmounted in an orderly way.

const timesPrefix = "times/"

// times are what stat showed of a node, in ns since 1970, as long as the folder says the same.
type times struct {
	says         uint64 // a hash of what the folder said, its upper half of the version
	mtime, ctime int64
}

// isOf tells whether they are of a version: two in 2^32 count as one.
func (t times) isOf(v crdt.Version) bool { return t.says>>32 == saysOf(v) }

func newTimes() nodeRecords[times] {
	return nodeRecords[times]{prefix: timesPrefix, size: 24,
		put: func(b []byte, t times) []byte {
			b = binary.LittleEndian.AppendUint64(b, t.says)
			b = binary.LittleEndian.AppendUint64(b, uint64(t.mtime))
			return binary.LittleEndian.AppendUint64(b, uint64(t.ctime))
		},
		get: func(b []byte) times {
			return times{binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))}
		},
	}
}

// says hashes what the times of a node go by: of a directory, what is in it.
func (fs *filesystem) says(info crdt.Info) uint64 {
	h := fnv.New32a()
	if info.MtimeSet { // else it is when the change became part of the folder, which sealing moves
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(info.Mtime.UnixNano())))
	}
	h.Write(binary.LittleEndian.AppendUint32(nil, info.Mode))
	h.Write(info.Parent[:])
	h.Write([]byte(info.Name))
	if info.Kind == crdt.Dir {
		list, err := fs.folder.ReadDir(info.Node)
		if err != nil {
			return 0
		}
		for _, i := range list {
			h.Write(append([]byte(i.Name), 0))
			h.Write(i.Node[:])
		}
	}
	return saysOf(info.Version)<<32 | uint64(h.Sum32())
}

// saysOf hashes a version to 32 bits.
func saysOf(v crdt.Version) uint64 {
	h := fnv.New32a()
	for _, id := range v {
		h.Write(id[:])
	}
	return uint64(h.Sum32())
}

// keepTimes keeps what stat shows of an inode that is about to go. The caller holds
// filesystem.mu and in.mu.
func (fs *filesystem) keepTimes(in *inode) {
	if !in.bound || in.gone || in.alt != nil || in.special != nil || in.isRemains() || in.sess != nil {
		return
	}
	info, err := fs.folder.Get(in.node)
	if err != nil || (in.loaded || in.cached) && in.kind == crdt.File && !in.shows().Equal(info.Version) {
		return
	}
	mtime := fs.timeOfName(in, info)
	if in.kind == crdt.File {
		_, mtime = fs.sizeAndTime(in, info)
	}
	ctime := fs.ctime(in, mtime)
	var t times
	if !mtime.Equal(info.Mtime) || !ctime.Equal(info.Mtime) {
		t = times{fs.says(info), mtime.UnixNano(), ctime.UnixNano()}
	}
	fs.times.set(fs, in.node, t)
}

// recallTimes has a new inode show what was kept of its node. The caller holds filesystem.mu, and
// nobody else knows the inode.
func (fs *filesystem) recallTimes(in *inode, info crdt.Info) {
	t, ok := fs.times.of[in.node]
	in.recalled = ok && in.alt == nil && t.says == fs.says(info)
}

// recalls is what an inode shows where its view says nothing of times. Most files that are looked
// at after a restart have such times and nothing else: they need no view for them. The caller
// holds in.mu.
func (fs *filesystem) recalls(in *inode) (t times, ok bool) {
	if in.recalled {
		t, ok = fs.times.known(in.node)
	}
	return t, ok
}

// ownTimes moves what was kept of a node into the view, before its times become others. The
// caller holds in.mu.
func (fs *filesystem) ownTimes(in *inode) {
	t, ok := fs.recalls(in)
	if !ok {
		return
	}
	in.recalled = false
	if in.touch.IsZero() {
		in.touch = time.Unix(0, t.ctime)
	}
	info, err := fs.folder.Get(in.node)
	switch {
	case in.kind != crdt.File && in.mtime.IsZero():
		in.mtime = time.Unix(0, t.mtime)
	case in.kind == crdt.File && in.dated == nil && err == nil && t.isOf(info.Version):
		in.dated = &shown{slices.Clone(info.Version), info.Size, time.Unix(0, t.mtime), info.Object == nil}
	}
}

// timeOf is the time that is shown with a version of a file whose content came at t. The caller
// holds in.mu.
func (fs *filesystem) timeOf(in *inode, v crdt.Version, t time.Time) time.Time {
	switch {
	case in.saved && in.savedVersion.Equal(v):
		return in.savedMtime
	case in.dated != nil && in.dated.version.Equal(v):
		return in.dated.mtime
	}
	if k, ok := fs.recalls(in); ok && k.isOf(v) {
		return time.Unix(0, k.mtime)
	}
	return t
}

// timeOfName is the time that is shown of a directory or symlink. The caller holds in.mu.
func (fs *filesystem) timeOfName(in *inode, info crdt.Info) time.Time {
	if in.kind == crdt.Symlink && info.MtimeSet {
		return info.Mtime
	}
	if !in.mtime.IsZero() {
		return in.mtime
	}
	if t, ok := fs.recalls(in); ok {
		return time.Unix(0, t.mtime)
	}
	return info.Mtime
}

// ctime is when a file that has this mtime was last touched. The caller holds in.mu.
func (fs *filesystem) ctime(in *inode, mtime time.Time) time.Time {
	touch := in.touch
	if t, ok := fs.recalls(in); ok && touch.IsZero() {
		touch = time.Unix(0, t.ctime)
	}
	if touch.After(mtime) || !touch.IsZero() && mtime.After(time.Now()) {
		return touch
	}
	return mtime
}
