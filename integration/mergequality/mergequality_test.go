package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

type with = map[int]string

// stories that git merges, and what must come of them with one save a side and with several.
var cleanStories = []story{
	{"apart", text(20, nil), []string{text(20, with{2: "two\n"})}, []string{text(20, with{15: "fifteen\n"})}},
	{"windows", strings.ReplaceAll(text(20, nil), "\n", "\r\n"),
		[]string{strings.ReplaceAll(text(20, with{2: "two\n"}), "\n", "\r\n")}, []string{strings.ReplaceAll(text(20, with{15: ""}), "\n", "\r\n")}},
	{"unended", text(9, nil) + "end", []string{text(9, with{1: "one\n"}) + "end"}, []string{text(9, nil) + "the end"}},
	{"marked", "\ufeff" + text(9, nil), []string{"\ufeff" + text(9, with{1: "\U0001f469\u200d\U0001f680 e\u0301\n"})}, []string{"\ufeff" + text(9, with{6: "six\n"})}},
	{"picked", text(20, nil), []string{text(20, with{2: "two\n", 9: "nine\nand a half\n"})}, []string{text(20, with{15: "", 9: "nine\nand a half\n"})}},
	{"twice", text(20, nil), []string{text(20, with{2: "two\n"}), text(20, with{2: "zwei\n"})}, []string{text(20, with{15: "fifteen\n"})}},
	{"steps", text(20, nil), []string{text(20, with{2: "a first try\n"}), text(20, with{2: "this was meant\n"})}, []string{text(20, with{2: "this was meant\n", 15: "fifteen\n"})}},
	{"later", text(20, nil), []string{text(20, with{2: ""}), text(20, with{2: "", 9: "nine\n"})}, []string{text(20, with{15: "", 9: "nine\n"})}},
	{"repeated", strings.Repeat("\tx\n}\n\n", 9), []string{strings.Repeat("\tx\n}\n\n", 10)}, []string{"y\n" + strings.Repeat("\tx\n}\n\n", 9)}},
}

// stories in which git conflicts.
var conflicts = []story{
	{"line", text(9, nil), []string{text(9, with{4: "one of them wrote this\n"})}, []string{text(9, with{4: "the other meant that\n"})}},
	{"words", text(9, nil), []string{text(9, with{4: "line 4 of our file\n"})}, []string{text(9, with{4: "row 4 of the file\n"})}},
	{"end", text(9, nil), []string{text(9, nil) + "mine\n"}, []string{text(9, nil) + "yours\n"}},
	{"next", text(9, nil), []string{text(9, with{4: "here\n"})}, []string{text(9, with{5: "there\n"})}},
	{"removed", text(9, nil), []string{text(9, with{4: ""})}, []string{text(9, with{4: "line 4 of the changed file\n"})}},
	{"saves", text(9, nil), []string{text(9, with{4: "here\n"}), text(9, with{4: "here\nand here\n"})}, []string{text(9, with{5: "there\n"})}},
}

