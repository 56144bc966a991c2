package sources

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

func TestRefs(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"none":       {"mail a@b.c, no@where", ""},
		"some":       {"@a.md and (@b/c.go) @d/\n@*.txt", "a.md|b/c.go)|d/|*.txt"},
		"lines":      {"@a.md:10-40 @b:7 @c:0 @d:9-3 @e:1-2x", "a.md[10,40]|b[7,7]|c:0|d:9-3|e:1-2x"},
		"quoted":     {`see @"my file.md" and @"x y":3-4.`, "my file.md|x y[3,4]"},
		"once":       {"@a @a", "a"},
		"code":       {"`@a` ``x ` @b`` @c ```\n@d\n~~~\n@e\n~~~\n@f", "c|d|f"},
		"bold":       {"**@a.md**", "a.md**"},
		"not closed": {`@"a b`, ""},
		"alone":      {"@ @", ""},
		"angle":      {"<@a>", "a"},
	} {
		var got []string
		for _, r := range Refs(c.text) {
			s := r.Path
			if r.From > 0 {
				s += fmt.Sprintf("[%d,%d]", r.From, r.To)
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: %q, want %q", name, s, c.want)
		}
	}
}

// folder makes a folder with files: a name that ends in a slash is a directory,
// a text that begins with "-> " a symlink.
func folder(t testing.TB, files ...[2]string) *crdt.Folder {
	t.Helper()
	h, err := crdt.Init(t.TempDir(), crdt.Options{DeviceName: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	f, err := h.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	err = f.Update(func(tx *crdt.Tx) error {
		dirs := map[string]crdt.NodeID{"": crdt.Root}
		for _, file := range files {
			parts := strings.Split(file[0], "/")
			dir := ""
			for _, p := range parts[:len(parts)-1] {
				q := strings.TrimPrefix(dir+"/"+p, "/")
				if _, ok := dirs[q]; !ok {
					if dirs[q], err = tx.Mkdir(dirs[dir], p, 0o755); err != nil {
						return err
					}
				}
				dir = q
			}
			name, text := parts[len(parts)-1], file[1]
			if target, ok := strings.CutPrefix(text, "-> "); ok {
				_, err = tx.Symlink(dirs[dir], name, target)
			} else if name != "" {
				c := crdt.NewContent{Text: text}
				if !crdt.IsText([]byte(text)) || len(text) > crdt.MaxText {
					h, n, err := h.Objects().Put(strings.NewReader(text))
					if err != nil {
						return err
					}
					c = crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(h), Size: n}}
				}
				_, _, err = tx.Create(dirs[dir], name, 0o644, c)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", file[0], err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestGather(t *testing.T) {
	f := folder(t,
		[2]string{"a.md", "one\ntwo\nthree"}, [2]string{"notes.md", "n\n"}, [2]string{"notes.mdx", "x\n"}, [2]string{"my file.md", "my\n"},
		[2]string{"dir/a.md", "inner\n"}, [2]string{"dir/b.go", "b\n"}, [2]string{"dir/sub/c.go", "c\n"}, [2]string{"dir/.hidden", "h\n"},
		[2]string{"dir/q.ask", "self\n"}, [2]string{"x.png", "\x89PNG\x00"}, [2]string{"link", "-> a.md"}, [2]string{"dir/out", "-> ../../etc"},
		[2]string{".git/config", "secret\n"}, [2]string{"empty", ""}, [2]string{"evil", "@a.md @/etc/passwd\n"}, [2]string{"big.log", strings.Repeat("a line of a log\n", crdt.MaxText/16+1)},
	)
	self, err := f.Resolve("dir/q.ask")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ question, want, left string }{
		"file":             {"@a.md?", "dir/a.md=inner", ""},
		"root first":       {"@/a.md", "a.md=one two three", ""},
		"up":               {"@../a.md", "a.md=one two three", ""},
		"root fallback":    {"@notes.md? or @x/y", "notes.md=n", "x/y (no such file)"},
		"sentence":         {"(see @notes.md.)", "notes.md=n", ""},
		"question mark":    {"@notes.md?", "notes.md=n", ""},
		"pattern":          {"@/notes.md?", "notes.md=n", ""},
		"lines":            {"@/a.md:2-9 @/a.md:2 @/a.md:4", "a.md:2-3=two three a.md:2-2=two", "a.md:4-4 (it has 3 lines)"},
		"quoted":           {`@"my file.md"`, "my file.md=my", ""},
		"directory":        {"@/dir/", "dir/a.md=inner dir/b.go=b dir/sub/c.go=c", ""},
		"glob":             {"@*.go", "dir/b.go=b", ""},
		"deep glob":        {"@**/*.go", "dir/b.go=b dir/sub/c.go=c", ""},
		"glob in dir":      {"@/dir/*/c.*", "dir/sub/c.go=c", ""},
		"bad glob":         {"@[", "", "[ (no such file)"},
		"person":           {"@bert, what is @that?", "", ""},
		"twice":            {"@a.md @dir/a.md @./a.md", "dir/a.md=inner", ""},
		"self":             {"@q.ask", "", ""},
		"not text":         {"@x.png", "", "x.png (not text)"},
		"symlink":          {"@link @out @link/a @out/passwd", "", "link (a symlink)|dir/out (a symlink)|link/a (a symlink)|dir/out/passwd (a symlink)"},
		"outside":          {"@/../../etc/passwd @../../etc/passwd", "", "/../../etc/passwd (outside the folder)|../../etc/passwd (outside the folder)"},
		"local":            {"@/.git/config @.GIT/x @/.sheaf/status @**/config", "", ".git/config (.git is not shared)|dir/.GIT/x (.GIT is not shared)|.sheaf/status (.sheaf is not shared)|**/config (no such file)"},
		"empty":            {"@empty", "empty=", ""},
		"refers to others": {"@evil", "evil=@a.md @/etc/passwd", ""},
		"file as dir":      {"@notes.md/x", "", "notes.md/x (no such file)"},
	} {
		dir := "dir"
		out, left, err := Folder{Folder: f, Dir: dir, Self: self.Node}.Gather(t.Context(), Refs(c.question))
		if err != nil {
			t.Fatal(err)
		}
		var got, gone []string
		for _, s := range out {
			got = append(got, s.Name()+"="+strings.Join(strings.Split(strings.TrimSuffix(s.Text, "\n"), "\n"), " "))
			if len(s.Version) == 0 && s.Text != "" {
				t.Errorf("%s: no version", name)
			}
		}
		for _, l := range left {
			gone = append(gone, l.String())
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
		if s := strings.Join(gone, "|"); s != c.left {
			t.Errorf("%s: left out %s, want %s", name, s, c.left)
		}
	}
	out, _, err := Folder{Folder: f}.Gather(t.Context(), Refs("@big.log"))
	if err != nil || len(out) != 1 || out[0].From != 1 || len(out[0].Text) > MaxBytes || !strings.HasSuffix(out[0].Text, "\n") {
		t.Errorf("a large file: %+v, %v", len(out), err)
	}
}

func TestGatherLimit(t *testing.T) {
	var files [][2]string
	for i := range MaxFiles + 3 {
		files = append(files, [2]string{fmt.Sprintf("d/%04d", i), "x\n"})
	}
	f := folder(t, files...)
	out, left, err := Folder{Folder: f}.Gather(t.Context(), Refs("@d/"))
	if err != nil || len(out) != MaxFiles || len(left) != 1 || left[0].Path != "3 more files" {
		t.Errorf("%d sources, left out %v, %v", len(out), left, err)
	}
}

func TestHead(t *testing.T) {
	s := Source{Path: "a", Text: "1\n2\n3\n", Lines: 3}
	if h := s.Head(2); h.Text != "1\n2\n" || h.Name() != "a:1-2" {
		t.Errorf("%+v", h)
	}
	s.From, s.To = 10, 12
	if h := s.Head(1); h.Text != "1\n" || h.Name() != "a:10-10" {
		t.Errorf("%+v", h)
	}
}

func FuzzRefs(f *testing.F) {
	f.Add("see @a.md:1-2, @\"b c\" `@d`")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Refs(s) {
			for _, r := range r.shorter() {
				if p, ok := clean("x", r.Path); ok && (p == ".." || strings.HasPrefix(p, "../") || strings.HasPrefix(p, "/")) {
					t.Fatalf("%q leads to %q", s, p)
				}
			}
		}
	})
}
