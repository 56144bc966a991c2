package fs

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// git changes many files of a working tree at once, and holds index.lock in its
// repository meanwhile. What changes then goes into one entry with HEAD in its
// label, and is undone as one. The devices tell each other their HEAD.

const (
	indexLock   = "index.lock"
	gitAtMost   = 10 * time.Second
	gitQuiet    = 500 * time.Millisecond // without a change for so long, others need not wait
	headSettles = 30 * time.Millisecond  // HEAD is moved after the index is written, mostly so soon
)

// gitWork is what git is doing in this folder.
type gitWork struct {
	mu    sync.Mutex
	dir   crdt.NodeID // the working tree
	lock  string      // index.lock
	label string      // when it began
	held  bool        // git holds the lock
	on    bool        // changes gather
	since time.Time
	last  time.Time // the last change
	asked bool      // a look at the heads is on its way
	told  map[crdt.NodeID]string
}

// gitMeans tells whether git tells us something by a name.
func gitMeans(name string) bool {
	return name == "HEAD" || strings.HasSuffix(name, ".lock")
}

// gitTouched is called when a name in a directory of this device came, went or
// changed. where is that directory.
func (fs *filesystem) gitTouched(where, name string) {
	dir, ok := fs.repositoryOf(where)
	if !ok {
		return
	}
	if name == indexLock {
		lock := filepath.Join(where, indexLock)
		if _, err := os.Lstat(lock); err == nil {
			fs.gitEnds(lock, false) // of the command before
			fs.gitBegins(dir, lock)
		} else {
			fs.gitLeft(lock)
		}
	}
	fs.git.mu.Lock()
	defer fs.git.mu.Unlock()
	if !fs.git.asked {
		fs.git.asked = true
		fs.later(3*headSettles, fs.tellHeads)
	}
}

// repositoryOf is the directory of the folder whose .git a real directory is in.
func (fs *filesystem) repositoryOf(where string) (dir crdt.NodeID, ok bool) {
	rel, err := filepath.Rel(fs.localRootDir, where)
	if err != nil {
		return dir, false
	}
	id, below, _ := strings.Cut(rel, "/")
	if below != ".git" && !strings.HasPrefix(below, ".git/") || len(id) != 2*len(dir) {
		return dir, false
	}
	_, err = hex.Decode(dir[:], []byte(id))
	return dir, err == nil
}

// gitBegins has changes gather. It is called before git's call returns.
func (fs *filesystem) gitBegins(dir crdt.NodeID, lock string) {
	g := &fs.git
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.on || fault.On("fs-git-in-pieces") {
		return
	}
	label := fs.gitLabel(dir)
	if err := fs.folder.Gather(crdt.NewActionID(), label, gitAtMost); err != nil {
		fs.log.Warn("gather what git changes", "err", err)
		return
	}
	now := time.Now()
	g.dir, g.lock, g.label, g.held, g.on, g.since, g.last = dir, lock, label, true, true, now, now
	fs.later(gitQuiet, func() { fs.gitLook(lock) })
}

// gitChanged notes that something changed meanwhile.
func (fs *filesystem) gitChanged() {
	fs.git.mu.Lock()
	defer fs.git.mu.Unlock()
	fs.git.last = time.Now()
}

// gitLeft has the gathering end, now that index.lock went.
func (fs *filesystem) gitLeft(lock string) {
	g := &fs.git
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.on || g.lock != lock {
		return
	}
	g.held = false
	until := time.Now().Add(gitQuiet)
	fs.later(headSettles, func() {
		fs.gitPublish(lock, false)
		fs.gitHead(lock, until)
	})
}

// gitHead ends the gathering once HEAD has moved. Where git changed files and HEAD stays, it
// may be about to move it on a slow machine.
func (fs *filesystem) gitHead(lock string, until time.Time) {
	g := &fs.git
	g.mu.Lock()
	wait := g.on && g.lock == lock && !g.held && g.last.After(g.since) && time.Now().Before(until) &&
		fs.gitLabel(g.dir) == g.label
	g.mu.Unlock()
	if wait {
		fs.later(headSettles, func() { fs.gitHead(lock, until) })
		return
	}
	fs.gitEnds(lock, false)
}

