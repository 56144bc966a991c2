package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installed makes an app with a home and a place for units of its own.
func installed(t *testing.T, home string) (a *app, said *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	t.Setenv("XDG_RUNTIME_DIR", dir) // no systemd of a real session is asked
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(dir, "no-bus"))
	said = &bytes.Buffer{}
	a = &app{stderr: said, home: home}
	if home == "" {
		a.home = filepath.Join(dir, "state", "sheaf")
	}
	return a, said
}

// What systemd makes of a unit is tried where its checker is; the text is held here.
func TestUnit(t *testing.T) {
	a, _ := installed(t, `/tmp/ho me/a%b $x"q\`)
	path, text, err := a.unitFile()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := `ExecStart="` + exe + `" daemon --home "/tmp/ho me/a%%b $$x\"q\\"`
	if !strings.Contains(text, "\n"+want+"\n") {
		t.Errorf("the unit has no line %s:\n%s", want, text)
	}
	for _, line := range []string{"Restart=on-failure", "KillMode=mixed", "WantedBy=default.target", `Description=sheaf, the folders of /tmp/ho me/a%%b $x"q\`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
	if name := filepath.Base(path); !strings.HasPrefix(name, "sheaf-") || !strings.HasSuffix(name, ".service") {
		t.Errorf("a home of its own has the unit %s", name)
	}
	if checker, err := exec.LookPath("systemd-analyze"); err == nil {
		if err := writeUnit(path, text); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(checker, "verify", "--user", "--man=no", path).CombinedOutput()
		if err != nil || strings.Contains(string(out), filepath.Base(path)) {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
	a.home = "/a\nExecStart=/bin/false"
	if _, _, err := a.unitFile(); err == nil {
		t.Error("a home with a line break makes a unit")
	}
}

func TestInstallTwice(t *testing.T) {
	a, said := installed(t, "")
	path, text, err := a.unitFile()
	if err != nil || filepath.Base(path) != "sheaf.service" {
		t.Fatal(path, err)
	}
	for range 2 {
		if err := a.install(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Fatalf("%v: %s", err, got)
		}
	}
	if !strings.Contains(said.String(), "systemctl --user enable sheaf.service") {
		t.Errorf("without systemd it does not say what to do: %s", said)
	}
	for range 2 {
		if err := a.uninstall(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := os.ReadDir(filepath.Dir(path)); err != nil || len(e) > 0 {
		t.Errorf("left: %v, %v", e, err)
	}
	if err := os.WriteFile(path, []byte("[Unit]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.install(t.Context()); err == nil {
		t.Error("a unit of somebody else is replaced")
	}
	if err := a.uninstall(t.Context()); err == nil {
		t.Error("a unit of somebody else is removed")
	}
}
