package fs

import (
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
	Path  string // in the folder
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
	mu   sync.Mutex
	at   time.Time
	last []LocalName
}

func (z *sizes) list(fs *filesystem) []LocalName {
	z.mu.Lock()
	defer z.mu.Unlock()
	if fresh := time.Since(z.at) < countEvery; fresh && len(z.last) == fs.shownLocals() {
		return slices.Clone(z.last)
	}
	z.last = nil
	end := time.Now().Add(countAtMost)
	for _, dir := range fs.locals.holders() {
		above := fs.pathOfNode(dir)
		for name, n := range fs.locals.list(dir) {
			if editorsOwn(name) {
				continue
			}
			l := LocalName{Path: join(above, name), Dir: n.mode == modeDir}
			l.count(fs.localPath(dir, name), end)
			if !IsLocal(name) {
				_, err := fs.folder.Lookup(dir, name)
				l.Hides = err == nil
			}
			z.last = append(z.last, l)
		}
	}
	slices.SortFunc(z.last, func(a, b LocalName) int { return strings.Compare(a.Path, b.Path) })
	z.at = time.Now()
	return slices.Clone(z.last)
}

// editorsOwn tells whether a name is one that an editor made for itself, and removes
// again.
func editorsOwn(name string) bool { return IsLocal(name) && name != ".git" }

func (fs *filesystem) shownLocals() (n int) {
	for _, dir := range fs.locals.holders() {
		for name := range fs.locals.list(dir) {
			if !editorsOwn(name) {
				n++
			}
		}
	}
	return n
}

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
