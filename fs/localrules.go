package fs

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/fs/ignore"
)

// Which names stay on this device is decided when they are made, in this order:
//
//  1. names that are never shared (IsLocal), and whatever is under them;
//  2. the rules of this device, which it keeps in its home: they exclude, or share
//     what follows would exclude;
//  3. .sheafignore files, shared as any file: they only exclude, never themselves;
//  4. build folders with proof, since they can be made again;
//  5. what SQLite keeps beside a database (databases.go).
//
// A name that exists stays what it is.

// ignoreName is the name of files with shared rules.
const ignoreName = ".sheafignore"

// Names of files by which a directory says that its content can be made again.
const (
	cacheTag = "CACHEDIR.TAG"
	venvTag  = "pyvenv.cfg"
)

const cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"

func isTag(name string) bool { return name == cacheTag || name == venvTag }

// proves tells whether a file of this name and content makes its directory one
// that can be made again.
func proves(name, content string) bool {
	switch name {
	case cacheTag:
		return strings.HasPrefix(content, cacheSignature)
	case venvTag:
		for l := range strings.Lines(content) {
			key, _, ok := strings.Cut(l, "=")
			if ok && strings.TrimSpace(key) == "home" {
				return true
			}
		}
	}
	return false
}

// buildFolders are names of directories that a file beside them explains; no
// file: the name alone does.
var buildFolders = map[string][]string{
	"target":       {"Cargo.toml", "pom.xml"},
	"node_modules": {"package.json"},
	"__pycache__":  nil,
}

// What decides for a plain directory, too (package plain).

// IgnoreFile is the name of files with shared rules.
const IgnoreFile = ignoreName

// BuildFolder tells whether a directory of that name may be one that can be made
// again: if any of the files is beside it, or, with none named, in any case.
func BuildFolder(name string) (beside []string, ok bool) {
	beside, ok = buildFolders[name]
	return beside, ok
}

// BuildTags are the names of files that may prove it of the directory they are in.
func BuildTags() []string { return []string{cacheTag, venvTag} }

// ProvesBuild tells whether such a file does.
func ProvesBuild(tag, content string) bool { return proves(tag, content) }

// ruleSet is what decides, under its own lock.
type ruleSet struct {
	mu    sync.Mutex
	own   ignore.Rules
	files map[crdt.NodeID]*ruleFile // of directories that may have a .sheafignore
}

// ruleFile is one .sheafignore as it was last read.
type ruleFile struct {
	version crdt.Version
	rules   ignore.Rules
	known   bool
}

// LocalRules are the rules of this device for a folder, in gitignore's syntax: a
// pattern keeps what it matches on this device, one that begins with '!' shares it
// whatever .sheafignore files say.
func LocalRules(h *crdt.Home, f *crdt.Folder) (string, error) {
	b, err := h.Setting(localRulesSetting(f))
	return string(b), err
}

// SetLocalRules replaces them. A mount must be told (Server.RulesChanged).
func SetLocalRules(h *crdt.Home, f *crdt.Folder, rules string) error {
	if ignore.Parse(rules).Cut {
		return &crdt.Error{Op: "set rules", Path: f.Name(), Kind: crdt.ErrInvalid,
			Err: fmt.Errorf("more than %d patterns or %d bytes", ignore.MaxPatterns, ignore.MaxBytes)}
	}
	return h.SetSetting(localRulesSetting(f), []byte(rules))
}

func localRulesSetting(f *crdt.Folder) string { return "rules/" + f.ID().String() }

// RulesChanged has the mount read the rules of this device again.
func (s *Server) RulesChanged() error { return s.fs.loadRules() }

func (fs *filesystem) loadRules() error {
	text, err := LocalRules(fs.home, fs.folder)
	if err != nil {
		return err
	}
	fs.rules.mu.Lock()
	defer fs.rules.mu.Unlock()
	fs.rules.own = ignore.Parse(text)
	return nil
}

