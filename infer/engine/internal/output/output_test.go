package output

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPiecesAreWholeCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		cuts := rapid.SliceOfN(rapid.IntRange(1, 5), 0, 50).Draw(t, "cuts")
		var got strings.Builder
		w := New(nil, func(s string) error {
			if s == "" || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				t.Fatalf("piece %q", s)
			}
			got.WriteString(s)
			return nil
		})
		rest := []byte(text)
		for _, n := range cuts {
			n = min(n, len(rest))
			if err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Write(rest); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(text, "\x00", ""); got.String() != want {
			t.Fatalf("got %q, want %q", got.String(), want)
		}
	})
}

func TestStopIsMetHoweverItIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		abc := rapid.StringMatching(`[abü]{0,12}`)
		text := abc.Draw(t, "text")
		stops := rapid.SliceOfN(rapid.StringMatching(`[abü]{1,3}`), 1, 3).Draw(t, "stops")
		want, stopped := text, false
		for _, s := range stops {
			if i := strings.Index(text, s); i >= 0 && i < len(want) {
				want, stopped = text[:i], true
			}
		}
		size := rapid.IntRange(1, 4).Draw(t, "size")
		var got strings.Builder
		w := New(stops, func(s string) error { got.WriteString(s); return nil })
		var err error
		for rest := []byte(text); len(rest) > 0 && err == nil; {
			n := min(size, len(rest))
			err = w.Write(rest[:n])
			rest = rest[n:]
		}
		if errors.Is(err, ErrStop) != stopped {
			t.Fatalf("%q with %q: %v, want stopped %v", text, stops, err, stopped)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Fatalf("%q with %q: got %q, want %q", text, stops, got.String(), want)
		}
	})
}

func TestBytesThatAreNoText(t *testing.T) {
	for in, want := range map[string]string{
		"a\xffb":         "a\ufffdb",
		"a\xe2\x82":      "a\ufffd",
		"\x00a\x00":      "a",
		"\xe2\x82\x41":   "\ufffdA",
		"\x80\x80\x80":   "\ufffd",
		"a\xf0\x9f\x98":  "a\ufffd",
		"\xed\xa0\x80ok": "\ufffdok",
	} {
		var got strings.Builder
		w := New([]string{""}, func(s string) error { got.WriteString(s); return nil })
		if err := w.Write([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Errorf("%q: got %q, want %q", in, got.String(), want)
		}
	}
}

func TestErrorOfEmitIsReturned(t *testing.T) {
	want := errors.New("full")
	w := New(nil, func(string) error { return want })
	if err := w.Write([]byte("x")); !errors.Is(err, want) {
		t.Fatal(err)
	}
}
