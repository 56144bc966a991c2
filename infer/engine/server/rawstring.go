package server

import (
	"encoding/json"
	"unicode/utf8"
)

// rawString is a JSON string whose bytes are kept as they came. Some servers cut
// a character over two events; encoding/json would replace both halves.
type rawString string

// UnmarshalJSON implements json.Unmarshaler. null is the empty string.
func (s *rawString) UnmarshalJSON(b []byte) error {
	if utf8.Valid(b) {
		return json.Unmarshal(b, (*string)(s))
	}
	if len(b) < 2 || b[0] != '"' {
		return json.Unmarshal(b, (*string)(s))
	}
	// Escapes and quotes are ASCII, so the runs between bytes that are no text
	// are JSON strings of their own.
	var out []byte
	in := b[1 : len(b)-1]
	for len(in) > 0 {
		n, size := 0, 0
		for n < len(in) {
			var r rune
			if r, size = utf8.DecodeRune(in[n:]); r == utf8.RuneError && size == 1 {
				break
			}
			n += size
		}
		var run string
		if err := json.Unmarshal(append(append([]byte{'"'}, in[:n]...), '"'), &run); err != nil {
			return err
		}
		out = append(out, run...)
		for n < len(in) {
			if r, size := utf8.DecodeRune(in[n:]); r != utf8.RuneError || size != 1 {
				break
			}
			out = append(out, in[n])
			n++
		}
		in = in[n:]
	}
	*s = rawString(out)
	return nil
}
