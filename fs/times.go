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
	says         uint64 // a hash of what the folder said
	mtime, ctime int64
}

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
	h := fnv.New64a()
	for _, id := range info.Version {
		h.Write(id[:])
	}
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
	return h.Sum64()
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
	mtime := info.Mtime
	switch {
	case in.kind == crdt.File:
		_, mtime = in.sizeAndTime(info)
	case in.kind == crdt.Dir && !in.mtime.IsZero(), in.kind == crdt.Symlink && in.dates(info):
		mtime = in.mtime
	}
	ctime := in.ctime(mtime)
	var t times
	if mtime != info.Mtime || ctime != info.Mtime {
		t = times{fs.says(info), mtime.UnixNano(), ctime.UnixNano()}
	}
	fs.times.set(fs, in.node, t)
}

// recallTimes gives a new inode what was kept of its node. The caller holds filesystem.mu, and not in.mu.
func (fs *filesystem) recallTimes(in *inode, info crdt.Info) {
	t, ok := fs.times.of[in.node]
	if !ok || in.alt != nil || t.says != fs.says(info) {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.touch = time.Unix(0, t.ctime)
	mtime := time.Unix(0, t.mtime)
	switch {
	case in.kind != crdt.File:
		in.mtime = mtime
	case !mtime.Equal(info.Mtime):
		in.dated = &shown{slices.Clone(info.Version), info.Size, mtime, info.Object == nil}
	}
}

// dates tells whether a symlink shows a time that was kept of it. The caller holds in.mu.
func (in *inode) dates(info crdt.Info) bool { return !info.MtimeSet && !in.mtime.IsZero() }

// ctime is when a file that has this mtime was last touched. The caller holds in.mu.
func (in *inode) ctime(mtime time.Time) time.Time {
	if in.touch.After(mtime) || !in.touch.IsZero() && mtime.After(time.Now()) {
		return in.touch
	}
	return mtime
}
