// Package powerloss takes the power away from the parts of sheaf that write to disk.
package powerloss

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/integration/lossyfs"
)

func TestMain(m *testing.M) {
	if os.Getenv("LOSSYFS_ROLE") != "" {
		os.Exit(lossyfs.Role(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// lossyDisk mounts a disk that forgets at dir what was not synced when lose is called.
func lossyDisk(t *testing.T) (dir string, lose func(seed uint64)) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no FUSE here:", err)
	}
	f.Close()
	dir = t.TempDir()
	cmd := exec.Command(os.Args[0], dir, "0")
	cmd.Env = append(os.Environ(), "LOSSYFS_ROLE=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	if !said.Scan() {
		t.Skip("the disk does not mount here")
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	return dir, func(seed uint64) {
		fmt.Fprintln(in, "lose", seed>>1)
		if !said.Scan() {
			t.Fatal("the disk has gone")
		}
	}
}

func content(r *rand.Rand, size int) []byte {
	b := make([]byte, size)
	c := rand.NewChaCha8([32]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	_, _ = c.Read(b)
	return b
}

// Whenever the power goes: an object that was there before the last Sync is there, an object
// that is there is whole, and what was being received can be received to its end.
func TestObjects(t *testing.T) {
	dir, lose := lossyDisk(t)
	from, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	synced, ever := map[blob.Hash]bool{}, map[blob.Hash]bool{}
	incoming := content(r, 3*blob.SliceSize+100)
	big, _, err := from.Put(bytes.NewReader(incoming))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 25 {
		s, err := blob.Open(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for h := range ever {
			switch err := s.Verify(h); {
			case errors.Is(err, blob.ErrNotHere) && !synced[h]:
			case err != nil:
				t.Fatalf("round %d: synced: %v: %v", round, synced[h], err)
			}
		}
		fresh := map[blob.Hash]bool{}
		for range r.IntN(8) {
			var h blob.Hash
			var err error
			if b := content(r, r.IntN(20_000)); r.IntN(2) == 0 {
				h, _, err = s.Put(bytes.NewReader(b))
			} else {
				path := filepath.Join(dir, "session")
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				h, _, err = s.PutFile(path)
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			ever[h], fresh[h] = true, true
			if r.IntN(4) == 0 {
				if err := s.Sync(); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				for h := range fresh {
					synced[h] = true
				}
			}
		}
		if receive(t, s, from, big, int64(len(incoming)), r.IntN(3)) {
			ever[big] = true
		}
		lose(r.Uint64())
	}
	s, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	receive(t, s, from, big, int64(len(incoming)), 10)
	if err := s.Verify(big); err != nil {
		t.Error(err)
	}
}

// receive receives at most n slices, and reports whether that was all.
func receive(t *testing.T, s, from *blob.Store, h blob.Hash, size int64, n int) bool {
	t.Helper()
	in, err := s.Receive(h, size)
	if err != nil {
		t.Fatal(err)
	}
	for ; n > 0 && !in.Done(); n-- {
		m := in.Missing()[0]
		sl, err := from.Slice(h, m.Off, min(m.Len, blob.SliceSize))
		if err == nil {
			err = in.Write(m.Off, sl)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	done := in.Done()
	if n%2 == 0 { // else the process is gone before it could close
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return done
}
