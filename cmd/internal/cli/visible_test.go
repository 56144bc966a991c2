package cli

import (
	"bytes"
	"testing"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

func TestVisible(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"notes/list.md", "notes/list.md"},
		{"日本語 café 👩‍🔧.md", "日本語 café 👩‍🔧.md"},
		{`a\b 'c' "d"`, `a\b 'c' "d"`},
		{"\x1b[31mred\a", `\x1b[31mred\a`},
		{"two\nlines\tand a tab", `two\nlines\tand a tab`},
		{"\u202egnp.exe", `\u202egnp.exe`},
		{"\u009b31m", `\u009b31m`},
		{"\xff\xfe.txt", `\xff\xfe.txt`},
		{"\r", `\r`},
	} {
		if got := visibleName(c.name); got != c.want {
			t.Errorf("%q is shown as %s, want %s", c.name, got, c.want)
		}
	}
	if got := visible("a\n\tb\x1b\n"); got != "a\n\tb\\x1b\n" {
		t.Errorf("text of lines: %q", got)
	}
}

// No command prints a name as an order to the terminal.
func TestNamesDoNotSteerTheTerminal(t *testing.T) {
	evil := "x\x1b]0;owned\a"
	var out bytes.Buffer
	report(&out, control.Errorf(control.NotFound, "%s: no such file", evil).WithHint("look at %s", evil))
	if err := printLog(&out, control.LogReply{Revisions: []control.Revision{{Path: evil, From: evil, Label: evil, Device: evil, Change: "12345678"}}}); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsAny(out.Bytes(), "\x1b\a") {
		t.Errorf("printed %q", out.Bytes())
	}
}
