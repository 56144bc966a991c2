package kv

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/internal/disktest"
)

// On a full disk nothing is acknowledged, nothing that was is lost, and once there is space
// it goes on.
func TestFullDisk(t *testing.T) {
	dir, here := disktest.Small(t, "96m")
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
		free := disktest.Fill(t, dir, 2*defaultReserve)
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
	free := disktest.Fill(t, dir, 100<<10)
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
	dir, here := disktest.Small(t, "64m")
	if !here {
		return
	}
	for _, keep := range []int64{0, 50 << 10, 3 << 20, 9 << 20} {
		path := filepath.Join(dir, "db")
		db := mustOpen(t, path, Options{Reserve: -1})
		free := disktest.Fill(t, dir, keep)
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
