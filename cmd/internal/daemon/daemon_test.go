package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	sheaffs "github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/infer"
	"github.com/sheaf-fs/sheaf/peer"
)

func TestExplain(t *testing.T) {
	if Explain(nil) != nil {
		t.Error("nil is explained")
	}
	for _, c := range []struct {
		err  error
		kind control.Kind
		hint string // part of it
	}{
		{errors.New("something"), control.Failure, ""},
		{control.Errorf(control.Usage, "wrong"), control.Usage, ""},
		{fmt.Errorf("a: %w", control.Errorf(control.InUse, "held").WithHint("let go")), control.InUse, "let go"},
		{&crdt.Error{Op: "open", Path: "/x", Kind: crdt.ErrNoHome, Hint: "its own"}, control.NotFound, "its own"},
		{&crdt.Error{Op: "open", Path: "/x", Kind: crdt.ErrDamaged}, control.Damaged, "nothing was changed"},
		{&crdt.Error{Op: "open", Path: "/x", Kind: crdt.ErrInUse}, control.InUse, "sheaf down"},
		{fmt.Errorf("join: %w", crdt.ErrTicketUsed), control.Ticket, "sheaf invite"},
		{fmt.Errorf("join: %w", peer.ErrUnreachable), control.Network, "reachable"},
		{fmt.Errorf("x: %w", peer.ErrTicketMalformed), control.Ticket, "copy"},
		{&crdt.Error{Op: "mount", Path: "/x", Kind: sheaffs.ErrNoFUSE, Hint: "load it"}, control.NoFUSE, "load it"},
		{&crdt.Error{Op: "put", Path: "/x", Kind: crdt.ErrInvalid, Err: syscall.ENOSPC}, control.DiskFull, "room"},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, control.Denied, ""},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}, control.NotFound, ""},
		{fmt.Errorf("sync: %w", context.DeadlineExceeded), control.Timeout, ""},
	} {
		e := explain(c.err)
		if e.Kind != c.kind || !strings.Contains(e.Hint, c.hint) || e.Message == "" {
			t.Errorf("%v: %+v, want kind %d and hint %q", c.err, e, c.kind, c.hint)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"/a", "/a", true}, {"/a/b", "/a", true}, {"/a", "/a/b", false},
		{"/ab", "/a", false}, {"/a/..b", "/a", true}, {"/x", "/", true},
	} {
		if got := within(c.path, c.dir); got != c.want {
			t.Errorf("within(%q, %q) = %v", c.path, c.dir, got)
		}
	}
}

// newDaemon is a daemon without mounts and peers.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	h, err := crdt.Init(dir, crdt.Options{DeviceName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	asks := infer.New(h, nil, infer.Options{})
	t.Cleanup(func() { asks.Close() })
	return &daemon{o: Options{Home: dir}, home: h, asks: asks, log: slog.New(slog.DiscardHandler),
		mounts: map[crdt.FolderID]*mounted{}, errs: map[crdt.FolderID]*control.Error{}}
}

func TestFolderAt(t *testing.T) {
	d := newDaemon(t)
	for _, point := range []string{"/m/one", "/m/one-more"} {
		f, err := d.home.CreateFolder(filepath.Base(point))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.setRecord(f, mountRecord{Point: point}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ path, folder, rel string }{
		{"/m/one", "one", ""},
		{"/m/one/a/b", "one", "a/b"},
		{"/m/one-more/x", "one-more", "x"},
		{"/m", "", ""},
		{"/m/on", "", ""},
	} {
		f, rel, err := d.folderAt(c.path)
		switch {
		case c.folder == "":
			if control.As(err) == nil || control.As(err).Kind != control.NotFound {
				t.Errorf("%s: %v", c.path, err)
			}
		case err != nil || f.Name() != c.folder || rel != c.rel:
			t.Errorf("%s: %v, %q, %v", c.path, f, rel, err)
		}
	}
}

// fill makes a directory with some of everything.
func fill(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"deep/er", "empty", ".git/refs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"text": "line\n", "deep/er/nul": "\x00", "nothing": "", ".git/HEAD": "ref: x\n",
		"big": strings.Repeat("0123456789abcde\n", 3000), "\xff bad utf-8": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../elsewhere", filepath.Join(dir, "deep", "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "text"), time.Time{}, time.Unix(981173106, 5)); err != nil {
		t.Fatal(err)
	}
}

