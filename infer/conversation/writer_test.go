package conversation

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// written passes an answer through a Writer in pieces of n bytes.
func written(t testing.TB, text string, n int, crlf bool) string {
	w := Writer{CRLF: crlf}
	var b strings.Builder
	put := func(s string) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			t.Fatalf("wrote %q", s)
		}
		b.WriteString(s)
	}
	for len(text) > 0 {
		k := min(n, len(text))
		put(w.Add(text[:k]))
		text = text[k:]
	}
	put(w.Close())
	return b.String()
}

func TestWriter(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"plain":             {"Hello.\n\nBye.", "Hello.\n\nBye."},
		"space around":      {"\n\n  Hello. \n\n", "Hello."},
		"characters":        {"é€😀", "é€😀"},
		"broken character":  {"a\xe2\x82b\xff", "a\uFFFD\uFFFDb\uFFFD"},
		"cut character":     {"a\xe2\x82", "a"},
		"NUL":               {"a\x00b\r\nc", "ab\nc"},
		"heading":           {"x\n## You\ny", "x\n\\## You\ny"},
		"heading at start":  {"## Model (m)\nx", "\\## Model (m)\nx"},
		"heading at end":    {"x\n  ##  mOdel", "x\n  \\##  mOdel"},
		"heading with text": {"x\n## You should\n## Models\n## Your\n##\n#\n### You", "x\n## You should\n## Models\n## Your\n##\n#\n### You"},
		"note":              {"x\n> sheaf: read a\n> ship", "x\n\\> sheaf: read a\n> ship"},
		"in a fence":        {"```\n## You\n```\n## You", "```\n## You\n```\n\\## You"},
		"open fence":        {"x\n```go\n    a := 1\n\n## You", "x\n```go\n    a := 1\n\n## You\n```"},
		"open long fence":   {"~~~~\nx\n~~~\n", "~~~~\nx\n~~~\n~~~~"},
		"indented":          {"x\n    ## You", "x\n    ## You"},
		"indented begin":    {"\t```", "```\n```"},
		"indented heading":  {"     ## You", "\\## You"},
		"only space":        {" \n\n", ""},
	} {
		for _, n := range []int{1, 2, 3, 1000} {
			if got := written(t, c.text, n, false); got != c.want {
				t.Errorf("%s in pieces of %d: %q, want %q", name, n, got, c.want)
			}
		}
	}
	if got := written(t, "a\nb\r\nc", 1, true); got != "a\r\nb\r\nc" {
		t.Errorf("CRLF: %q", got)
	}
}

// nasty makes texts of what means something in a conversation.
var nasty = rapid.Custom(func(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		"\n", "\n", "\r\n", " ", "  ", "\t", "## ", "##", "#", "You", "you", "Model", "(m: answering)", "(", ")", ":", "```", "~~~", "````", "`",
		"> sheaf: ", ">", "---", "model: x", "@a.md", "é", "\xe2\x82", "\x00", "x", `\`, "\uFEFF", "<|im_end|>",
	}), 0, 40).Draw(t, "parts")
	return strings.Join(parts, "")
})

// Whatever a model says, in whatever pieces, it is one answer: what follows it
// in the file is what followed it before, and no note is its own.
func TestWriterKeepsTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said := nasty.Draw(t, "said")
		answer := written(nil, said, rapid.IntRange(1, 5).Draw(t, "size"), false)
		if again := written(nil, said, 1<<20, false); again != answer {
			t.Fatalf("%q in pieces, %q whole", answer, again)
		}
		f := Parse("Q\n\n## Model (m)\n\n" + answer + "\n\n" + Note("read x") + "\n\n## You\nnext\n")
		if len(f.Turns) != 3 || f.Text(0) != "Q" || f.Text(1) != answer || f.Text(2) != "next" {
			t.Fatalf("%q: %s", answer, dump(f))
		}
		if n := f.Notes(1); len(n) != 1 || n[0] != "read x" {
			t.Fatalf("%q: notes %q", answer, n)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "---\nmodel: m\n---\nhi\n## Model (m: answering)\nx", "```\n## You\n", "\uFEFFa\r\n## you\r\n"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, before, text string) {
		c := Parse(text)
		at := 0
		for i, turn := range c.Turns {
			if turn.Start < at || turn.Body < turn.Start || turn.End < turn.Body || turn.End > len(text) {
				t.Fatalf("turn %d: %+v", i, turn)
			}
			if end := c.Answer(i); end < turn.Body || end > turn.End {
				t.Fatalf("answer %d ends at %d", i, end)
			}
			at = turn.End
			c.Text(i)
			c.Notes(i)
		}
		c.History(len(c.Turns) - 1)
		c.Open(len(text) / 2)
		if ask, ok := Asked(before, text); ok && c.Find(ask) < 0 {
			t.Fatalf("asked %+v, which is not there", ask)
		}
	})
}
