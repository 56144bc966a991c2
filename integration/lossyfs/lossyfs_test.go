package lossyfs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("LOSSYFS_ROLE") != "" {
		os.Exit(Role(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func mount(t *testing.T, capacity string) (dir string, lose func(seed int)) {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("no FUSE here:", err)
	} else {
		f.Close()
	}
	dir = t.TempDir()
	cmd := exec.Command(os.Args[0], dir, capacity)
	cmd.Env = append(os.Environ(), "LOSSYFS_ROLE=1")
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	if !said.Scan() {
		t.Fatal("does not mount")
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	return dir, func(seed int) {
		fmt.Fprintln(in, "lose", seed)
		said.Scan()
	}
}

func put(t *testing.T, path, content string, sync bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

func syncDir(t *testing.T, path string) {
	t.Helper()
	d, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, path, content string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if content == "-" {
		if !os.IsNotExist(err) {
			t.Fatalf("%s is there: %q, %v", path, b, err)
		}
		return
	}
	if err != nil || string(b) != content {
		t.Fatalf("%s: %q, %v; want %q", path, b, err, content)
	}
}

func TestLoss(t *testing.T) {
	dir, lose := mount(t, "0")
	p := func(s string) string { return filepath.Join(dir, s) }
	put(t, p("both"), "synced", true)
	put(t, p("name"), "unsynced bytes", false)
	syncDir(t, dir)
	put(t, p("bytes"), "a name that was not synced", true)
	put(t, p("both"), "later", false)
	lose(0)
	want(t, p("both"), "synced")
	want(t, p("name"), "")
	want(t, p("bytes"), "-")

	// Overwrites, cuts, growth, all synced.
	f, err := os.OpenFile(p("both"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("SY"), 0)
	f.Truncate(4)
	f.WriteAt([]byte("end"), 6)
	f.Sync()
	f.WriteAt([]byte("xx"), 0)
	f.Close()
	want(t, p("both"), "xxnc\x00\x00end")
	lose(0)
	want(t, p("both"), "SYnc\x00\x00end")

	// Names: rename and unlink need the directory's sync.
	if err := os.Rename(p("both"), p("moved")); err != nil {
		t.Fatal(err)
	}
	lose(0)
	want(t, p("moved"), "-")
	want(t, p("both"), "SYnc\x00\x00end")
	os.Mkdir(p("d"), 0o755)
	os.Rename(p("both"), p("d/moved"))
	syncDir(t, p("d"))
	syncDir(t, dir)
	os.Remove(p("d/moved"))
	lose(0)
	want(t, p("d/moved"), "SYnc\x00\x00end")
	want(t, p("both"), "-")
}

// TestChance: given a seed, what was synced stays all the same, and the outcome of a
// seed is always one of the states between.
func TestChance(t *testing.T) {
	dir, lose := mount(t, "0")
	kept := map[string]int{}
	for seed := 1; seed <= 40; seed++ {
		name := filepath.Join(dir, "f")
		put(t, name, "synced", true)
		syncDir(t, dir)
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("+more")
		f.Close()
		lose(seed)
		b, err := os.ReadFile(name)
		if err != nil || len(b) < 6 || string(b) != "synced+more"[:len(b)] {
			t.Fatalf("seed %d: %q, %v", seed, b, err)
		}
		kept[string(b)]++
	}
	if len(kept) < 3 {
		t.Fatal("chance has no hand in it:", kept)
	}
}

func TestFull(t *testing.T) {
	dir, _ := mount(t, "1000")
	put(t, filepath.Join(dir, "a"), string(make([]byte, 900)), true)
	err := os.WriteFile(filepath.Join(dir, "b"), make([]byte, 200), 0o644)
	if err == nil || err.(*os.PathError).Err != syscall.ENOSPC {
		t.Fatal("not full:", err)
	}
	os.Remove(filepath.Join(dir, "a"))
	put(t, filepath.Join(dir, "b"), string(make([]byte, 200)), true)
}
