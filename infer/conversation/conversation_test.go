package conversation

import (
	"fmt"
	"strings"
	"testing"
)

// dump writes a parsed file in one line: who says what, and which state.
func dump(f *File) string {
	var out []string
	for i, t := range f.Turns {
		who := "you"
		if t.Role == Model {
			who = "model"
		}
		if t.Label.Name != "" {
			who += "=" + t.Label.Name
		}
		if t.Label.State != Done {
			who += "!" + string(t.Label.State)
		}
		out = append(out, fmt.Sprintf("%s:%q", who, f.Text(i)))
	}
	return strings.Join(out, " ")
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", ``},
		"space":              {" \n\t\n", ``},
		"one question":       {"What is this?\nReally?\n", `you:"What is this?\nReally?"`},
		"turns":              {"## You\n\nhi\n\n## Model\n\nhello\n\n## You\nbye\n", `you:"hi" model:"hello" you:"bye"`},
		"text before":        {"hi\n## Model\nhello\n", `you:"hi" model:"hello"`},
		"labels":             {"## You (Bert)\nhi\n## Model (qwen3 on anna)\nhello\n", `you=Bert:"hi" model=qwen3 on anna:"hello"`},
		"state":              {"hi\n## Model (q on a: answering)\nhel\n", `you:"hi" model=q on a!answering:"hel"`},
		"state with detail":  {"hi\n## Model (q on a: reading 40%)\n", `you:"hi" model=q on a!reading:""`},
		"unknown state":      {"hi\n## Model (q: fast)\nx\n", `you:"hi" model=q: fast:"x"`},
		"state alone":        {"hi\n## Model (waiting)\nx\n", `you:"hi" model!waiting:"x"`},
		"case and closing":   {"## you ##\nhi\n##\tMODEL\nx\n", `you:"hi" model:"x"`},
		"indented":           {"   ## You\nhi\n    ## Model\nx\n", `you:"hi\n    ## Model\nx"`},
		"not headings":       {"# You\n## Yours\n### Model\n##Model\n## Model x\n## You should\n", `you:"# You\n## Yours\n### Model\n##Model\n## Model x\n## You should"`},
		"fence":              {"```\n## Model\n```\nhi\n", "you:\"```\\n## Model\\n```\\nhi\""},
		"open fence":         {"~~~ go\n## Model\n```\n## You\n", "you:\"~~~ go\\n## Model\\n```\\n## You\""},
		"longer fence":       {"````\n```\n## Model\n````\n## Model\nx\n", "you:\"````\\n```\\n## Model\\n````\" model:\"x\""},
		"inline code":        {"```x```\n## Model\nx\n", "you:\"```x```\" model:\"x\""},
		"CRLF":               {"## You\r\nhi\r\nthere\r\n## Model (m)\r\nx\r\n", `you:"hi\nthere" model=m:"x"`},
		"BOM":                {"\uFEFF## You\nhi\n", `you:"hi"`},
		"BOM, front matter":  {"\uFEFF---\nmodel: m\n---\nhi\n", `you:"hi"`},
		"front matter alone": {"---\nmodel: m\n---\n", ``},
		"rules":              {"---\nhi\n---\nthere\n", `you:"---\nhi\n---\nthere"`},
		"not closed":         {"---\nmodel: m\nhi\n", `you:"---\nmodel: m\nhi"`},
		"notes":              {"hi\n## Model\nx\n> quoted\n\n> sheaf: read a\n> sheaf: left out b\n\n", `you:"hi" model:"x\n> quoted"`},
		"notes inside":       {"hi\n## Model\n> sheaf: read a\nx\n", `you:"hi" model:"> sheaf: read a\nx"`},
		"no newline":         {"hi\n## Model", `you:"hi" model:""`},
	} {
		if got := dump(Parse(c.text)); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	f := Parse("---\r\nmodel: qwen3\nsystem: |\n  Be\n  brief.\ncontext: [a.md, \"b c/\"]\ntemperature: 0\nmax_tokens: 50\ntags: x\n---\r\nhi\n")
	s := f.Settings
	if s.Err != nil || s.Model != "qwen3" || s.System != "Be\nbrief.\n" || len(s.Context) != 2 || s.Context[1] != "b c/" || *s.Temperature != 0 || s.MaxTokens != 50 {
		t.Errorf("%+v", s)
	}
	if c := Parse("---\ncontext: a.md b/\n---\n").Settings.Context; len(c) != 2 || c[1] != "b/" {
		t.Errorf("context in one line: %q", c)
	}
	for _, front := range []string{"temperature: hot", "temperature: .nan", "temperature: -1", "max_tokens: -4", "max_tokens: [1]", "model: [a", "model: {a: b}"} {
		f := Parse("---\n" + front + "\n---\nhi\n")
		if f.Settings.Err == nil || strings.Contains(f.Settings.Err.Error(), "\n") || f.Text(0) != "hi" {
			t.Errorf("%s: %v, %s", front, f.Settings.Err, dump(f))
		}
	}
}

