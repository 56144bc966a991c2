package ignore

import "strings"

// A pattern is compiled to steps that are followed all at once, so that matching takes
// time in proportion to the pattern's length times the path's, whoever wrote the pattern.

type stepKind uint8

const (
	oneOf    stepKind = iota // a byte of the set
	within                   // any bytes but '/'
	across                   // any bytes
	optional                 // the two steps that follow may be left out
)

type step struct {
	kind stepKind
	set  *set
}

// set is a set of bytes.
type set [4]uint64

func (s *set) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *set) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }
func (s *set) addRange(a, b byte) {
	for c := int(a); c <= int(b); c++ {
		s.add(byte(c))
	}
}

func single(c byte) step {
	s := new(set)
	s.add(c)
	return step{kind: oneOf, set: s}
}

// compile translates git's wildcards. It reports false for a pattern that can match nothing.
func compile(p string) ([]step, bool) {
	var out []step
	for i := 0; i < len(p); {
		switch c := p[i]; c {
		case '\\':
			if i+1 == len(p) {
				return nil, false
			}
			out = append(out, single(p[i+1]))
			i += 2
		case '?':
			s := &set{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
			s['/'>>6] &^= 1 << ('/' & 63)
			out = append(out, step{kind: oneOf, set: s})
			i++
		case '*':
			n := i
			for n < len(p) && p[n] == '*' {
				n++
			}
			opens := i == 0 || p[i-1] == '/'
			switch {
			case n-i >= 2 && opens && (n == len(p) || strings.HasPrefix(p[n:], `\/`)):
				out = append(out, step{kind: across})
			case n-i >= 2 && opens && p[n] == '/':
				out = append(out, step{kind: optional}, step{kind: across}, single('/'))
				n++
			default:
				out = append(out, step{kind: within})
			}
			i = n
		case '[':
			s, n, ok := class(p[i:])
			if !ok {
				return nil, false
			}
			out = append(out, step{kind: oneOf, set: s})
			i += n
		default:
			out = append(out, single(c))
			i++
		}
	}
	return out, true
}

// class reads a bracket expression and tells how long it is.
func class(p string) (*set, int, bool) {
	s := new(set)
	i := 1
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}
	var prev byte
	ranged := false // prev can begin a range
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0, false
		}
		c := p[i]
		switch {
		case c == ']' && !first:
			if negated {
				for k := range s {
					s[k] = ^s[k]
				}
			}
			s['/'>>6] &^= 1 << ('/' & 63)
			return s, i + 1, true
		case c == '-' && ranged && i+1 < len(p) && p[i+1] != ']':
			i++
			if p[i] == '\\' {
				if i++; i >= len(p) {
					return nil, 0, false
				}
			}
			s.addRange(prev, p[i])
			ranged = false
			i++
			continue
		case c == '[' && i+1 < len(p) && p[i+1] == ':':
			end := strings.IndexByte(p[i+2:], ']')
			if end < 0 {
				return nil, 0, false
			}
			name := p[i+2 : i+2+end]
			if !strings.HasSuffix(name, ":") {
				s.add('[') // not a class after all
				prev, ranged = '[', true
				i++
				continue
			}
			in := classes[strings.TrimSuffix(name, ":")]
			if in == nil {
				return nil, 0, false
			}
			for k := range 128 {
				if in(byte(k)) {
					s.add(byte(k))
				}
			}
			ranged = false
			i += 2 + end + 1
			continue
		case c == '\\':
			if i++; i >= len(p) {
				return nil, 0, false
			}
			c = p[i]
		}
		s.add(c)
		prev, ranged = c, true
		i++
	}
}

func between(a, b byte) func(byte) bool { return func(c byte) bool { return a <= c && c <= b } }

func either(fs ...func(byte) bool) func(byte) bool {
	return func(c byte) bool {
		for _, f := range fs {
			if f(c) {
				return true
			}
		}
		return false
	}
}

var (
	lower = between('a', 'z')
	upper = between('A', 'Z')
	digit = between('0', '9')
	alnum = either(lower, upper, digit)
	graph = between('!', '~')
)

var classes = map[string]func(byte) bool{
	"alnum": alnum, "alpha": either(lower, upper), "blank": either(between(' ', ' '), between('\t', '\t')),
	"cntrl": either(between(0, 31), between(127, 127)), "digit": digit, "graph": graph, "lower": lower,
	"print": between(' ', '~'), "punct": func(c byte) bool { return graph(c) && !alnum(c) },
	"space":  either(between('\t', '\r'), between(' ', ' ')),
	"upper":  upper,
	"xdigit": either(digit, between('a', 'f'), between('A', 'F')),
}

// match follows all ways through the steps at once.
func match(steps []step, s string) bool {
	now, next := make([]bool, len(steps)+1), make([]bool, len(steps)+1)
	now[0] = true
	free(steps, now)
	for i := range len(s) {
		c, any := s[i], false
		clear(next)
		for k, st := range steps {
			if !now[k] {
				continue
			}
			switch st.kind {
			case oneOf:
				if st.set.has(c) {
					next[k+1], any = true, true
				}
			case within, across:
				if st.kind == across || c != '/' {
					next[k], any = true, true
				}
			}
		}
		if !any {
			return false
		}
		free(steps, next)
		now, next = next, now
	}
	return now[len(steps)]
}

// free goes on where no byte is needed.
func free(steps []step, on []bool) {
	for k, st := range steps {
		if !on[k] || st.kind == oneOf {
			continue
		}
		on[k+1] = true
		if st.kind == optional {
			on[k+3] = true
		}
	}
}
