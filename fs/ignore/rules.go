// Package ignore reads files of gitignore's syntax and tells what they exclude, as git
// check-ignore does. It is written anew because the libraries there are differ from git
// in negated classes, POSIX classes, trailing spaces and '**', and because whoever shares a
// folder writes patterns that others have to match: time and memory are bounded.
package ignore

import "strings"

// Limits of one file. What is beyond them is not read; Rules.Cut tells so.
const (
	MaxBytes    = 64 << 10
	MaxPatterns = 1000
)

// Rules are the patterns of one file. The zero value excludes nothing.
type Rules struct {
	patterns []pattern
	// Cut tells that the file was too large to be read to its end.
	Cut bool
}

type pattern struct {
	negated  bool
	dirOnly  bool
	basename bool // it has no '/', and so is held against the last name alone
	steps    []step
}

// Parse reads a file of patterns. What is no pattern excludes nothing.
func Parse(text string) Rules {
	var r Rules
	if len(text) > MaxBytes {
		text, r.Cut = text[:MaxBytes], true
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	text = strings.TrimPrefix(text, "\ufeff")
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		p, ok := parseLine(line)
		if !ok {
			continue
		}
		if len(r.patterns) == MaxPatterns {
			r.Cut = true
			break
		}
		r.patterns = append(r.patterns, p)
	}
	return r
}

func parseLine(s string) (p pattern, ok bool) {
	if strings.HasPrefix(s, "#") {
		return p, false
	}
	s, negated := strings.CutPrefix(trimSpaces(s), "!")
	p, ok = parsePattern(s)
	p.negated = negated
	return p, ok
}

func parsePattern(s string) (p pattern, ok bool) {
	s, p.dirOnly = strings.CutSuffix(s, "/")
	p.basename = !strings.Contains(s, "/")
	if s = strings.TrimPrefix(s, "/"); s == "" {
		return p, false
	}
	p.steps, ok = compile(s)
	return p, ok
}

// trimSpaces cuts spaces at the end, unless a backslash keeps them.
func trimSpaces(s string) string {
	end := len(s)
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			end = min(end, i)
		case '\\':
			i++
			end = len(s)
		default:
			end = len(s)
		}
	}
	return s[:end]
}

// Pattern is one pattern by itself, as files of other syntaxes have them.
type Pattern struct{ p pattern }

// ParsePattern reads a pattern that is not negated. It reports false for one that matches nothing.
func ParsePattern(s string) (p Pattern, ok bool) {
	p.p, ok = parsePattern(s)
	return p, ok
}

// Match tells whether the pattern matches a path, which is relative to its file's directory.
func (p Pattern) Match(path string, dir bool) bool { return p.p.match(path, dir) }

func (p *pattern) match(path string, dir bool) bool {
	if p.dirOnly && !dir {
		return false
	}
	if p.basename {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	return match(p.steps, path)
}

// Match tells whether the last pattern that matches path excludes it, and whether there is
// one. path is relative to the file's directory; dir tells that it is a directory. That a
// directory above it may be excluded is the caller's to know.
func (r Rules) Match(path string, dir bool) (excluded, matched bool) {
	for i := len(r.patterns) - 1; i >= 0; i-- {
		if p := &r.patterns[i]; p.match(path, dir) {
			return !p.negated, true
		}
	}
	return false, false
}

// Empty tells that there is no pattern.
func (r Rules) Empty() bool { return len(r.patterns) == 0 }
