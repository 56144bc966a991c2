package text

import (
	"slices"
	"strings"
	"testing"
)

// What people get who change one text at the same time. Where both put something in one place, either may stand first.
func TestMerges(t *testing.T) {
	l := func(ls ...string) string { return strings.Join(ls, "\n") + "\n" }
	for _, c := range []struct {
		name, base, a, b string
		want, or         string // or: where the order is open
	}{
		{"two sentences of one line",
			"The meeting is on Monday. Please bring slides. Coffee will be served at ten.\n",
			"The meeting is on Tuesday afternoon. Please bring slides. Coffee will be served at ten.\n",
			"The meeting is on Monday. Please bring slides and figures. Tea will be served at ten.\n",
			"The meeting is on Tuesday afternoon. Please bring slides and figures. Tea will be served at ten.\n", ""},
		{"words side by side", "The quick brown fox jumps.\n", "The slow brown fox jumps.\n", "The quick red fox jumps.\n",
			"The slow red fox jumps.\n", ""},
		{"one word", "The quick brown fox jumps.\n", "The slow brown fox jumps.\n", "The fast brown fox jumps.\n",
			"The slow fast brown fox jumps.\n", "The fast slow brown fox jumps.\n"},
		{"the last word", "The fox jumps.\n", "The fox leaps.\n", "The fox hops.\n", "The fox leaps hops.\n", "The fox hops leaps.\n"},
		{"a value", "port = 80\n", "port = 8080\n", "port = 443\n", "port = 8080 443\n", "port = 443 8080\n"},
		{"a sentence at the end", "One.\n", "One. Anna wrote this.\n", "One. Bert wrote that.\n",
			"One. Anna wrote this. Bert wrote that.\n", "One. Bert wrote that. Anna wrote this.\n"},
		{"a sentence removed, a word of it changed", "First part. Second part there. Third part.\n", "First part. Third part.\n",
			"First part. Second piece there. Third part.\n", "First part. piece Third part.\n", ""},
		{"lines wrapped anew", l("The quick brown fox jumps over", "the lazy dog and runs away", "from here."),
			l("The quick brown fox", "jumps over the lazy dog and", "runs away from here."),
			l("The quick brown fox jumps over", "the sleepy dog and runs away", "from here."),
			l("The quick brown fox", "jumps over the sleepy dog and", "runs away from here."), ""},
		{"a typo that both mend", "Teh quick fox.\n", "The quick fox.\n", "The quick fox!\n", "The quick fox!\n", ""},

		{"a list with commas at all ends", l("[", `  "a",`, "]"), l("[", `  "a",`, `  "b",`, "]"), l("[", `  "a",`, `  "c",`, "]"),
			l("[", `  "a",`, `  "b",`, `  "c",`, "]"), l("[", `  "a",`, `  "c",`, `  "b",`, "]")},
		{"a list without the last comma", l("[", `  "a"`, "]"), l("[", `  "a",`, `  "b"`, "]"), l("[", `  "a",`, `  "c"`, "]"),
			l("[", `  "a",`, `  "b"`, `  "c"`, "]"), l("[", `  "a",`, `  "c"`, `  "b"`, "]")},
		{"a list in a line", "[1, 2, 3]\n", "[1, 2, 3, 4]\n", "[0, 1, 2, 3]\n", "[0, 1, 2, 3, 4]\n", ""},
		{"values of two keys", l("{", `  "port": 80,`, `  "host": "a"`, "}"), l("{", `  "port": 8080,`, `  "host": "a"`, "}"),
			l("{", `  "port": 80,`, `  "host": "b"`, "}"), l("{", `  "port": 8080,`, `  "host": "b"`, "}"), ""},

		{"imports", l("bytes", "os", "time"), l("bytes", "fmt", "os", "time"), l("bytes", "os", "strings", "time"),
			l("bytes", "fmt", "os", "strings", "time"), ""},
		{"imports in one place", l("bytes", "os"), l("bytes", "fmt", "os"), l("bytes", "io", "os"),
			l("bytes", "fmt", "io", "os"), l("bytes", "io", "fmt", "os")},
		{"one import", l("bytes", "os"), l("bytes", "fmt", "os"), l("bytes", "fmt", "os"), l("bytes", "fmt", "os"), ""},
		{"one import of two", l("bytes", "os"), l("bytes", "fmt", "os"), l("bytes", "fmt", "io", "os"),
			l("bytes", "fmt", "fmt", "io", "os"), l("bytes", "fmt", "io", "fmt", "os")},
		{"a function each, one having changed the line above", l("f {", "  a", "}", "", "end"),
			l("f {", "  a", "}", "", "g {", "  b", "}", "", "end"), l("f {", "  a", "} // f", "", "h {", "  c", "}", "", "end"),
			l("f {", "  a", "} // f", "", "h {", "  c", "}", "", "g {", "  b", "}", "", "end"), ""},

		{"a changelog", l("# Next", "", "- old"), l("# Next", "", "- anna", "- old"), l("# Next", "", "- bert", "- old"),
			l("# Next", "", "- anna", "- bert", "- old"), l("# Next", "", "- bert", "- anna", "- old")},
		{"a changelog at its end", l("- old"), l("- old", "- anna"), l("- old", "- bert"),
			l("- old", "- anna", "- bert"), l("- old", "- bert", "- anna")},
		{"the end of a file without a newline", "old", "old\nanna", "old\nbert", "old\nanna\nbert", "old\nbert\nanna"},

		{"rows of a table", l("| a | b |", "|---|---|", "| 1 | 2 |"), l("| a | b |", "|---|---|", "| 1 | 2 |", "| 3 | 4 |"),
			l("| a | b |", "|---|---|", "| 1 | 2 |", "| 5 | 6 |"), l("| a | b |", "|---|---|", "| 1 | 2 |", "| 3 | 4 |", "| 5 | 6 |"),
			l("| a | b |", "|---|---|", "| 1 | 2 |", "| 5 | 6 |", "| 3 | 4 |")},
		{"cells of a row", "| ann | 1 | rome |\n", "| ann | 2 | rome |\n", "| ann | 1 | oslo |\n", "| ann | 2 | oslo |\n", ""},
		{"a column and a row", l("| a | b |", "|---|---|", "| 1 | 2 |"), l("| a | b | c |", "|---|---|---|", "| 1 | 2 | 3 |"),
			l("| a | b |", "|---|---|", "| 1 | 2 |", "| 5 | 6 |"), l("| a | b | c |", "|---|---|---|", "| 1 | 2 | 3 |", "| 5 | 6 |"), ""},

		{"a numbered list", l("1. wash the car", "2. buy some milk", "3. call my mother"),
			l("1. wash the car", "2. walk the dog", "3. buy some milk", "4. call my mother"),
			l("1. wash the car", "2. buy fresh milk", "3. call my mother"),
			l("1. wash the car", "2. walk the dog", "3. buy fresh milk", "4. call my mother"), ""},
		{"a numbered list and its end", l("1. one", "2. two"), l("1. new", "2. one", "3. two"), l("1. one", "2. two", "3. last"),
			l("1. new", "2. one", "3. two", "3. last"), l("1. new", "2. one", "3. last", "3. two")},
		{"a task done and changed", l("- [ ] buy milk", "- [ ] call ann"), l("- [x] buy milk", "- [ ] call ann"),
			l("- [ ] buy milk and eggs", "- [ ] call ann"), l("- [x] buy milk and eggs", "- [ ] call ann"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name := range byte(16) {
				d := NewDoc(Node{name})
				v := save(t, d, nil, c.base)
				save(t, d, v, c.a)
				save(t, d, v, c.b)
				if got := d.Text(); !slices.Contains([]string{c.want, c.or}, got) {
					t.Fatalf("%q, not %q", got, c.want)
				}
			}
		})
	}
}
