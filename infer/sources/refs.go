package sources

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/sheaf-fs/sheaf/infer/conversation"
)

// Ref is a reference as a person wrote it, without the @.
type Ref struct {
	Path     string
	From, To int  // lines, from 1, both included; 0: all
	Quoted   bool // its end is sure
}

var lines = regexp.MustCompile(`:([0-9]{1,9})(?:-([0-9]{1,9}))?$`)

// NewRef reads a reference that stands alone, as in front matter.
func NewRef(s string) Ref {
	s = strings.TrimPrefix(strings.TrimSpace(s), "@")
	return withLines(strings.Trim(s, `"`), true)
}

func withLines(s string, quoted bool) Ref {
	r := Ref{Path: s, Quoted: quoted}
	m := lines.FindStringSubmatch(s)
	if m == nil {
		return r
	}
	from, _ := strconv.Atoi(m[1])
	to := from
	if m[2] != "" {
		to, _ = strconv.Atoi(m[2])
	}
	if from > 0 && to >= from {
		r.Path, r.From, r.To = strings.TrimSuffix(s, m[0]), from, to
	}
	return r
}

// Refs returns the references in a question, in order, each once. Code is not
// searched, and an @ inside a word is no reference.
func Refs(question string) []Ref {
	var out []Ref
	seen := map[Ref]bool{}
	add := func(r Ref) {
		if r.Path != "" && !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	s := conversation.Prose(question)
	for i := 0; i < len(s); i++ {
		if s[i] != '@' || i > 0 && !strings.ContainsRune(" \t\n\r([{<\"'*_,;:", rune(s[i-1])) {
			continue
		}
		rest := s[i+1:]
		if strings.HasPrefix(rest, `"`) {
			line, _, _ := strings.Cut(rest[1:], "\n")
			if name, after, ok := strings.Cut(line, `"`); ok {
				r := Ref{Path: name, Quoted: true}
				if m := regexp.MustCompile(`^:[0-9]{1,9}(-[0-9]{1,9})?`).FindString(after); m != "" {
					r = withLines(name+m, true)
				}
				add(r)
				i += 1 + len(name)
				continue
			}
		}
		if n := strings.IndexAny(rest, " \t\r\n\"<>|"); n >= 0 {
			rest = rest[:n]
		}
		add(withLines(rest, false))
		i += len(rest)
	}
	return out
}

// shorter are the readings of an unquoted reference that a sentence goes on
// behind: "see @a.md, please".
func (r Ref) shorter() []Ref {
	out := []Ref{r}
	if r.Quoted {
		return out
	}
	s := r.Path
	if r.From > 0 {
		return out
	}
	for s != "" && strings.ContainsRune(".,;:!?)]}'*_", rune(s[len(s)-1])) {
		s = s[:len(s)-1]
		if s != "" {
			out = append(out, withLines(s, true))
		}
	}
	return out
}

func isGlob(s string) bool { return strings.ContainsAny(s, "*?[") }

// pathLike tells whether somebody meant a path, and not a person: only what
// looks like one is missed when it is not there.
func pathLike(s string) bool { return isGlob(s) || strings.ContainsAny(s, "/.") }
