package daemon

import (
	"testing"

	"github.com/sheaf-fs/sheaf/cmd/internal/automerge"
	"github.com/sheaf-fs/sheaf/crdt"
)

func newFolder(t *testing.T) *crdt.Folder {
	t.Helper()
	h, err := crdt.Init(t.TempDir(), crdt.Options{DeviceName: "desk"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	f, err := h.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A document's steps become versions of one file whose text is the document's, whatever they are.
func TestMakeFile(t *testing.T) {
	type steps = []automerge.Step
	f := newFolder(t)
	for name, c := range map[string]struct {
		steps    steps
		text     string
		versions int // of the file, as its history tells them
	}{
		"none":             {nil, "text\n", 1},
		"empty":            {steps{{}}, "", 0},
		"one after other":  {steps{{}, {After: []int{0}, Text: "a\n"}, {After: []int{1}, Text: "a\nb\n"}}, "a\nb\n", 2},
		"concurrent":       {steps{{Text: "a\nz\n"}, {After: []int{0}, Text: "b\na\nz\n"}, {After: []int{0}, Text: "a\nz\nc\n"}}, "b\na\nz\nc\n", 3},
		"merged otherwise": {steps{{Text: "a\n"}, {After: []int{0}, Text: "b\na\n"}, {After: []int{0}, Text: "c\na\n"}}, "x\n", 4},
		"began twice":      {steps{{Text: "a\n"}, {Text: "b\n"}}, "a\nb\n", 1},
		"was no text":      {steps{{Text: "a\x00"}, {After: []int{0}, Text: "a\n"}}, "a\n", 1},
		"emptied":          {steps{{Text: "a\n"}, {After: []int{0}}}, "", 2},
		"changed nothing":  {steps{{Text: "a\n"}, {After: []int{0}, Text: "a\n"}, {After: []int{1}, Text: "b\n"}}, "b\n", 2},
		"made on nothing":  {steps{{}, {}, {After: []int{0, 1}, Text: "a\n"}, {After: []int{2}, Text: "b\n"}}, "b\n", 2},
	} {
		if _, err := makeFile(f, crdt.Root, name, "import", automerge.Answer{Key: "content", Text: c.text, Steps: c.steps}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i, err := f.Resolve("/" + name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Content(i.Node)
		if err != nil || got.Object != nil || got.Text != c.text {
			t.Errorf("%s: %q, %v", name, got.Text, err)
		}
		vs, err := f.Versions(i.Node)
		if err != nil || len(vs) != c.versions {
			t.Errorf("%s: %d versions, want %d: %v", name, len(vs), c.versions, err)
		}
	}
	all, err := f.ReadDir(crdt.Root)
	if err != nil || len(all) != 10 {
		t.Errorf("%d names, %v", len(all), err)
	}
}

// Others have their turns while a long history is imported, which is undone as one.
func TestMakeFileInTurns(t *testing.T) {
	was := importTurn
	importTurn = 0
	defer func() { importTurn = was }()
	f := newFolder(t)
	const n = 100
	steps := []automerge.Step{{Text: "0\n"}}
	for i := 1; i < n; i++ {
		steps = append(steps, automerge.Step{After: []int{i - 1}, Text: steps[i-1].Text + "more\n"})
	}
	turns := 0
	defer f.Subscribe(func(crdt.Notice) { turns++ })()
	text := steps[n-1].Text
	if made, err := makeFile(f, crdt.Root, "doc", "import doc", automerge.Answer{Text: text, Steps: steps}); err != nil || made != n {
		t.Fatalf("%d versions, %v", made, err)
	}
	told := make(chan struct{})
	f.Told(func() { close(told) })
	if <-told; turns < n {
		t.Errorf("%d steps were made in %d turns", n, turns)
	}
	u, err := f.Undo("", false)
	if err != nil || u.Action.Label != "import doc" {
		t.Errorf("undone is %+v, %v", u, err)
	}
	if i, err := f.Resolve("/doc"); err == nil {
		t.Errorf("undone, it is there: %+v", i)
	}
}
