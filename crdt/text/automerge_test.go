package text_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/automerge/automerge-go"

	"github.com/sheaf-fs/sheaf/crdt/text"
	export "github.com/sheaf-fs/sheaf/crdt/text/automerge"
)

func hashes(t *testing.T, d *automerge.Doc) []string {
	cs, err := d.Changes()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range cs {
		out = append(out, c.Hash().String())
	}
	slices.Sort(out)
	return out
}

// The exported document has the text and the very changes of the one that the library makes.
func TestExport(t *testing.T) {
	for seed := range uint64(text.Rounds(300)) {
		events, ref, want := text.RandomHistory(t, seed)
		b, err := export.Export(text.TestNode, events)
		if err != nil {
			t.Fatal(err)
		}
		d, err := automerge.Load(b)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, err := d.Path(export.Key).Text().Get(); err != nil || got != want {
			t.Fatalf("seed %d: %q, want %q, %v", seed, got, want, err)
		}
		if got, want := hashes(t, d), hashes(t, ref); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %d changes %v\nwant %d %v", seed, len(got), got, len(want), want)
		}
	}
}

// A recorded session of several people, exported, loads and ends in its text.
func TestExportTrace(t *testing.T) {
	events, want := text.TraceEvents(t, "friendsforever")
	b, err := export.Export(text.TestNode, events)
	if err != nil {
		t.Fatal(err)
	}
	d, err := automerge.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Path(export.Key).Text().Get(); err != nil || got != want {
		t.Fatalf("another text, %v", err)
	}
	t.Logf("%d events, %d bytes", len(events), len(b))
}

// The JavaScript library loads the document, with its history.
func TestExportJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node: ", err)
	}
	modules := os.Getenv("NODE_PATH")
	if err := exec.Command(node, "-e", `require.resolve("@automerge/automerge")`).Run(); err != nil {
		t.Skip("node finds no @automerge/automerge; NODE_PATH names the folder with node's modules: ", modules)
	}
	dir := t.TempDir()
	args := []string{"-e", `
		const A = require("@automerge/automerge"), fs = require("fs")
		for (const name of process.argv.slice(1)) {
			const d = A.load(fs.readFileSync(name))
			console.log(JSON.stringify([d.content.toString(), A.getAllChanges(d).length, A.getHeads(d).sort()]))
		}`}
	var want []string
	for seed := range uint64(20) {
		events, ref, content := text.RandomHistory(t, seed)
		b, err := export.Export(text.TestNode, events)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, string(rune('a'+seed)))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
		heads := []string{}
		for _, h := range ref.Heads() {
			heads = append(heads, h.String())
		}
		slices.Sort(heads)
		line, err := json.Marshal([]any{content, len(hashes(t, ref)), heads})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(line))
	}
	var stderr strings.Builder
	cmd := exec.Command(node, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if got := strings.TrimSpace(string(out)); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