// ruled notes that a directory may have a .sheafignore now.
func (fs *filesystem) ruled(dir crdt.NodeID) {
	fs.rules.mu.Lock()
	defer fs.rules.mu.Unlock()
	if fs.rules.files[dir] == nil {
		fs.rules.files[dir] = &ruleFile{}
	}
}

// spot is where a name is to be made: the directories above it from the root, and
// the names of those below the root with the new one.
type spot struct {
	dirs  []crdt.NodeID
	names []string
}

// spotOf finds the way to a directory; the new name is added by under.
func (fs *filesystem) spotOf(dir crdt.NodeID) spot {
	var s spot
	for dir != crdt.Root {
		p, ok := fs.folder.LastPlace(dir)
		if !ok || len(s.dirs) > maxDepth {
			break
		}
		s.dirs, s.names = append(s.dirs, dir), append(s.names, p.Name)
		dir = p.Dir
	}
	s.dirs = append(s.dirs, crdt.Root)
	for i, j := 0, len(s.dirs)-1; i < j; i, j = i+1, j-1 {
		s.dirs[i], s.dirs[j] = s.dirs[j], s.dirs[i]
	}
	for i, j := 0, len(s.names)-1; i < j; i, j = i+1, j-1 {
		s.names[i], s.names[j] = s.names[j], s.names[i]
	}
	return s
}

// maxDepth bounds a walk to the root.
const maxDepth = 4096

func (s spot) under(name string) spot {
	return spot{s.dirs, append(append(make([]string, 0, len(s.names)+1), s.names...), name)}
}

// keeps decides whether a name that is to be made in a directory of the folder
// stays on this device. The caller holds filesystem.mu, for reading at least.
func (fs *filesystem) keeps(dir crdt.NodeID, name string, isDir bool) bool {
	if IsLocal(name) {
		return true
	}
	if fault.On("fs-share-everything") {
		return false
	}
	fs.rules.mu.Lock()
	quiet := fs.rules.own.Empty() && len(fs.rules.files) == 0
	fs.rules.mu.Unlock()
	if quiet && !fs.locals.hasTags() {
		return fs.proved(dir, name, isDir)
	}
	return fs.keepsAt(fs.spotOf(dir).under(name), isDir)
}

// keepsAt is keeps for a place whose last directories may not be there yet.
func (fs *filesystem) keepsAt(s spot, isDir bool) bool {
	name := s.names[len(s.names)-1]
	if IsLocal(name) {
		return true
	}
	shared := false // this device wants it shared
	for n := range s.names {
		sub, dir := s.names[:n+1], n+1 < len(s.names) || isDir
		fs.rules.mu.Lock()
		excluded, matched := fs.rules.own.Match(strings.Join(sub, "/"), dir)
		fs.rules.mu.Unlock()
		if excluded {
			return true
		}
		if shared = shared || matched; !shared && fs.excludes(s.dirs, sub, dir) {
			return true
		}
	}
	if shared {
		return false
	}
	if _, ok := fs.locals.tagged(s.dirs); ok {
		return name != ignoreName
	}
	return len(s.dirs) == len(s.names) && fs.proved(s.dirs[len(s.dirs)-1], name, isDir)
}

// wantsShared tells whether this device's own rules share a directory, whatever
// else would keep it here.
func (fs *filesystem) wantsShared(dir crdt.NodeID) bool {
	s := fs.spotOf(dir)
	fs.rules.mu.Lock()
	defer fs.rules.mu.Unlock()
	for n := range s.names {
		if excluded, matched := fs.rules.own.Match(strings.Join(s.names[:n+1], "/"), true); matched && !excluded {
			return true
		}
	}
	return false
}

// excludes asks the .sheafignore files above a path, the nearest first.
func (fs *filesystem) excludes(dirs []crdt.NodeID, path []string, isDir bool) bool {
	if path[len(path)-1] == ignoreName {
		return false
	}
	for k := min(len(dirs), len(path)) - 1; k >= 0; k-- {
		r, ok := fs.rulesIn(dirs[k])
		if !ok {
			continue
		}
		if excluded, matched := r.Match(strings.Join(path[k:], "/"), isDir); matched {
			return excluded
		}
	}
	return false
}

