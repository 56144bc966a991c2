package cli

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is printed for a person may hold names that other members chose: on a terminal
// a control character in one of them would be an order. The contents of files (diff,
// blame, an answer) are printed as they are, as cat does.

// visible is text of several lines in which every character that could steer a
// terminal, or hide what is there, stands as its Go escape.
func visible(text string) string {
	if !strings.ContainsFunc(text, unseen) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(text[0]), 16))
		case unseen(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

// visibleName is visible for a name or a path, which is in one line.
func visibleName(name string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(visible(name))
}

func unseen(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case r == '\u200c', r == '\u200d': // join letters in some scripts, and emoji
		return false
	}
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