func TestImport(t *testing.T) {
	d := newDaemon(t)
	dir := filepath.Join(t.TempDir(), "place")
	fill(t, dir)
	f, err := d.home.CreateFolder("f")
	if err != nil {
		t.Fatal(err)
	}
	in, err := d.importDir(context.Background(), f, dir, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if in.Files != 5 || in.Dirs != 3 || in.Symlinks != 1 || len(in.Skipped) != 1 || len(in.Local) != 1 || in.Original != dir+originalSuffix {
		t.Errorf("imported %+v", in)
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) != 0 {
		t.Errorf("the place: %v, %v", es, err)
	}
	if b, err := os.ReadFile(filepath.Join(in.Original, ".git/HEAD")); err != nil || string(b) != "ref: x\n" {
		t.Errorf("the original: %q, %v", b, err)
	}
	info, err := f.Resolve("text")
	if err != nil || info.Mode != 0o640 || !info.Mtime.Equal(time.Unix(981173106, 5)) {
		t.Errorf("text: %+v, %v", info, err)
	}
	if info, err := f.Resolve("deep/link"); err != nil || info.Target != "../elsewhere" {
		t.Errorf("link: %+v, %v", info, err)
	}
	if _, err := f.Resolve(".git"); !errors.Is(err, crdt.ErrNotExist) {
		t.Errorf(".git is shared: %v", err)
	}
}

// What fails leaves the original where and what it was.
func TestImportFails(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"something is where the original would go": func(t *testing.T, dir string) {
			if err := os.Mkdir(dir+originalSuffix, 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"a file cannot be read": func(t *testing.T, dir string) {
			if os.Geteuid() == 0 {
				t.Log("root reads everything: a dangling name instead")
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := os.Chmod(filepath.Join(dir, "text"), 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			dir := filepath.Join(t.TempDir(), "place")
			fill(t, dir)
			spoil(t, dir)
			before := list(dir)
			f, err := d.home.CreateFolder("f")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.importDir(context.Background(), f, dir, func(string) {}); err == nil {
				t.Fatal("it worked")
			}
			if after := list(dir); after != before {
				t.Errorf("before: %s\nafter: %s", before, after)
			}
		})
	}
}

// A file that changes between copying and comparing is noticed.
func TestImportNoticesChanges(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"content":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "big"), []byte("other"), 0o640) },
		"new file": func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o640) },
		"removal":  func(dir string) error { return os.Remove(filepath.Join(dir, "nothing")) },
		"mode":     func(dir string) error { return os.Chmod(filepath.Join(dir, "big"), 0o600) },
		"same size, same time": func(dir string) error {
			path := filepath.Join(dir, "text")
			fi, err := os.Stat(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte("life\n"), 0o640); err != nil {
				return err
			}
			return os.Chtimes(path, time.Time{}, fi.ModTime())
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			dir := filepath.Join(t.TempDir(), "place")
			fill(t, dir)
			f, err := d.home.CreateFolder("f")
			if err != nil {
				t.Fatal(err)
			}
			said := false
			_, err = d.importDir(context.Background(), f, dir, func(s string) {
				if strings.HasPrefix(s, "comparing") {
					said = true
					if err := change(dir); err != nil {
						t.Error(err)
					}
				}
			})
			if err == nil || !said {
				t.Errorf("not noticed (compared: %v): %v", said, err)
			}
			if _, err := os.Stat(dir + originalSuffix); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the original was moved: %v", err)
			}
		})
	}
}

func list(dir string) string {
	var b strings.Builder
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		fmt.Fprintln(&b, path, err)
		return nil
	})
	return b.String()
}

func TestRemoveHome(t *testing.T) {
	d := newDaemon(t)
	dir := d.o.Home
	f, err := d.home.CreateFolder("f")
	if err != nil {
		t.Fatal(err)
	}
	d.home.Close()
	if err := RemoveHome(dir); err == nil {
		t.Fatal("a home with a folder was removed")
	}
	h, err := crdt.Open(dir, crdt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveFolder(f.ID()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := RemoveHome(dir); err != nil {
		t.Fatal(err)
	}
	if es, err := os.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v, %v", es, err)
	}
}
