package plain

import (
	"os"
	"path"
	"strings"

	"github.com/sheaf-fs/sheaf/fs"
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

// keeps decides whether a name of the disk that is not in the folder stays here.
// What is above it does not.
func (d *Dir) keeps(at string, dir bool) bool {
	name := path.Base(at)
	if fs.IsLocal(name) {
		return true
	}
	if excluded, matched := d.own.Match(at, dir); matched {
		return excluded
	}
	if name != fs.IgnoreFile {
		for above := path.Dir("/" + at)[1:]; ; above = path.Dir("/" + above)[1:] {
			rel := strings.TrimPrefix(strings.TrimPrefix(at, above), "/")
			if excluded, matched := d.rulesIn(above).Match(rel, dir); matched {
				return excluded
			}
			if above == "" {
				break
			}
		}
	}
	return dir && d.remade(at, name)
}

// rulesIn reads a directory's .sheafignore.
func (d *Dir) rulesIn(dir string) ignore.Rules {
	at := d.abs(path.Join(dir, fs.IgnoreFile))
	st, err := lstat(at)
	if err != nil {
		delete(d.rules, dir)
		return ignore.Rules{}
	}
	if f := d.rules[dir]; f != nil && f.stat.same(st) {
		return f.rules
	}
	b, err := os.ReadFile(at)
	if err != nil {
		return ignore.Rules{}
	}
	f := &ruleFile{st, ignore.Parse(string(b))}
	d.rules[dir] = f
	return f.rules
}

// remade reports whether a directory's content can be made again, by proof of
// what is beside it or in it.
func (d *Dir) remade(at, name string) bool {
	here := func(rel string) bool { _, err := lstat(d.abs(rel)); return err == nil }
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
		if st, err := lstat(d.abs(rel)); err == nil && st.Size < 64<<10 {
			if b, err := os.ReadFile(d.abs(rel)); err == nil && fs.ProvesBuild(tag, string(b)) {
				return true
			}
		}
	}
	return false
}
