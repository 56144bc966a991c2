package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// vscode is a VS Code with a folder open, in a browser.
type vscode struct {
	t       *testing.T
	browser *rig.Talk
}

// startVSCode starts the server of VS Code that is installed in a directory of node's
// packages, and a browser that shows a device's folder in it.
func startVSCode(t *testing.T, dir string, d *rig.Device, settings map[string]any) *vscode {
	t.Helper()
	data := rig.Scratch(t, "vscode")
	user := filepath.Join(data, "User")
	if err := os.MkdirAll(user, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(user, "settings.json"), []byte(asJSON(t, settings)), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(argv ...string) *rig.Talk {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+data, "XDG_CONFIG_HOME="+data, "NODE_PATH="+filepath.Join(dir, "node_modules"))
		cmd.Stderr = os.Stderr
		k := rig.StartTalk(t, cmd)
		k.Patience = 2 * time.Minute // the driver has limits of its own
		t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt) })
		return k
	}
	server := run("node", filepath.Join(dir, "node_modules/code-server/out/node/entry.js"), "--auth", "none", "--bind-addr", "127.0.0.1:0",
		"--user-data-dir", data, "--extensions-dir", filepath.Join(data, "ext"), "--disable-telemetry", "--disable-update-check", "--disable-workspace-trust")
	url := ""
	for url == "" {
		line, err := server.Hear()
		if err != nil {
			t.Fatalf("VS Code's server: %v", err)
		}
		if strings.Contains(line, "server listening") {
			url = regexp.MustCompile(`http://[0-9.:]+`).FindString(line)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, server.Out) }() // until it ends
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	v := &vscode{t: t}
	v.browser = run("node", "testdata/vscode.cjs", chromium, url+"/?folder="+d.Point)
	v.does("begin")
	return v
}

// does has the person at it do something, and gives what it then says.
func (v *vscode) does(what ...string) string {
	v.t.Helper()
	line, err := v.browser.Ask(asJSON(v.t, what))
	if err != nil {
		v.t.Fatalf("%q: %v", what, err)
	}
	var answer [2]string
	if err := json.Unmarshal([]byte(line), &answer); err != nil || answer[0] != "ok" {
		v.t.Fatalf("%q: %s", what, line)
	}
	return answer[1]
}

// TestVSCode: VS Code on A has files open, changed and not saved, that B changes, renames and
// removes; then it saves them. It asks whether to overwrite what is newer, unless it is told
// not to, and either way overwrites nothing.
func TestVSCode(t *testing.T) {
	dir := os.Getenv("SHEAF_VSCODE")
	if dir == "" {
		t.Skip("SHEAF_VSCODE is not set: VS Code and a browser are large") // .ci/skips names it
	}
	need(t, "node", "chromium")
	for setting, asks := range map[string]bool{"askUser": true, "overwriteFileOnDisk": false} {
		t.Run(setting, func(t *testing.T) { inVSCode(t, dir, setting, asks) })
	}
}

func inVSCode(t *testing.T, dir, setting string, asks bool) {
	lines := []string{"the first line", "the second line", "the third line", "", "the last line"}
	const clean = "a change, and nothing typed before"
	a, b := rig.Pair(t, nil)
	against := append([]string{clean}, remotes...)
	file := func(i int) string { return fmt.Sprintf("f%d.txt", i) }
	for i := range against {
		a.Write(file(i), text(lines))
	}
	sameTrees(t, a, b)
	v := startVSCode(t, dir, a, map[string]any{"files.autoSave": "off", "files.saveConflictResolution": setting})
	for i, r := range against {
		v.does("open", file(i), "the last line")
		if r != clean {
			v.does("type", file(i), "mine of A")
		}
	}
	nextSecond(t)
	for i, r := range against {
		switch r {
		case renamed:
			b.Shell(`mv "$1" "renamed$1"`, file(i))
		case removed:
			b.Shell(`rm "$1"`, file(i))
		case paragraph:
			b.Shell(`sed -i 's/the third line/the third line of B/' "$1"`, file(i))
		default:
			b.Shell(`sed -i 's/the last line/the very last line of B/' "$1"`, file(i))
		}
	}
	sameTrees(t, a, b)
	for i, r := range against {
		if r == clean {
			v.does("shows", file(i), "the very last line of B")
			v.does("type", file(i), "mine of A")
		}
		asked := v.does("save", file(i))
		if want := asks && (r == elsewhere || r == paragraph); strings.Contains(asked, "The content of the file is newer") != want || !want && asked != "" {
			t.Errorf("%s: it asks: %q", r, asked)
		}
		if asked != "" {
			v.does("answer", file(i), "Overwrite")
		}
		switch r {
		case elsewhere:
			v.does("shows", file(i), "the very last line of B")
		case paragraph:
			v.does("shows", file(i), "the third line of B")
		}
	}
	for i, r := range against {
		want := append([]string{}, lines...)
		switch r {
		case clean, elsewhere:
			want[4] = "the very last line of B"
		case paragraph:
			want[2] = "the third line of B"
		case renamed:
			rig.Sees(t, "renamed"+file(i), text(lines), a, b)
		}
		rig.Sees(t, file(i), text(insert(want, 1, "mine of A")), a, b)
	}
	sameTrees(t, a, b)
}
