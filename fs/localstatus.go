package fs

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// LocalName is something in a mount that only this device has.
type LocalName struct {
	Path  string // in the folder; for names that a tag keeps here (localtag.go), the directory with the tag
	Dir   bool
	Files int   // in it, 1 for a file
	Size  int64 // bytes of these
	More  bool  // it holds more than was counted in time
	Hides bool  // others share something of that name, which is not shown here
}

// LocalNames lists what stays on this device, by path. Counting takes a moment the first
// time and after changes; it is bounded, and done at most every few seconds.
func (s *Server) LocalNames() []LocalName { return s.fs.sizes.list(s.fs) }

// Held lists the databases that wait for what SQLite keeps beside them.
func (s *Server) Held() []string {
	var out []string
	fs := s.fs
	for _, dir := range fs.locals.holders() {
		seen := map[string]bool{}
		for name := range fs.locals.list(dir) {
			base, ok := databaseOf(name)
			if ok && !seen[base] && holdsAnything(fs.localPath(dir, name)) {
				seen[base] = true
				out = append(out, join(fs.folder.Path(dir), base))
			}
		}
	}
	slices.Sort(out)
	return out
}

const (
	countAtMost = 500 * time.Millisecond // for all of a folder
	countEvery  = 3 * time.Second
)

// sizes remembers what was counted.
type sizes struct {
	mu      sync.Mutex
	at      time.Time
	changes uint64
	last    []LocalName
}

func (z *sizes) list(fs *filesystem) []LocalName {
	z.mu.Lock()
	defer z.mu.Unlock()
	changes := fs.locals.changes.Load()
	if changes == z.changes && time.Since(z.at) < countEvery {
		return slices.Clone(z.last)
	}
	byPath := map[string]*LocalName{}
	end := time.Now().Add(countAtMost)
	for _, dir := range fs.locals.holders() {
		above, tagged := fs.pathOfNode(dir), fs.taggedPath(dir)
		for name, n := range fs.locals.list(dir) {
			if editorsOwn(name) {
				continue
			}
			at, isDir := join(above, name), n.mode == modeDir
			if tagged != "" && !IsLocal(name) {
				at, isDir = tagged, true
			}
			l := byPath[at]
			if l == nil {
				l = &LocalName{Path: at, Dir: isDir}
				byPath[at] = l
			}
			l.count(fs.localPath(dir, name), end)
			if !IsLocal(name) {
				_, err := fs.folder.Lookup(dir, name)
				l.Hides = l.Hides || err == nil
			}
		}
	}
	z.last = z.last[:0]
	for _, at := range slices.Sorted(maps.Keys(byPath)) {
		z.last = append(z.last, *byPath[at])
	}
	z.at, z.changes = time.Now(), changes
	return slices.Clone(z.last)
}

// taggedPath is the path of the directory whose tag keeps here what is made in dir:
// dir or one above it, "" for none.
func (fs *filesystem) taggedPath(dir crdt.NodeID) string {
	dirs := fs.spotOf(dir).dirs
	if i, ok := fs.locals.tagged(dirs); ok {
		return fs.pathOfNode(dirs[i])
	}
	return ""
}

// editorsOwn tells whether a name is one that an editor made for itself, and removes
// again.
func editorsOwn(name string) bool { return IsLocal(name) && name != ".git" }

func (l *LocalName) count(path string, end time.Time) {
	filepath.WalkDir(path, func(_ string, e os.DirEntry, err error) error {
		if time.Now().After(end) {
			l.More = true
			return filepath.SkipAll
		}
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			l.Files++
			l.Size += info.Size()
		}
		return nil
	})
}

// pathOfNode is where a directory is shown, also one that was removed elsewhere.
func (fs *filesystem) pathOfNode(dir crdt.NodeID) string {
	var names []string
	for dir != crdt.Root && len(names) < maxDepth {
		p, ok := fs.folder.LastPlace(dir)
		if !ok {
			break
		}
		names = append(names, p.Name)
		dir = p.Dir
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

const modeDir = 0o040000
