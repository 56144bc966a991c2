package fs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// SQLite keeps what is under way in files beside a database. They mean nothing on
// another device, and the database means nothing without them: so they stay here,
// and as long as one of them holds anything the database is neither published nor
// replaced by another device's. What its programs leave then is one version.

const sqliteMagic = "SQLite format 3\x00"

var sides = []string{"-wal", "-shm", "-journal"}

// databaseOf is the name of the database that a name would be a side file of.
func databaseOf(name string) (string, bool) {
	for _, s := range sides {
		if base, ok := strings.CutSuffix(name, s); ok && base != "" {
			return base, true
		}
	}
	return "", false
}

// besideDatabase tells whether a name is that of a side file: what it is named
// after is there, and is a database or still empty. The caller holds filesystem.mu.
func (fs *filesystem) besideDatabase(dir crdt.NodeID, name string) bool {
	base, ok := databaseOf(name)
	if !ok {
		return false
	}
	if fs.locals.get(dir, base) != nil {
		return true
	}
	p := place{dir, base}
	in := fs.over[p]
	if in == nil {
		if fs.waits[p] != nil {
			return false
		}
		info, err := fs.folder.Lookup(dir, base)
		if err != nil || info.Kind != crdt.File || info.Alt {
			return false
		}
		if in = fs.nodes[key(info.Node, nil)]; in == nil {
			return info.Size == 0 || info.Object != nil && isDatabase(fs.home.Objects().Path([32]byte(info.Object.Hash)))
		}
	}
	if in.kind != crdt.File {
		return false
	}
	head, _, err := fs.peek(in, len(sqliteMagic))
	return err == nil && (head == "" || head == sqliteMagic)
}

func isDatabase(path string) bool {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	head := make([]byte, len(sqliteMagic))
	n, err := preadFull(fd, head, 0)
	return err == nil && string(head[:n]) == sqliteMagic
}

// BesideDatabase reports whether path is that of a side file of an ordinary directory: what it
// is named after is there, and is a database or still empty.
func BesideDatabase(path string) bool {
	base, ok := databaseOf(path)
	if !ok {
		return false
	}
	st, err := os.Lstat(base)
	return err == nil && st.Mode().IsRegular() && (st.Size() == 0 || isDatabase(base))
}

// Underway reports whether a file of an ordinary directory is a database that waits for what
// is beside it: it means nothing on another device as it is.
func Underway(path string) bool {
	return slices.ContainsFunc(sides, func(s string) bool { return holdsAnything(path + s) }) && isDatabase(path)
}

// underway tells whether a database waits for what is beside it. The caller holds
// in.mu.
func (fs *filesystem) underway(in *inode) bool {
	fs.locals.mu.RLock()
	none := fs.locals.sides == 0
	fs.locals.mu.RUnlock()
	if none || fault.On("fs-publish-journaled") || in.kind != crdt.File || in.alt != nil {
		return false
	}
	dir, name := crdt.NodeID{}, in.name
	switch {
	case in.parent != nil:
		dir = in.parent.node
	case in.bound:
		p, ok := fs.folder.LastPlace(in.node)
		if !ok {
			return false
		}
		dir, name = p.Dir, p.Name
	default:
		return false
	}
	for _, s := range sides {
		if fs.locals.get(dir, name+s) != nil && holdsAnything(fs.localPath(dir, name+s)) {
			return true
		}
	}
	return false
}

// holdsAnything tells whether a side file is in use: SQLite may leave one empty,
// or with its head wiped, when it is done.
func holdsAnything(path string) bool {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	head := make([]byte, 8)
	n, err := preadFull(fd, head, 0)
	if strings.HasSuffix(path, "-shm") {
		return n > 0
	}
	return err == nil && n == len(head) && string(head) != strings.Repeat("\x00", len(head))
}

// sideGone publishes a database that waited for a side file, and shows what came
// from elsewhere meanwhile. It runs on the queue.
func (fs *filesystem) sideGone(dir crdt.NodeID, name string) {
	base, ok := databaseOf(name)
	if !ok {
		return
	}
	fs.mu.RLock()
	in := fs.over[place{dir, base}]
	if in == nil {
		if info, err := fs.folder.Lookup(dir, base); err == nil {
			in = fs.nodes[key(info.Node, nil)]
		}
	}
	fs.mu.RUnlock()
	if in == nil {
		return
	}
	in.mu.Lock()
	s := in.sess
	switch {
	case s == nil || !s.dirty:
		if in.stale {
			fs.refreshIn(in, 0)
		}
	case !in.bound:
		in.mu.Unlock()
		fs.ripen(in)
		return
	case in.active == 0:
		if err := fs.publish(in); err != nil {
			fs.log.Error("publish a database", "path", s.Path, "err", err)
		}
	}
	in.mu.Unlock()
}

// waitsForSides tells whether a write session that a process left is that of a
// database with something beside it: it is not to be published, but gone on with.
func (fs *filesystem) waitsForSides(r record) bool {
	if r.Kind != sessionRecord || r.Truncated || r.Appended {
		return false
	}
	in := &inode{kind: crdt.File, node: r.Node, bound: r.Node != crdt.NodeID{}}
	if !in.bound {
		in.parent, in.name = &inode{node: r.Parent}, r.Name
	}
	return fs.underway(in)
}

// goOn takes up the sessions of such databases in a new mount.
func (fs *filesystem) goOn() error {
	for _, r := range fs.journal.records() {
		if !fs.waitsForSides(r) {
			continue
		}
		if err := fs.goOnWith(r); err != nil {
			return fmt.Errorf("go on with %s: %w", r.Path, err)
		}
	}
	return nil
}

func (fs *filesystem) goOnWith(r record) error {
	switch err := fs.toFile(&r); {
	case errors.Is(err, errAdrift):
		if err = fs.recoverAdrift(r); err == nil {
			err = fs.journal.drop(r.ID)
		}
		return err
	case err != nil:
		return err
	}
	fd, err := syscall.Open(fs.journal.path(r.ID), syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err == syscall.ENOENT {
		return fs.journal.drop(r.ID)
	}
	if err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		syscall.Close(fd)
		return err
	}
	mtime := time.Unix(st.Mtim.Unix())
	s := &session{record: r, fd: fd, readOnly: -1, writer: fs.resolver.see(0, true, nil), begun: mtime, since: mtime, last: mtime, mtime: mtime,
		size: st.Size, dirty: true, wrote: true, closed: time.Now()}
	in, err := fs.inodeOf(r)
	if err != nil {
		syscall.Close(fd)
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := fs.load(in); err != nil {
		syscall.Close(fd)
		return err
	}
	in.sess = s
	if in.bound {
		fs.watch(in, s)
	} else {
		fs.ripen(in)
	}
	return nil
}

// inodeOf makes the inode of a record's file.
func (fs *filesystem) inodeOf(r record) (*inode, error) {
	if (r.Node != crdt.NodeID{}) {
		info, err := fs.folder.Get(r.Node)
		if err != nil {
			return nil, err
		}
		return fs.inodeFor(info), nil
	}
	dir, err := fs.folder.Get(r.Parent)
	if err != nil {
		return nil, err
	}
	in := fs.add(&inode{kind: crdt.File})
	in.mu.Lock()
	defer in.mu.Unlock()
	in.draft.mode, in.loaded = r.Mode, true
	fs.put(in, fs.inodeFor(dir), r.Name)
	return in, nil
}
