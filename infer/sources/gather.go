package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Limits of what one question may refer to.
const (
	MaxFiles  = 256       // files
	MaxVisits = 20_000    // names looked at for them
	MaxBytes  = 2 << 20   // of one file's text
	MaxObject = 256 << 20 // of one document
)

// Source is a file that a question refers to.
type Source struct {
	Path     string
	Version  crdt.Version
	Text     string
	From, To int  // lines, from 1, both included; 0: all of it
	Lines    int  // of the whole file
	Named    bool // by its own name, not by a pattern or its directory's
}

// NewSource is a text that stands in no file.
func NewSource(name, text string) Source {
	return Source{Path: name, Text: text, Lines: countLines(text), Named: true}
}

// Name is the path, with the lines where it is not all of the file.
func (s Source) Name() string {
	if s.From == 0 {
		return s.Path
	}
	return fmt.Sprintf("%s:%d-%d", s.Path, s.From, s.To)
}

// Left is something that was named and not read.
type Left struct {
	Path string
	Why  string
}

func (l Left) String() string { return l.Path + " (" + l.Why + ")" }

// Documents reads the text of a document; ok is false for a kind it does not know.
type Documents interface {
	Text(ctx context.Context, name string, f *os.File) (text string, ok bool, err error)
}

// Folder is where sources are looked for.
type Folder struct {
	Folder    *crdt.Folder
	Dir       string      // names are looked up here first, then in the root
	Self      crdt.NodeID // the conversation: never its own source
	Documents Documents   // nil: none can be read
}

// gathering is one call of Gather.
type gathering struct {
	Folder
	ctx    context.Context
	out    []Source
	left   []Left
	seen   map[string]bool
	visits int
	full   int // sources above the limit
}

// Gather finds the sources that refs refer to, in the order in which they were
// named; what is in a directory or matches a pattern follows in the order of
// the names.
func (f Folder) Gather(ctx context.Context, refs []Ref) ([]Source, []Left, error) {
	g := &gathering{Folder: f, ctx: ctx, seen: map[string]bool{}}
	for _, r := range refs {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		g.ref(r)
	}
	if g.full > 0 {
		g.left = append(g.left, Left{fmt.Sprintf("%d more files", g.full), fmt.Sprintf("at most %d are read", MaxFiles)})
	}
	return g.out, g.left, ctx.Err()
}

func (g *gathering) ref(r Ref) {
	readings := r.shorter()
	for _, s := range readings {
		if g.resolve(s) {
			return
		}
	}
	// Patterns last: a question mark may just end the question.
	for _, s := range readings {
		if isGlob(s.Path) && g.glob(s) {
			return
		}
	}
	if r.Quoted || pathLike(strings.TrimRight(r.Path, ".,;:!?)]}'*_")) {
		g.leave(strings.TrimRight(r.Path, ",;!"), "no such file")
	}
}

// dirs are where a reference may start.
func (g *gathering) dirs(r Ref) []string {
	if strings.HasPrefix(r.Path, "/") || g.Dir == "" {
		return []string{""}
	}
	return []string{g.Dir, ""}
}

// resolve takes one reading of a reference as a name, and tells whether there is
// anything to it.
func (g *gathering) resolve(r Ref) bool {
	outside, dirs := 0, g.dirs(r)
	for _, dir := range dirs {
		p, ok := clean(dir, r.Path)
		if !ok {
			outside++
			continue
		}
		if hidden := localOnly(p); hidden != "" {
			g.leave(p, hidden+" is not shared")
			return true
		}
		if info, at, err := g.find(p); err == nil {
			g.take(at, info, r, true)
			return true
		} else if errors.Is(err, errSymlink) {
			g.leave(p, "a symlink")
			return true
		}
	}
	if outside == len(dirs) {
		g.leave(r.Path, "outside the folder")
		return true
	}
	return false
}

// clean makes a path relative to the folder's root; false: it leaves the folder.
func clean(dir, p string) (string, bool) {
	if strings.ContainsRune(p, 0) {
		return "", false
	}
	if strings.HasPrefix(p, "/") {
		dir = ""
	}
	p = path.Join(dir, strings.TrimLeft(p, "/"))
	if p == "." {
		p = ""
	}
	return p, p != ".." && !strings.HasPrefix(p, "../")
}