// TestGenerated merges a repository made for it, in which the outcome of every file is known.
func TestGenerated(t *testing.T) {
	stories := append(append([]story{}, cleanStories...), conflicts...)
	stories = append(stories, story{"object", "\x00a", []string{"\x00b"}, []string{"\x00c"}},
		story{"equal", text(9, nil), []string{text(9, with{1: "one\n"})}, []string{text(9, with{1: "one\n"})}})
	dir := generate(t, stories)
	r, err := measure(context.Background(), dir, options{jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.merges != 1 || r.made != 1 || r.notText != 1 || r.equal != 1 || r.files != len(cleanStories)+len(conflicts)+1 {
		t.Errorf("counted %+v", r)
	}
	for w := range ways {
		v := r.tallies[w].verdicts
		clean, all := v[same], 0
		for _, n := range v {
			all += n
		}
		wantClean, wantAll := len(cleanStories), len(cleanStories)+len(conflicts)
		if w >= staleSeveral {
			wantClean, wantAll = 3, 4
		}
		if clean != wantClean || all != wantAll || v[lost] != 0 || r.tallies[w].twiceClean != 0 {
			t.Errorf("%s: %+v", wayNames[w], r.tallies[w])
		}
	}
	if t.Failed() {
		t.Log(strings.Join(r.cases, "\n"))
	}
}

// The same repository gives the same output, however many jobs there are.
func TestReport(t *testing.T) {
	dir := generate(t, cleanStories)
	var first, second bytes.Buffer
	for jobs, out := range []*bytes.Buffer{&first, &second} {
		if err := run(context.Background(), []string{"-v", "-j", fmt.Sprint(jobs + 1), dir, dir}, out); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() {
		t.Errorf("two runs differ:\n%s\n%s", &first, &second)
	}
	if !strings.Contains(first.String(), "| all | 18 | 18 | 100.00 % |") {
		t.Errorf("no sum over the repositories:\n%s", &first)
	}
}

// Judge sees what a merge does wrong.
func TestJudge(t *testing.T) {
	m := &merge{base: "a\nb\n", sides: [2]string{"a\nnew\nb\n", "a\nb\nend here\n"}, clean: true, git: "a\nnew\nb\nend here\n"}
	for ours, want := range map[string]verdict{
		m.git:                         same,
		"a\nb\nnew\nend here\n":       order,
		"a\nnew\nnew\nb\nend here\n":  other,
		"a\nb\nend here\n":            lost,
		"a\nnew\na\nb\nend here\nb\n": other,
	} {
		if got := judge(m, [2][]string{}, ours).verdict; got != want {
			t.Errorf("%q: %s, not %s", ours, verdictNames[got], verdictNames[want])
		}
	}
	m = &merge{base: "a\nb\n", sides: [2]string{"a\nold new\n", "a\nold end\n"}}
	for ours, want := range map[string]verdict{
		"a\nold new\nold end\n": present,
		"a\nold new end\n":      words,
		"a\nold newend\n":       glued,
		"a\nold end\n":          lost,
	} {
		if got := judge(m, [2][]string{}, ours).verdict; got != want {
			t.Errorf("a conflict, %q: %s, not %s", ours, verdictNames[got], verdictNames[want])
		}
	}
	m = &merge{base: "a\n", sides: [2]string{"a\nword\n", "a\nother\n"}}
	if j := judge(m, [2][]string{{"a\nword\n"}, {"a\nword\n", "a\nother\n"}}, "a\nother\n"); j.verdict != withdrawn {
		t.Errorf("a word that its other author took away: %+v", j)
	}
	m = &merge{base: "a\n", sides: [2]string{"a\nnew\n", "new\na\nnew\n"}, clean: true, git: "new\na\nnew\n"}
	if j := judge(m, [2][]string{}, "new\na\nnew\nnew\n"); j.verdict != doubled || j.twice != 1 {
		t.Errorf("a doubled line: %+v", j)
	}
}

func TestBases(t *testing.T) {
	// 7 is the root. 1 and 2 part at 4 and met in 3; 5 and 6 are crossed by 3 and 4.
	h := history{ids: make([]string, 8), parents: [][]int32{{1, 2}, {3}, {4}, {5, 6}, {6, 5}, {7}, {7}, nil}}
	side := make([]uint8, 8)
	for _, c := range []struct {
		a, b int32
		want []int32
	}{{1, 2, []int32{5, 6}}, {1, 5, []int32{5}}, {5, 6, []int32{7}}, {3, 3, []int32{3}}, {0, 4, []int32{4}}} {
		if got := h.bases(c.a, c.b, side); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("bases of %d and %d: %v, not %v", c.a, c.b, got, c.want)
		}
	}
	for _, s := range side {
		if s != 0 {
			t.Fatal("marks are left")
		}
	}
}
