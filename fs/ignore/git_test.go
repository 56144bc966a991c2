package ignore

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var atoms = []string{"a", "b", "ab", "c.o", "*", "*.o", "**", "***", "?", "??", "[ab]", "[!a]", "[^a]", "[!a-c]x", "a*", "*b", "a?b", `\a`, "[a-c]",
	`\*`, `\#`, `\!a`, "a b", "[]]", "[]-a]", "[a-]", "[[:alpha:]]", "[[:digit:][:punct:]]", "[[:nope:]]", "[[a]", "[", "[a", `a\`, `[\]]`, "x.y", "é", "a*b*a", "*a*b*"}

var names = []string{"a", "b", "ab", "c.o", "x.y", "a b", "*", "é", "aab", "]", "-", "abc", "#", "!a", "[", "1", "a ", "bx"}

func randomPattern(r *rand.Rand) string {
	var parts []string
	for range 1 + r.IntN(3) {
		a := atoms[r.IntN(len(atoms))]
		if r.IntN(4) == 0 {
			a += atoms[r.IntN(len(atoms))]
		}
		parts = append(parts, a)
	}
	s := strings.Join(parts, "/")
	for _, x := range []struct {
		one         int
		first, last string
	}{{5, "/", ""}, {5, "", "/"}, {4, "!", ""}, {12, "", " "}, {12, "", `\ `}, {20, "#", ""}, {20, "", "\r"}, {30, "", "//"}, {30, "//", ""}} {
		if r.IntN(x.one) == 0 {
			s = x.first + s + x.last
		}
	}
	return s
}

// TestAsGit holds random patterns, in files at two levels, against git check-ignore.
func TestAsGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	git := func(args ...string) *exec.Cmd { return exec.Command("git", append([]string{"-C", dir}, args...)...) }
	if out, err := git("init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	excluded, looked := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		files := map[string]Rules{}
		var texts []string
		work := filepath.Join(dir, "w")
		os.RemoveAll(work)
		var paths []string
		isDir := map[string]bool{}
		var grow func(rel string, depth int)
		grow = func(rel string, depth int) {
			os.MkdirAll(filepath.Join(work, rel), 0o755)
			isDir[rel] = true
			if depth < 2 {
				var lines []string
				for range 1 + r.IntN(4) {
					lines = append(lines, randomPattern(r))
				}
				text := strings.Join(lines, "\n") + "\n"
				os.WriteFile(filepath.Join(work, rel, ".gitignore"), []byte(text), 0o644)
				files[rel] = Parse(text)
				texts = append(texts, rel+": "+strings.ReplaceAll(text, "\n", "⏎"))
			}
			for _, n := range names {
				if r.IntN(3) != 0 {
					continue
				}
				p := filepath.Join(rel, n)
				if depth < 3 && r.IntN(2) == 0 {
					grow(p, depth+1)
				} else {
					os.WriteFile(filepath.Join(work, p), nil, 0o644)
				}
				paths = append(paths, p)
			}
		}
		grow("", 0)
		in := "w/" + strings.Join(paths, "\x00w/") + "\x00"
		cmd := git("check-ignore", "-z", "--stdin", "--no-index")
		cmd.Stdin = strings.NewReader(in)
		out, _ := cmd.Output() // it fails where nothing is ignored
		want := map[string]bool{}
		for p := range bytes.SplitSeq(out, []byte{0}) {
			want[strings.TrimPrefix(string(p), "w/")] = true
		}
		for _, p := range paths {
			looked++
			got := excludes(files, p, isDir)
			if got != want[p] {
				t.Fatalf("seed %d: %q (directory: %v): git says %v\n%s", seed, p, isDir[p], want[p], strings.Join(texts, "\n"))
			}
			if got {
				excluded++
			}
		}
	}
	if excluded < looked/10 || looked < 500 {
		t.Errorf("%d of %d excluded: the patterns try nothing", excluded, looked)
	}
}

// excludes asks the files from the top down, as a filesystem does.
func excludes(files map[string]Rules, path string, isDir map[string]bool) bool {
	parts := strings.Split(path, "/")
	for n := range parts {
		sub := strings.Join(parts[:n+1], "/")
		for k := n; k >= 0; k-- {
			r, ok := files[strings.Join(parts[:k], "/")]
			if !ok {
				continue
			}
			x, matched := r.Match(strings.Join(parts[k:n+1], "/"), isDir[sub])
			if x {
				return true
			}
			if matched {
				break
			}
		}
	}
	return false
}

// TestHostile has a peer write what makes matchers go back and forth.
func TestHostile(t *testing.T) {
	long := strings.Repeat("a", 255)
	begin := time.Now()
	for _, p := range []string{strings.Repeat("*a", 100) + "b", strings.Repeat("**/", 300) + "b", strings.Repeat("[a-z]*", 200) + "b"} {
		r := Parse(p)
		if x, _ := r.Match(strings.Repeat(long+"/", 15)+long, false); x {
			t.Errorf("%.20s matches", p)
		}
	}
	r := Parse(strings.Repeat("*x*x*x*x*x*\n", 10000))
	if !r.Cut || len(r.patterns) > MaxPatterns {
		t.Errorf("%d patterns are kept", len(r.patterns))
	}
	r.Match(long, false)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a/**/b\n![[:alpha:]]\\", "a/b", true)
	f.Fuzz(func(t *testing.T, text, path string, dir bool) {
		r := Parse(text)
		x, matched := r.Match(path, dir)
		if x && !matched {
			t.Error("excluded by no pattern")
		}
	})
}