// gitLook ends the gathering where git is in no hurry: it may wait for a person who
// writes a message.
func (fs *filesystem) gitLook(lock string) {
	g := &fs.git
	g.mu.Lock()
	on := g.on && g.lock == lock
	over := time.Since(g.last) >= gitQuiet || time.Since(g.since) >= gitAtMost
	g.mu.Unlock()
	switch {
	case !on:
	case over:
		fs.gitEnds(lock, true)
	default:
		fs.later(gitQuiet/2, func() { fs.gitLook(lock) })
	}
}

// gitSettle ends the gathering now, unless git is at work.
func (fs *filesystem) gitSettle() {
	fs.git.mu.Lock()
	lock, on := fs.git.lock, fs.git.on
	fs.git.mu.Unlock()
	if on {
		fs.gitEnds(lock, false)
	}
}

// gitEnds publishes what git has written, and seals it with the rest; while git holds its
// lock only if held says so.
func (fs *filesystem) gitEnds(lock string, held bool) {
	if !fs.gitPublish(lock, held) {
		return
	}
	fs.tellHeads()
	g := &fs.git
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held && !held {
		return // since a moment ago
	}
	g.on, g.held = false, false
	if err := fs.folder.EndGather(fs.gitLabel(g.dir)); err != nil {
		fs.log.Error("seal what git changed", "err", err)
	}
}

// gitPublish publishes what git has written, unless the gathering ended or git holds its lock
// and held does not say that this does not matter. It tells whether it did.
func (fs *filesystem) gitPublish(lock string, held bool) bool {
	g := &fs.git
	g.mu.Lock()
	mine, top := g.on && g.lock == lock && (held || !g.held), g.dir
	g.mu.Unlock()
	if !mine {
		return false
	}
	fs.harvestAll()
	fs.mu.Lock()
	err := fs.settleBelow(top)
	fs.mu.Unlock()
	if err != nil {
		fs.log.Error("publish what git removed or renamed", "err", err)
	}
	return true
}

func (fs *filesystem) gitLabel(dir crdt.NodeID) string {
	label := "git"
	if path := fs.folder.Path(dir); path != "" {
		label += " in " + path
	}
	if head := readHead(fs.localPath(dir, ".git")); head != "" {
		label += ": " + head
	}
	return label
}

// tellHeads tells the other devices where HEAD is in each repository, if it moved.
func (fs *filesystem) tellHeads() {
	fs.git.mu.Lock()
	fs.git.asked = false
	fs.git.mu.Unlock()
	for _, dir := range fs.locals.holders() {
		if fs.locals.get(dir, ".git") == nil {
			continue
		}
		head := readHead(fs.localPath(dir, ".git"))
		fs.git.mu.Lock()
		same := fs.git.told[dir] == head
		fs.git.told[dir] = head
		fs.git.mu.Unlock()
		if same || head == "" {
			continue
		}
		if err := fs.folder.UpdateAs(&origin{fs: fs}, func(tx *crdt.Tx) error { return tx.SetHead(dir, head) }); err != nil && status(err) != fuse.ENOENT {
			fs.log.Warn("tell where HEAD is", "err", err)
		}
	}
}

var hashForm = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// readHead says which branch and commit a repository is at, such as "main 1a2b3c4";
// "" where it has no HEAD.
func readHead(git string) string {
	text, err := readSmall(filepath.Join(git, "HEAD"))
	if err != nil {
		return ""
	}
	ref, ok := strings.CutPrefix(text, "ref: ")
	if !ok {
		if !hashForm.MatchString(text) {
			return ""
		}
		return "detached " + text[:7]
	}
	if !filepath.IsLocal(ref) || strings.ContainsFunc(ref, func(r rune) bool { return r < ' ' }) || len(ref) > 200 {
		return ""
	}
	branch := strings.TrimPrefix(ref, "refs/heads/")
	if hash := readRef(git, ref); hash != "" {
		return branch + " " + hash[:7]
	}
	return branch + " (no commit)"
}

func readRef(git, ref string) string {
	if text, err := readSmall(filepath.Join(git, ref)); err == nil && hashForm.MatchString(text) {
		return text
	}
	packed, err := os.ReadFile(filepath.Join(git, "packed-refs"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(packed)) {
		if hash, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref && hashForm.MatchString(hash) {
			return hash
		}
	}
	return ""
}

// readSmall reads the first line of a file of a few bytes.
func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, 1024)
	n, err := f.Read(b)
	if n == 0 && err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	return strings.TrimSpace(line), nil
}