// localOnly names the part of a path that no device shares.
func localOnly(p string) string {
	for part := range strings.SplitSeq(p, "/") {
		if strings.EqualFold(part, ".git") || part == ".sheaf" {
			return part
		}
	}
	return ""
}

var errSymlink = errors.New("a symlink")

// find resolves a path step by step, following no symlink.
func (g *gathering) find(p string) (crdt.Info, string, error) {
	info, err := g.Folder.Folder.Resolve("")
	if err != nil || p == "" {
		return info, p, err
	}
	for name := range strings.SplitSeq(p, "/") {
		if info.Kind == crdt.Symlink {
			return info, p, errSymlink
		}
		if info, err = g.Folder.Folder.Lookup(info.Node, name); err != nil {
			return info, p, err
		}
	}
	return info, p, nil
}

// take adds what stands at a path: a file, or all that is in a directory.
func (g *gathering) take(p string, info crdt.Info, r Ref, named bool) {
	switch info.Kind {
	case crdt.Symlink:
		if named {
			g.leave(p, "a symlink")
		}
	case crdt.File:
		g.file(p, info, r, named)
	case crdt.Dir:
		g.walk(info.Node, func(q string, i crdt.Info) { g.take(path.Join(p, q), i, Ref{}, false) })
	}
}

// walk calls fn for every file below a directory, in the order of the names,
// with its path from there. Names that begin with a dot are passed over.
func (g *gathering) walk(dir crdt.NodeID, fn func(string, crdt.Info)) {
	list, err := g.Folder.Folder.ReadDir(dir)
	if err != nil {
		return
	}
	for _, i := range list {
		if g.visits++; g.visits > MaxVisits || g.ctx.Err() != nil {
			return
		}
		if strings.HasPrefix(i.Name, ".") || localOnly(i.Name) != "" {
			continue
		}
		if i.Kind == crdt.Dir {
			g.walk(i.Node, func(p string, j crdt.Info) { fn(i.Name+"/"+p, j) })
			continue
		}
		fn(i.Name, i)
	}
}

// glob adds what a pattern matches; `**` stands for any directories.
func (g *gathering) glob(r Ref) bool {
	for _, dir := range g.dirs(r) {
		if p, ok := clean(dir, r.Path); ok && g.globIn(p, r) {
			return true
		}
	}
	return false
}

func (g *gathering) globIn(pattern string, r Ref) bool {
	root, err := g.Folder.Folder.Resolve("")
	if err != nil {
		return false
	}
	parts := strings.Split(pattern, "/")
	// The directories before the first part that is a pattern are looked up.
	p := ""
	for len(parts) > 1 && !isGlob(parts[0]) {
		if root, err = g.Folder.Folder.Lookup(root.Node, parts[0]); err != nil || root.Kind != crdt.Dir {
			return false
		}
		p, parts = path.Join(p, parts[0]), parts[1:]
	}
	found := false
	g.walk(root.Node, func(q string, i crdt.Info) {
		if match(parts, strings.Split(q, "/")) {
			found = true
			g.take(path.Join(p, q), i, r, false)
		}
	})
	return found
}

// match tells whether the parts of a path match those of a pattern, or lie in a
// directory that the pattern's whole matches.
func match(pattern, name []string) bool {
	switch {
	case len(pattern) == 0 || len(pattern) == 1 && pattern[0] == "":
		return true // below what matched
	case pattern[0] == "**":
		for i := range len(name) + 1 {
			if i < len(name) && match(pattern[1:], name[i:]) {
				return true
			}
		}
		return len(pattern) == 1
	case len(name) == 0:
		return false
	}
	ok, err := path.Match(pattern[0], name[0])
	return err == nil && ok && match(pattern[1:], name[1:])
}

func (g *gathering) leave(p, why string) {
	l := Left{p, why}
	if !slices.Contains(g.left, l) {
		g.left = append(g.left, l)
	}
}
