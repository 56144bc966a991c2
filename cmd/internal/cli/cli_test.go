package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("broken"), 1, "sheaf: broken\n"},
		{control.Errorf(control.Exists, "%s is not empty", "/x").WithHint("choose another"), 4, "sheaf: /x is not empty\nhint: choose another\n"},
	} {
		var b bytes.Buffer
		if code := report(&b, c.err); code != c.code || b.String() != c.want {
			t.Errorf("%v: %d, %q", c.err, code, b.String())
		}
	}
}

func TestWholeAnswer(t *testing.T) {
	if err := wholeAnswer(control.AskReply{State: "done"}); err != nil {
		t.Error(err)
	}
	err := wholeAnswer(control.AskReply{State: "interrupted", Answer: "half", Note: "the engine died"})
	if e := control.As(err); e == nil || e.Kind != control.CutOff || !strings.Contains(e.Message, "the engine died") {
		t.Errorf("%v", err)
	}
}

func TestHomeDir(t *testing.T) {
	t.Setenv("HOME", "/users/ada")
	t.Setenv("SHEAF_HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	check := func(flag, want string) {
		t.Helper()
		if got, err := homeDir(flag); err != nil || got != want {
			t.Errorf("homeDir(%q) = %q, %v, want %q", flag, got, err, want)
		}
	}
	check("", "/users/ada/.local/state/sheaf")
	t.Setenv("XDG_STATE_HOME", "relative/is/ignored")
	check("", "/users/ada/.local/state/sheaf")
	t.Setenv("XDG_STATE_HOME", "/state")
	check("", "/state/sheaf")
	t.Setenv("SHEAF_HOME", "/device")
	check("", "/device")
	check("/flag/../flag", "/flag")
}

func TestTarget(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "real", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "alias")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "alias", "sub"))
	for arg, want := range map[string]string{
		"":                     "error",
		".":                    "real/sub",
		"new":                  "real/sub/new",
		"/not/there/at/all":    "/not/there/at/all",
		dir + "/alias":         "alias", // the link is what is meant
		dir + "/alias/sub/new": "real/sub/new",
	} {
		got, err := target([]string{arg}, 0)
		if want == "error" {
			if err == nil {
				t.Errorf("target(%q) = %q", arg, got)
			}
			continue
		}
		if !filepath.IsAbs(want) {
			want = filepath.Join(dir, want)
		}
		if err != nil || got != want {
			t.Errorf("target(%q) = %q, %v, want %q", arg, got, err, want)
		}
	}
	if got, err := place([]string{dir + "/alias"}, 0); err != nil || got != filepath.Join(dir, "real") {
		t.Errorf("place: %q, %v", got, err)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB", 1 << 62: "4096.0 PiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestWriteFolder(t *testing.T) {
	var b strings.Builder
	writeFolder(&b, control.FolderStatus{
		Name: "notes", Path: "/n", Mounted: true,
		Devices: []control.PeerStatus{
			{Name: "desktop", Connected: true, EntriesToGet: 2, BytesToGet: 2048},
			{Name: "old laptop", EntriesToSend: 7, LastError: "no address answered", Rules: "older"},
		},
		Unread: []control.Unread{{Device: "desktop", Entries: 12, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)}},
		Notes:  []control.Note{{Kind: "set-aside", Path: "/n.unmounted", Text: "files", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)}},
	})
	want := `notes  /n
  desktop     connected      to get: 2 entries, 2.0 KiB
  old laptop  not connected  to send: 7 entries, 0 B (no address answered)
  old laptop merges by the rules of an older sheaf: a text that both changed may differ from device to device
  hint: update sheaf on old laptop
  desktop made changes with a newer sheaf (12 since 2026-01-02 03:04:05): they are kept and passed on, and what they change shows as it was
  hint: update sheaf on this device; then they show
  2026-01-02 03:04:05 set-aside: /n.unmounted: files
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestCopyTree(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	if err := os.MkdirAll(filepath.Join(from, "objects"), 0o755); err != nil {
		t.Fatal(err)
	}
	then := time.Unix(981173106, 0)
	if err := os.WriteFile(filepath.Join(from, "objects", "pack"), bytes.Repeat([]byte("x"), 600<<10), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("objects/pack", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"objects/pack", "objects"} {
		if err := os.Chtimes(filepath.Join(from, p), then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(from, "objects"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Chmod(filepath.Join(from, "objects"), 0o755)
		os.Chmod(filepath.Join(to, "objects"), 0o755)
	})
	if err := copyTree(from, to); err != nil {
		t.Fatal(err)
	}
	for p, mode := range map[string]os.FileMode{"objects": 0o555, "objects/pack": 0o444} {
		fi, err := os.Stat(filepath.Join(to, p))
		if err != nil || fi.Mode().Perm() != mode || !fi.ModTime().Equal(then) {
			t.Errorf("%s: %v, %v", p, fi, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(to, "link")); err != nil || to != "objects/pack" {
		t.Errorf("link: %q, %v", to, err)
	}
	if err := copyTree(from, to); err == nil {
		t.Error("it copies over what is there")
	}
}
