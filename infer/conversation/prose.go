package conversation

import "strings"

// Prose returns a text with everything that is code blanked out, in fences and
// in line. Lengths do not change.
func Prose(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	var fence fence
	for line := range strings.Lines(text) {
		if inside := fence.open(); fence.line(line) || inside {
			b.WriteString(blank(line))
			continue
		}
		for line != "" {
			i := strings.IndexByte(line, '`')
			if i < 0 {
				break
			}
			ticks := line[i : len(line)-len(strings.TrimLeft(line[i:], "`"))]
			b.WriteString(line[:i])
			line = line[i:]
			j := strings.Index(line[len(ticks):], ticks)
			if j < 0 {
				b.WriteString(ticks)
				line = line[len(ticks):]
				continue
			}
			code := line[:len(ticks)+j+len(ticks)]
			b.WriteString(blank(code))
			line = line[len(code):]
		}
		b.WriteString(line)
	}
	return b.String()
}

func blank(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c != '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}
