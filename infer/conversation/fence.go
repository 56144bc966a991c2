package conversation

import "strings"

// fence follows the fenced code blocks of a Markdown text, line by line.
type fence struct {
	mark byte // '`' or '~'
	n    int  // how many; 0: no fence is open
}

func (f *fence) open() bool { return f.n > 0 }

// closing is the line that closes the fence, without its end.
func (f *fence) closing() string { return strings.Repeat(string(rune(f.mark)), f.n) }

// line takes the next line and tells whether it opened or closed a fence.
func (f *fence) line(line string) bool {
	s := line
	for range 3 {
		s = strings.TrimPrefix(s, " ")
	}
	if s == "" || s[0] != '`' && s[0] != '~' {
		return false
	}
	rest := strings.TrimLeft(s, s[:1])
	n := len(s) - len(rest)
	switch {
	case n < 3:
		return false
	case f.open():
		if s[0] != f.mark || n < f.n || strings.TrimSpace(rest) != "" {
			return false
		}
		f.n = 0
	case s[0] == '`' && strings.Contains(rest, "`"):
		return false // inline code
	default:
		f.mark, f.n = s[0], n
	}
	return true
}
