// Package attributes tells which files are kept whole, not merged line by line: those that the
// folder's .gitattributes files say so of, in git's own words, and those whose names are known for
// it. It is written anew because no library reads macros and git's order of precedence, and because
// whoever shares a folder writes patterns that others have to match: time and memory are bounded, as
// those of package ignore.
package attributes

import (
	"strings"

	"github.com/sheaf-fs/sheaf/fs/ignore"
)

// Name is the name of the files that are read.
const Name = ".gitattributes"

// File is one .gitattributes. The zero value says nothing.
type File struct {
	lines  []line
	macros map[string][]setting // defined in it, which counts only in the root's
	Cut    bool                 // it was too large to be read to its end
}

type line struct {
	pattern  ignore.Pattern
	settings []setting
}

// setting gives an attribute a value.
type setting struct{ name, value string }

// The values of an attribute that has no text. No text can be one of them.
const (
	set         = "\x00set"
	unset       = "\x00unset"
	unspecified = "\x00unspecified"
)

// Parse reads a file, at most its first ignore.MaxBytes bytes and ignore.MaxPatterns lines. Lines
// that git would refuse say nothing.
func Parse(text string) File {
	var f File
	if len(text) > ignore.MaxBytes {
		text, f.Cut = text[:ignore.MaxBytes], true
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	text = strings.TrimPrefix(text, "\ufeff")
	for l := range strings.Lines(text) {
		if len(f.lines)+len(f.macros) == ignore.MaxPatterns {
			f.Cut = true
			break
		}
		f.parseLine(l)
	}
	return f
}

const blank = " \t\r\n"

func (f *File) parseLine(s string) {
	s = strings.Trim(s, blank)
	if s == "" || s[0] == '#' || len(s) >= 2048 {
		return
	}
	var pattern string
	if s[0] == '"' {
		var ok bool
		if pattern, s, ok = unquote(s); !ok {
			return
		}
	} else if i := strings.IndexAny(s, blank); i < 0 {
		return
	} else {
		pattern, s = s[:i], s[i:]
	}
	if macro, ok := strings.CutPrefix(pattern, "[attr]"); ok {
		if macro == "" { // the name may stand apart
			macro, s, _ = strings.Cut(strings.TrimLeft(s, blank), " ")
		}
		if settings, ok := parseSettings(s); ok && valid(macro) {
			if f.macros == nil {
				f.macros = map[string][]setting{}
			}
			f.macros[macro] = settings
		}
		return
	}
	if pattern == "" || pattern[0] == '!' {
		return
	}
	settings, ok := parseSettings(s)
	if !ok {
		return
	}
	if p, ok := ignore.ParsePattern(pattern); ok {
		f.lines = append(f.lines, line{p, settings})
	}
}

func parseSettings(s string) (out []setting, ok bool) {
	for _, word := range strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(blank, c) }) {
		name, value, valued := strings.Cut(word, "=")
		x := setting{name, set}
		switch {
		case word[0] == '-':
			x = setting{name[1:], unset}
		case word[0] == '!':
			x = setting{name[1:], unspecified}
		case valued:
			x.value = value
		}
		if !valid(x.name) {
			return nil, false
		}
		out = append(out, x)
	}
	return out, true
}

// valid tells whether git takes a name for that of an attribute.
func valid(name string) bool {
	if name == "" || name[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return !(c == '-' || c == '.' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	})
}

// unquote reads a pattern in C's quotes.
func unquote(s string) (pattern, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			switch c := s[i]; {
			case strings.IndexByte(`abfnrtv`, c) >= 0:
				b.WriteByte("\a\b\f\n\r\t\v"[strings.IndexByte(`abfnrtv`, c)])
			case c == '\\' || c == '"':
				b.WriteByte(c)
			case '0' <= c && c <= '3' && i+2 < len(s) && octal(s[i+1]) && octal(s[i+2]):
				b.WriteByte((c-'0')<<6 | (s[i+1]-'0')<<3 | (s[i+2] - '0'))
				i += 2
			default:
				return "", "", false
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// merge finds what files say of a path's merge attribute: the nearest file first, the last with
// the path as the root's has it. Of one file the last line that matches has the say, of one line
// the last word.
func merge(path string, files []File) (value string, ok bool) {
	var macros map[string][]setting
	if len(files) > 0 {
		macros = files[len(files)-1].macros
	}
	known := map[string]string{}
	var fill func(list []setting)
	fill = func(list []setting) {
		for i := len(list) - 1; i >= 0; i-- {
			x := list[i]
			if _, ok := known[x.name]; ok {
				continue
			}
			known[x.name] = x.value
			if x.value != set {
				continue
			}
			if m, ok := macros[x.name]; ok {
				fill(m)
			} else if x.name == "binary" {
				fill(binary)
			}
		}
	}
	for n, f := range files {
		rel := tail(path, len(files)-1-n)
		for i := len(f.lines) - 1; i >= 0; i-- {
			if f.lines[i].pattern.Match(rel, false) {
				fill(f.lines[i].settings)
			}
			if v, ok := known["merge"]; ok {
				return v, true
			}
		}
	}
	return "", false
}

// binary is the macro that git knows by itself.
var binary = []setting{{"diff", unset}, {"merge", unset}, {"text", unset}}

// tail leaves the first n names out of a path.
func tail(path string, n int) string {
	for ; n > 0; n-- {
		path = path[strings.IndexByte(path, '/')+1:]
	}
	return path
}