// rulesIn reads a directory's .sheafignore, also one that was written a moment ago.
func (fs *filesystem) rulesIn(dir crdt.NodeID) (ignore.Rules, bool) {
	fs.rules.mu.Lock()
	f := fs.rules.files[dir]
	fs.rules.mu.Unlock()
	if f == nil {
		return ignore.Rules{}, false
	}
	p := place{dir, ignoreName}
	in := fs.over[p]
	if in == nil && fs.waits[p] != nil {
		return ignore.Rules{}, false
	}
	var version crdt.Version
	if in == nil {
		info, err := fs.folder.Lookup(dir, ignoreName)
		if err != nil || info.Kind != crdt.File || info.Object != nil {
			return ignore.Rules{}, false
		}
		in, version = fs.nodes[key(info.Node, nil)], info.Version
		fs.rules.mu.Lock()
		rules, known := f.rules, f.known && f.version.Equal(version)
		fs.rules.mu.Unlock()
		if known && (in == nil || !in.beingWritten()) {
			return rules, true
		}
		if in == nil {
			c, err := fs.folder.Content(info.Node)
			if err != nil {
				return ignore.Rules{}, false
			}
			return fs.keepRules(dir, f, c.Text, version), true
		}
	}
	text, written, err := fs.peek(in, ignore.MaxBytes+1)
	if err != nil {
		return ignore.Rules{}, false
	}
	if written {
		version = nil
	}
	return fs.keepRules(dir, f, text, version), true
}

// keepRules parses rules, and keeps them for as long as the version is the same;
// nil: they are not in the folder yet.
func (fs *filesystem) keepRules(dir crdt.NodeID, f *ruleFile, text string, v crdt.Version) ignore.Rules {
	rules := ignore.Parse(text)
	fs.rules.mu.Lock()
	cut := rules.Cut && !f.rules.Cut
	f.rules, f.version, f.known = rules, v, v != nil
	fs.rules.mu.Unlock()
	if cut {
		fs.later(0, func() { fs.noteCut(dir, ignoreName) })
	}
	return rules
}

func (fs *filesystem) noteCut(dir crdt.NodeID, name string) {
	path := join(fs.folder.Path(dir), name)
	err := fs.update(func(tx *crdt.Tx) error {
		tx.Note("limit", path, fmt.Sprintf("only its first %d patterns, in at most %d bytes, are followed", ignore.MaxPatterns, ignore.MaxBytes))
		return nil
	})
	if err != nil {
		fs.log.Error("note a limit", "path", path, "err", err)
	}
}

func (in *inode) beingWritten() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sess != nil
}

// peek reads the first bytes of what a file shows, and tells whether it is being
// written.
func (fs *filesystem) peek(in *inode, most int) (string, bool, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := fs.load(in); err != nil {
		return "", false, err
	}
	b := make([]byte, min(int64(most), in.size()))
	n, err := in.read(b, 0)
	if err != nil && n == 0 && len(b) > 0 {
		return "", false, err
	}
	return string(b[:n]), in.sess != nil, nil
}

// proved tells whether a name is that of a folder that can be made again, or of
// what a database keeps beside itself. The caller holds filesystem.mu.
func (fs *filesystem) proved(dir crdt.NodeID, name string, isDir bool) bool {
	if !isDir {
		return fs.besideDatabase(dir, name)
	}
	by, ok := buildFolders[name]
	if !ok {
		return false
	}
	for _, file := range by {
		if fs.exists(dir, file) {
			return true
		}
	}
	return by == nil
}

// exists tells whether a directory shows something of that name.
func (fs *filesystem) exists(dir crdt.NodeID, name string) bool {
	p := place{dir, name}
	if fs.over[p] != nil || fs.locals.get(dir, name) != nil {
		return true
	}
	if fs.waits[p] != nil {
		return false
	}
	_, err := fs.folder.Lookup(dir, name)
	return err == nil || !errors.Is(err, crdt.ErrNotExist)
}

func (x *localIndex) hasTags() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.tags) > 0
}
