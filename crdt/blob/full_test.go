package blob

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const fullEnv = "SHEAF_BLOB_TEST_FULL"

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

// On a full disk nothing is stored by half, and once there is space it goes on.
func TestFullDisk(t *testing.T) {
	dir, here := onSmallDisk(t, "32m")
	if !here {
		return
	}
	s, err := Open(filepath.Join(dir, "home"))
	if err != nil {
		t.Fatal(err)
	}
	from := func() *Store { // on another disk
		s, err := Open(filepath.Join(os.TempDir(), filepath.Base(dir)+"-from"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}()
	defer os.RemoveAll(from.dir)
	b := noise(6 * SliceSize)
	h := put(t, from, b)
	in := receive(t, s, h, len(b))
	if err := in.Write(0, slice(t, from, h, 0, SliceSize)); err != nil {
		t.Fatal(err)
	}

	free := fill(t, dir, 2*SliceSize)
	full := func(err error) {
		t.Helper()
		if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
	}
	_, _, err = s.Put(bytes.NewReader(b))
	full(err)
	path := filepath.Join(from.dir, "session")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.PutFile(path) // has to be copied
	full(err)
	if _, err := os.Stat(path); err != nil {
		t.Error("PutFile failed, and the file is gone:", err)
	}
	_, err = s.Receive(Sum(b[1:]), int64(len(b)-1))
	full(err)
	full(in.Write(SliceSize, slice(t, from, h, SliceSize, 5*SliceSize)))
	if got := in.Missing(); len(got) != 1 || got[0].Off != SliceSize {
		t.Error(got)
	}
	free()

	if err := in.Write(SliceSize, slice(t, from, h, SliceSize, 5*SliceSize)); err != nil {
		t.Error(err)
	}
	closeIn(t, in)
	if err := s.Verify(h); err != nil {
		t.Error(err)
	}
	if err := s.Remove(h); err != nil {
		t.Error(err)
	}
	if _, _, err := s.PutFile(path); err != nil || !bytes.Equal(read(t, s, h), b) {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("taken over, and still there:", err)
	}
	if err := s.Remove(Sum(b[1:])); err != nil {
		t.Error(err)
	}
	if left := partial(t, s); len(left) > 0 {
		t.Error("left behind:", left)
	}
}