func TestIsFile(t *testing.T) {
	for name, want := range map[string]bool{
		"q.ask": true, "a b.c.ask": true, "frage (anna).ask": true,
		"q.ask~": false, ".q.ask.swp": false, ".#q.ask": false, "#q.ask#": false, "q.ask.bak": false, ".ask": false, "~q.ask": false,
		"q~.ask": false, ".q.ask": false, "ask": false, "q.task": false, "4913": false,
	} {
		if IsFile(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestAsked(t *testing.T) {
	const one, two = "Q1\n## Model\nA1\n", "Q1\n## Model\nA1\n## You\nQ2\n## Model\nA2\n\n## You\n"
	for name, c := range map[string]struct{ before, after, want string }{
		"new":                   {"", "Q\n", "Q"},
		"half a line":           {"", "Q", ""},
		"line ended":            {"Q", "Q\n", "Q"},
		"saved again":           {"Q\n", "Q\n\n", ""},
		"changed":               {"Q\n", "Q2\n", "Q2"},
		"emptied":               {"Q\n", "", ""},
		"front matter only":     {"", "---\nmodel: x\n---\n", ""},
		"front matter changed":  {"---\nmodel: x\n---\nQ\n", "---\nmodel: y\n---\nQ\n", ""},
		"empty turn":            {one, one + "\n## You\n\n", ""},
		"follow-up":             {one, one + "\n## You\nwhy?\n", "why?"},
		"the same once more":    {one, one + "\n## You\nQ1\n", "Q1"},
		"below the invitation":  {two, two + "Q3\n", "Q3"},
		"appended to an answer": {one, one + "and?\n", ""},
		"an answer edited":      {two, strings.Replace(two, "A1", "A9", 1), ""},
		"first edited":          {two, strings.Replace(two, "Q1", "Q9", 1), "again Q9"},
		"second edited":         {two, strings.Replace(two, "Q2", "Q9", 1), "again Q9"},
		"edited, one open":      {two + "half", strings.Replace(two, "Q1", "Q9", 1) + "half", ""},
		"edited and asked":      {two, strings.Replace(two, "Q1", "Q9", 1) + "Q3\n", "Q3"},
		"space edited":          {two, strings.Replace(two, "Q1", "Q1  \n", 1), ""},
		"answer deleted":        {one, "Q1\n", ""},
		"question deleted":      {two, "Q1\n## Model\nA1\n## Model\nA2\n", ""},
		"all of it copied":      {"", two, ""},
		"written above":         {"Q\n", "---\nmodel: m\n---\nQ\n", ""},
		"in a fence":            {one, one + "```\n## You\nQ2\n", ""},
		"CRLF":                  {"", "Q\r\n", "Q"},
	} {
		ask, ok := Asked(c.before, c.after)
		got := ""
		if ok {
			got = ask.Text
			if ask.Again {
				got = "again " + got
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestFind(t *testing.T) {
	const two = "Q1\n## Model\nA1\n## You\nQ2\n## Model (x: stopped)\nA2\n## You\n"
	for name, c := range map[string]struct {
		text string
		q    Ask
		want int
	}{
		"last":      {two + "Q3\n", Ask{Text: "Q3"}, 4},
		"not ended": {two + "Q3", Ask{Text: "Q3"}, -1},
		"other":     {two + "Q3\n", Ask{Text: "Q4"}, -1},
		"answered":  {two, Ask{Text: "Q1"}, -1},
		"stopped":   {two, Ask{Text: "Q2"}, 2},
		"again":     {two, Ask{Text: "Q1", Again: true}, 0},
	} {
		if got := Parse(c.text).Find(c.q); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestHistory(t *testing.T) {
	f := Parse("a\n## You\nb\n## Model (m)\nx\n\n\\## You\n\n> sheaf: read f\n\n## You\n\n## Model (m: waiting)\n\n> sheaf: no model\n## You\nc\n## Model\nlater\n")
	var got []string
	for _, s := range f.History(5) {
		got = append(got, fmt.Sprintf("%d%q", s.Role, s.Text))
	}
	if s := strings.Join(got, " "); s != `0"a\n\nb" 1"x\n\n## You" 0"c"` {
		t.Error(s)
	}
	if n := f.Notes(4); len(n) != 1 || n[0] != "no model" {
		t.Errorf("notes %q", n)
	}
}

func TestLabels(t *testing.T) {
	for _, l := range []Label{{}, {Name: "m on a"}, {Name: "m", State: Reading, Detail: "40%"}, {State: Waiting}, {Name: "a, b", State: Interrupted}} {
		role, got, ok := heading(Heading(l))
		if !ok || role != Model || got != l {
			t.Errorf("%+v: %s is %+v", l, Heading(l), got)
		}
	}
	for in, want := range map[string]string{
		"qwen3:0.6b": "qwen3-0.6b", "a\n## You (x)": "a -- You -x-", "": "", "\x00é\u202e": "é", "ééé": "éé",
	} {
		if got := Name(in, 5+len(want)/100+len("a -- You -x-")*(len(in)/8)); in != "ééé" && got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Name("ééé", 5); got != "éé" {
		t.Errorf("cut to %q", got)
	}
	if n := Note("a\nb"); n != "> sheaf: a b" || !isNote(n) {
		t.Errorf("note %q", n)
	}
}
