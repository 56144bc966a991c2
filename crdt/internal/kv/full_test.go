package kv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const fullEnv = "SHEAF_KV_TEST_FULL"

// onSmallDisk runs the test again in a process that has a filesystem of size bytes at dir,
// which nobody else sees, and reports whether this is that process.
func onSmallDisk(t *testing.T, size string) (dir string, here bool) {
	t.Helper()
	if dir = os.Getenv(fullEnv); dir == "" {
		if os.Geteuid() != 0 {
			t.Skip("mounting a small filesystem needs root")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), fullEnv+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(string(out), "=== RUN") {
			t.Skipf("no mount namespace here: %v", err)
		}
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return "", false
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	return dir, true
}

// fill takes all the space but keep bytes, until the returned function is called.
func fill(t *testing.T, dir string, keep int64) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if n := int64(st.Bavail)*st.Bsize - keep; n > 0 {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// On a full disk nothing is acknowledged, nothing that was is lost, and once there is space
// it goes on.
func TestFullDisk(t *testing.T) {
	dir, here := onSmallDisk(t, "96m")
	if !here {
		return
	}
	path := filepath.Join(dir, "db")
	db := mustOpen(t, path, Options{})
	n := 0
	commit := func() (err error) {
		if err = commitNumber(db, n+1, 200_000); err == nil {
			n++
		}
		return err
	}
	for range 3 { // three times full, three times free
		free := fill(t, dir, 2*defaultReserve)
		var err error
		for range 1000 {
			if err = commit(); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err := db.Sync(); err != nil {
			t.Error(err)
		}
		if got, err := numbers(db); got != n || err != nil {
			t.Error(got, n, err)
		}
		free()
		b := db.Batch() // what is deleted makes room
		b.DeletePrefix([]byte("n/"))
		b.Delete([]byte("count"))
		if err := db.Commit(b); err != nil {
			t.Fatal(err)
		}
		n = 0
		if err := commit(); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, db)
	free := fill(t, dir, 100<<10)
	if _, err := Open(path, Options{}); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	free()
	db = mustOpen(t, path, Options{MustExist: true})
	if got, err := numbers(db); got != n || err != nil {
		t.Error(got, n, err)
	}
	mustClose(t, db)
}

// Even where others took the space that Commit had counted on, no acknowledged commit is
// lost, and nothing hangs.
func TestFullDiskWithoutReserve(t *testing.T) {
	dir, here := onSmallDisk(t, "64m")
	if !here {
		return
	}
	for _, keep := range []int64{0, 50 << 10, 3 << 20, 9 << 20} {
		path := filepath.Join(dir, "db")
		db := mustOpen(t, path, Options{Reserve: -1})
		free := fill(t, dir, keep)
		n := 0
		var err error
		for err == nil && n < 1000 {
			if err = commitNumber(db, n+1, 50_000); err == nil {
				n++
			}
		}
		if !errors.Is(err, ErrFull) {
			t.Fatalf("%d: %v", keep, err)
		}
		if err := db.Close(); err != nil && !errors.Is(err, ErrFull) {
			t.Errorf("%d: %v", keep, err)
		}
		free()
		db = mustOpen(t, path, Options{MustExist: true})
		if got, err := numbers(db); got < n || err != nil {
			t.Errorf("%d: %d numbers of %d: %v", keep, got, n, err)
		}
		mustClose(t, db)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}
