package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
)

// unitText is the systemd user unit of a home. The daemon runs in the foreground; its
// guardian is in the same control group, so that after a crash of both systemd starts it
// again, and the order to stop is the daemon's alone (KillMode=mixed): it publishes and
// unmounts, and its guardian leaves after it. Exit codes that a restart cannot change do
// not restart it: usage, not found, denied, no FUSE, damaged, in use (docs/cli.md).
const unitText = `# Written by sheaf up --install; sheaf down --uninstall removes it.
[Unit]
Description=sheaf, the folders of %[3]s
Documentation=https://github.com/sheaf-fs/sheaf
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=exec
ExecStart=%[1]s daemon --home %[2]s
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=2 3 5 6 8 9
KillMode=mixed
TimeoutStopSec=60

[Install]
WantedBy=default.target
`

// unitFile says where the unit of a home is to be, under which name, and what it says. The
// home that commands use by themselves has the plain name; any other one a name of its own.
func (a *app) unitFile() (path, text string, err error) {
	config := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		user, err := os.UserHomeDir()
		if err != nil {
			return "", "", control.Errorf(control.Usage, "no home directory to keep the unit in").WithHint("set HOME or XDG_CONFIG_HOME")
		}
		config = filepath.Join(user, ".config")
	}
	name := "sheaf.service"
	if usual, err := defaultHome(); err != nil || usual != a.home {
		sum := blake3.Sum256([]byte(a.home))
		name = fmt.Sprintf("sheaf-%x.service", sum[:4])
	}
	exe, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	if strings.ContainsAny(exe+a.home, "\n\r") {
		return "", "", control.Errorf(control.Usage, "a unit cannot name %q: it holds a line break", a.home)
	}
	return filepath.Join(config, "systemd", "user", name), fmt.Sprintf(unitText, unitQuote(exe), strings.ReplaceAll(unitQuote(a.home), "$", "$$"), strings.ReplaceAll(a.home, "%", "%%")), nil
}

// unitQuote quotes a word as systemd.syntax(7) reads it: C escapes in quotes, % doubled. In
// what is no program's name, $ has to be doubled too.
func unitQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "\t", `\t`).Replace(s) + `"`
}

// install writes the unit and has systemd start the home at every login, where there is a
// systemd to ask. It may be run again.
func (a *app) install(ctx context.Context) error {
	path, text, err := a.unitFile()
	if err != nil {
		return err
	}
	old, err := ownUnit(path)
	if err != nil {
		return err
	}
	if old != text {
		if err := writeUnit(path, text); err != nil {
			return daemon.Explain(err)
		}
		a.say("written: " + path)
	}
	unit := filepath.Base(path)
	if !userSystemd(ctx) {
		a.say("no systemd answers for this user here; where one does: systemctl --user daemon-reload && systemctl --user enable " + unit)
		return nil
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", unit}} {
		if err := systemctl(ctx, args...); err != nil {
			return err
		}
	}
	a.say("the folders come up at every login; with loginctl enable-linger when the machine starts")
	return nil
}

// uninstall takes back what install did; where it did nothing, it says so.
func (a *app) uninstall(ctx context.Context) error {
	path, _, err := a.unitFile()
	if err != nil {
		return err
	}
	if old, err := ownUnit(path); err != nil {
		return err
	} else if old == "" {
		a.say("not installed: no " + path)
		return nil
	}
	systemd := userSystemd(ctx)
	if systemd {
		if err := systemctl(ctx, "disable", filepath.Base(path)); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil {
		return daemon.Explain(err)
	}
	a.say("removed: " + path)
	if systemd {
		return systemctl(ctx, "daemon-reload")
	}
	return nil
}

// ownUnit reads a unit that sheaf wrote, "" where there is none; one that it did not write
// is somebody's, and an error.
func ownUnit(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", daemon.Explain(err)
	}
	if mark, _, _ := strings.Cut(unitText, "\n"); !strings.HasPrefix(string(b), mark) {
		return "", control.Errorf(control.Exists, "%s is there already, and not written by sheaf", path).WithHint("move it away first")
	}
	return string(b), nil
}

// writeUnit replaces a unit in one step.
func writeUnit(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sheaf-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// systemctlWithin bounds one question to systemd.
const systemctlWithin = 20 * time.Second

// userSystemd tells whether a systemd manages this user's session.
func userSystemd(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, systemctlWithin)
	defer cancel()
	return exec.CommandContext(ctx, "systemctl", "--user", "show-environment").Run() == nil
}

func systemctl(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, systemctlWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", append([]string{"--user"}, args...)...).CombinedOutput()
	if err != nil {
		return control.Errorf(control.Failure, "systemctl --user %s: %v: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out))).
			WithHint("the unit itself is written: try that command by hand")
	}
	return nil
}
