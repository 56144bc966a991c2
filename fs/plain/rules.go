package plain

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/fs/attributes"
	"github.com/sheaf-fs/sheaf/fs/ignore"
)

// The rules of what stays on this device are those of a mount. What is on
// record is in the folder, and stays there whatever they say.

// RulesChanged looks at everything again: what the rules of this device kept here
// may be shared now.
func (d *Dir) RulesChanged() error { return d.Flush() }

// ruleFile is one .sheafignore as it was last read.
type ruleFile struct {
	stat  stat
	rules ignore.Rules
}

// attributeFile is one .gitattributes as it was last read.
type attributeFile struct {
	stat stat
	file attributes.File
}

// Rules decide what of a directory on the disk stays on this device, and what is kept whole. They
// read the .sheafignore and .gitattributes files in it as they are asked. They may not be used by
// several goroutines.
type Rules struct {
	root       string
	own        ignore.Rules // of this device
	files      map[string]*ruleFile
	attributes map[string]*attributeFile
}

// NewRules makes the rules of a directory, with those of this device (gitignore's syntax).
func NewRules(root, own string) *Rules {
	return &Rules{root: root, own: ignore.Parse(own), files: map[string]*ruleFile{}, attributes: map[string]*attributeFile{}}
}

func (r *Rules) abs(rel string) string { return filepath.Join(r.root, filepath.FromSlash(rel)) }

// Keeps decides whether a name of the disk that is not in the folder stays here; at is its
// path below the root, with slashes. What is above it does not.
func (r *Rules) Keeps(at string, dir bool) bool {
	name := path.Base(at)
	if fs.IsLocal(name) {
		return true
	}
	if excluded, matched := r.own.Match(at, dir); matched {
		return excluded
	}
	if name != fs.IgnoreFile {
		for above := path.Dir("/" + at)[1:]; ; above = path.Dir("/" + above)[1:] {
			rel := strings.TrimPrefix(strings.TrimPrefix(at, above), "/")
			if excluded, matched := r.rulesIn(above).Match(rel, dir); matched {
				return excluded
			}
			if above == "" {
				break
			}
		}
	}
	if dir {
		return r.remade(at, name)
	}
	return fs.BesideDatabase(r.abs(at))
}

// rulesIn reads a directory's .sheafignore.
func (r *Rules) rulesIn(dir string) ignore.Rules {
	at := r.abs(path.Join(dir, fs.IgnoreFile))
	st, err := lstat(at)
	if err != nil {
		delete(r.files, dir)
		return ignore.Rules{}
	}
	if f := r.files[dir]; f != nil && f.stat.same(st) {
		return f.rules
	}
	b, err := os.ReadFile(at)
	if err != nil {
		return ignore.Rules{}
	}
	f := &ruleFile{st, ignore.Parse(string(b))}
	r.files[dir] = f
	return f.rules
}

// Whole tells whether the file at a path is kept whole.
func (r *Rules) Whole(at string) bool {
	return attributes.Whole(at, func(n int) attributes.File {
		dir := at
		for range strings.Count(at, "/") + 1 - n {
			dir = path.Dir("/" + dir)[1:]
		}
		return r.attributesIn(dir)
	})
}

// attributesIn reads a directory's .gitattributes.
func (r *Rules) attributesIn(dir string) attributes.File {
	at := r.abs(path.Join(dir, attributes.Name))
	st, err := lstat(at)
	if kind, ok := st.kind(); err != nil || !ok || kind != crdt.File {
		delete(r.attributes, dir)
		return attributes.File{}
	}
	if f := r.attributes[dir]; f != nil && f.stat.same(st) {
		return f.file
	}
	b, err := os.ReadFile(at)
	if err != nil {
		return attributes.File{}
	}
	f := &attributeFile{st, attributes.Parse(string(b))}
	r.attributes[dir] = f
	return f.file
}

// remade reports whether a directory's content can be made again, by proof of
// what is beside it or in it.
func (r *Rules) remade(at, name string) bool {
	here := func(rel string) bool { _, err := lstat(r.abs(rel)); return err == nil }
	if beside, ok := fs.BuildFolder(name); ok {
		for _, file := range beside {
			if here(path.Join(path.Dir("/" + at)[1:], file)) {
				return true
			}
		}
		if beside == nil {
			return true
		}
	}
	for _, tag := range fs.BuildTags() {
		rel := path.Join(at, tag)
		if st, err := lstat(r.abs(rel)); err == nil && st.Size < 64<<10 {
			if b, err := os.ReadFile(r.abs(rel)); err == nil && fs.ProvesBuild(tag, string(b)) {
				return true
			}
		}
	}
	return false
}
