package rig

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Screen is what a person sees of a program on a VT100 terminal. It knows as much
// of the terminal as vim, nano and emacs use with TERM=vt100, and ignores the rest.
type Screen struct {
	rows, cols  int
	cell        [][]rune
	y, x        int
	savedY      int
	savedX      int
	top, bottom int // scroll region
	wrap        bool
	pending     []byte // an incomplete sequence or character
}

// NewScreen makes an empty screen.
func NewScreen(rows, cols int) *Screen {
	s := &Screen{rows: rows, cols: cols, bottom: rows - 1, cell: make([][]rune, rows)}
	for i := range s.cell {
		s.cell[i] = blank(cols)
	}
	return s
}

func blank(n int) []rune { return []rune(strings.Repeat(" ", n)) }

// String is the text on the screen, without trailing spaces.
func (s *Screen) String() string {
	lines := make([]string, s.rows)
	for i, l := range s.cell {
		lines[i] = strings.TrimRight(string(l), " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// Write takes what the program prints.
func (s *Screen) Write(p []byte) (int, error) {
	b := append(s.pending, p...)
	for len(b) > 0 {
		n := s.step(b)
		if n == 0 {
			break
		}
		b = b[n:]
	}
	s.pending = append([]byte(nil), b...)
	return len(p), nil
}

// step takes one character or sequence off b; 0 if it is not all there.
func (s *Screen) step(b []byte) int {
	switch c := b[0]; {
	case c == 0x1b:
		return s.escape(b)
	case c == '\r':
		s.x, s.wrap = 0, false
		return 1
	case c == '\n', c == 0x0b, c == 0x0c:
		s.lineFeed()
		return 1
	case c == '\b':
		s.x, s.wrap = max(s.x-1, 0), false
		return 1
	case c == '\t':
		s.x = min((s.x/8+1)*8, s.cols-1)
		return 1
	case c < 0x20 || c == 0x7f:
		return 1
	}
	if !utf8.FullRune(b) {
		return 0
	}
	r, n := utf8.DecodeRune(b)
	if s.wrap {
		s.x, s.wrap = 0, false
		s.lineFeed()
	}
	s.cell[s.y][s.x] = r
	if s.x == s.cols-1 {
		s.wrap = true
	} else {
		s.x++
	}
	return n
}

func (s *Screen) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '[':
		return s.csi(b)
	case ']', 'P': // a string, up to BEL or ESC \
		for i := 2; i < len(b); i++ {
			if b[i] == 7 {
				return i + 1
			}
			if b[i] == '\\' && b[i-1] == 0x1b {
				return i + 1
			}
		}
		return 0
	case '(', ')', '#', '%':
		if len(b) < 3 {
			return 0
		}
		return 3
	case '7':
		s.savedY, s.savedX = s.y, s.x
	case '8':
		s.y, s.x, s.wrap = s.savedY, s.savedX, false
	case 'D':
		s.lineFeed()
	case 'E':
		s.x = 0
		s.lineFeed()
	case 'M':
		if s.y == s.top {
			s.scroll(s.top, -1)
		} else {
			s.y = max(s.y-1, 0)
		}
	}
	return 2
}

// csi takes ESC [ parameters letter.
func (s *Screen) csi(b []byte) int {
	end := 2
	for end < len(b) && (b[end] < 0x40 || b[end] > 0x7e) {
		end++
	}
	if end == len(b) {
		return 0
	}
	var arg []int
	for f := range strings.SplitSeq(strings.TrimLeft(string(b[2:end]), "?>="), ";") {
		n, _ := strconv.Atoi(f)
		arg = append(arg, n)
	}
	n := max(arg[0], 1)
	s.wrap = false
	switch b[end] {
	case 'A':
		s.y = max(s.y-n, 0)
	case 'B':
		s.y = min(s.y+n, s.rows-1)
	case 'C':
		s.x = min(s.x+n, s.cols-1)
	case 'D':
		s.x = max(s.x-n, 0)
	case 'G':
		s.x = min(n, s.cols) - 1
	case 'd':
		s.y = min(n, s.rows) - 1
	case 'H', 'f':
		s.y, s.x = min(n, s.rows)-1, 0
		if len(arg) > 1 {
			s.x = min(max(arg[1], 1), s.cols) - 1
		}
	case 'J':
		from, to := s.y+1, s.rows
		if arg[0] == 1 {
			from, to = 0, s.y
		} else if arg[0] >= 2 {
			from, to = 0, s.rows
		}
		for i := from; i < to; i++ {
			s.cell[i] = blank(s.cols)
		}
		if arg[0] < 2 {
			s.eraseLine(arg[0])
		}
	case 'K':
		s.eraseLine(arg[0])
	case 'L':
		s.scroll(s.y, -n)
	case 'M':
		s.scroll(s.y, n)
	case 'P':
		l := s.cell[s.y]
		n = min(n, s.cols-s.x)
		copy(l[s.x:], l[s.x+n:])
		copy(l[s.cols-n:], blank(n))
	case '@':
		l := s.cell[s.y]
		n = min(n, s.cols-s.x)
		copy(l[s.x+n:], l[s.x:])
		copy(l[s.x:], blank(n))
	case 'r':
		s.top, s.bottom, s.y, s.x = n-1, s.rows-1, 0, 0
		if len(arg) > 1 && arg[1] > 0 {
			s.bottom = min(arg[1], s.rows) - 1
		}
		s.top = min(s.top, s.bottom)
	}
	return end + 1
}

func (s *Screen) eraseLine(how int) {
	from, to := s.x, s.cols
	switch how {
	case 1:
		from, to = 0, s.x+1
	case 2:
		from = 0
	}
	copy(s.cell[s.y][from:to], blank(to-from))
}

func (s *Screen) lineFeed() {
	if s.y == s.bottom {
		s.scroll(s.top, 1)
	} else {
		s.y = min(s.y+1, s.rows-1)
	}
}

// scroll moves the lines from a line to the bottom of the region up by n.
func (s *Screen) scroll(from, n int) {
	if from > s.bottom {
		return
	}
	part := s.cell[from : s.bottom+1]
	for range min(max(n, -n), len(part)) {
		if n > 0 {
			copy(part, part[1:])
			part[len(part)-1] = blank(s.cols)
		} else {
			copy(part[1:], part)
			part[0] = blank(s.cols)
		}
	}
}
