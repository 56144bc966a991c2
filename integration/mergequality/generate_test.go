package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// story is a file of a generated repository: what it was when two branches parted, and what each
// commit of theirs made of it. A commit that leaves it alone has "".
type story struct {
	path, base string
	ours       []string
	theirs     []string
}

// generate makes a repository with one merge of two branches, in which the stories happen.
func generate(t *testing.T, stories []story) string {
	t.Helper()
	dir := t.TempDir()
	git := func(stdin string, args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("", "init", "-q", "-b", "main")

	var in strings.Builder
	commits, last := 0, map[string]int{}
	commit := func(branch string, from, merge int, files map[string]string) {
		commits++
		fmt.Fprintf(&in, "commit refs/heads/%s\nmark :%d\ncommitter a <a@example.org> %d +0000\ndata 1\nx\n", branch, commits, 1700000000+commits)
		if from > 0 {
			fmt.Fprintf(&in, "from :%d\n", from)
		}
		if merge > 0 {
			fmt.Fprintf(&in, "merge :%d\n", merge)
		}
		for _, s := range stories { // in their order
			if text, ok := files[s.path]; ok {
				fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", s.path, len(text), text)
			}
		}
		last[branch] = commits
	}
	files := map[string]string{}
	for _, s := range stories {
		files[s.path] = s.base
	}
	commit("main", 0, 0, files)
	for branch, saves := range map[string]func(s story) []string{
		"ours": func(s story) []string { return s.ours }, "theirs": func(s story) []string { return s.theirs },
	} {
		from := 1
		for n, more := 0, true; more; n++ {
			more = false
			files := map[string]string{}
			for _, s := range stories {
				if n < len(saves(s)) {
					more = true
					if text := saves(s)[n]; text != "" {
						files[s.path] = text
					}
				}
			}
			if more {
				commit(branch, from, 0, files)
				from = last[branch]
			}
		}
	}
	commit("main", last["ours"], last["theirs"], nil)
	git(in.String(), "fast-import", "--quiet")
	return dir
}

// text is a file of numbered lines, with some of them replaced: "" removes one, and what has
// more lines adds.
func text(n int, with map[int]string) string {
	var b strings.Builder
	for i := range n {
		if l, ok := with[i]; ok {
			b.WriteString(l)
			continue
		}
		fmt.Fprintf(&b, "line %d of the file\n", i)
	}
	return b.String()
}
