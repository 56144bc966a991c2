package attributes

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/fs/ignore"
)

func TestWhole(t *testing.T) {
	files := map[string]File{
		"":    Parse("[attr]generated -merge\n*.gen generated\n*.po merge=po\nyarn.lock !merge\n*.svg binary\n*.ipynb merge=union\n/deep/a/* -merge\n"),
		"sub": Parse("*.gen merge\n\"a b.txt\" -merge\n!no -merge\n-bad- -merge\n"),
	}
	for path, want := range map[string]bool{
		"a.txt": false, "package-lock.json": true, "deep/er/Cargo.lock": true, "go.sum": false, "n.ipynb": false, "yarn.lock": false,
		"app.min.js": true, "x.gen": true, "sub/x.gen": false, "x.po": true, "x.svg": true, "sub/a b.txt": true, "a b.txt": false,
		"deep/a/b": true, "deep/a/b/c": false, "sub/no": false,
	} {
		dirs := strings.Split(filepath.Dir(path), "/")
		got := Whole(path, func(n int) File { return files[strings.Join(dirs[:n], "/")] })
		if got != want {
			t.Errorf("%s: whole %v", path, got)
		}
	}
}

var words = []string{"merge", "-merge", "!merge", "merge=union", "merge=binary", "merge=", "binary", "-binary", "!binary", "mine", "-mine", "other=x", "text", "-diff", "merge=a=b"}

var patterns = []string{"*", "a", "b", "*.o", "/a", "d/*", "d/**", "**/a", "d/", `"a"`, `"\141"`, "!a", "[ab]", "a*", "#a", `\#a`, "d/e/a"}

// TestAsGit holds random files at three levels against git check-attr.
func TestAsGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	work := t.TempDir()
	if out, err := exec.Command("git", "-C", work, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dirs := []string{"", "d", "d/e"}
	var paths []string
	for _, d := range dirs {
		os.MkdirAll(filepath.Join(work, d), 0o755)
		for _, n := range []string{"a", "b", "c.o", "#a", "ab"} {
			paths = append(paths, filepath.Join(d, n))
		}
	}
	seen := map[string]int{}
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 7))
		files := map[string]File{}
		var texts []string
		for _, d := range dirs {
			var b strings.Builder
			for range r.IntN(5) {
				if r.IntN(6) == 0 {
					b.WriteString("[attr]mine ")
				} else {
					b.WriteString(strings.Repeat(" ", r.IntN(2)) + patterns[r.IntN(len(patterns))] + " ")
				}
				for range r.IntN(4) {
					b.WriteString(words[r.IntN(len(words))] + []string{" ", "\t", "  "}[r.IntN(3)])
				}
				b.WriteString([]string{"\n", "\r\n"}[r.IntN(2)])
			}
			os.WriteFile(filepath.Join(work, d, Name), []byte(b.String()), 0o644)
			files[d] = Parse(b.String())
			texts = append(texts, d+":\n"+b.String())
		}
		cmd := exec.Command("git", "-C", work, "check-attr", "-z", "--stdin", "merge")
		cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		fields := bytes.Split(bytes.TrimSuffix(out, []byte{0}), []byte{0})
		for i := 0; i+2 < len(fields); i += 3 {
			path, want := string(fields[i]), string(fields[i+2])
			var stack []File
			for d := filepath.Dir(path); ; d = filepath.Dir(d) {
				stack = append(stack, files[strings.TrimPrefix(d, ".")])
				if d == "." {
					break
				}
			}
			got, ok := merge(path, stack)
			switch {
			case !ok, got == unspecified:
				got = "unspecified"
			case got == set, got == unset:
				got = got[1:]
			}
			if got != want {
				t.Fatalf("seed %d: %s: %q, git says %q\n%s", seed, path, got, want, strings.Join(texts, "\n"))
			}
			seen[want]++
		}
	}
	if len(seen) < 6 || seen["unset"] < 50 {
		t.Errorf("the files try nothing: %v", seen)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[attr]m -merge\n\"\\141 b\" m !x y=z\n", "a/b")
	f.Fuzz(func(t *testing.T, text, path string) {
		file := Parse(text)
		if len(file.lines) > ignore.MaxPatterns {
			t.Error("more lines than are read")
		}
		Whole(path, func(int) File { return file })
	})
}
