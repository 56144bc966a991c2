package blob

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/internal/disktest"
)

// On a full disk nothing is stored by half, and once there is space it goes on.
func TestFullDisk(t *testing.T) {
	dir, here := disktest.Small(t, "32m")
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

	free := disktest.Fill(t, dir, 2*SliceSize)
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
