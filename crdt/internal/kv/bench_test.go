package kv

import (
	"encoding/binary"
	"path/filepath"
	"sync/atomic"
	"testing"
)

func benchmark(b *testing.B, each func(db *DB, n uint64) error) {
	db := mustOpen(b, filepath.Join(b.TempDir(), "db"), Options{})
	defer mustClose(b, db)
	var n atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := each(db, n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func commit200(db *DB, n uint64) error {
	b := db.Batch()
	b.Set(binary.BigEndian.AppendUint64([]byte("k"), n), make([]byte, 200))
	return db.Commit(b)
}

func BenchmarkCommit(b *testing.B) { benchmark(b, commit200) }

func BenchmarkCommitAndSync(b *testing.B) {
	benchmark(b, func(db *DB, n uint64) error {
		if err := commit200(db, n); err != nil {
			return err
		}
		return db.Sync()
	})
}

func BenchmarkGet(b *testing.B) {
	db := mustOpen(b, filepath.Join(b.TempDir(), "db"), Options{})
	defer mustClose(b, db)
	for n := range uint64(10_000) {
		if err := commit200(db, n); err != nil {
			b.Fatal(err)
		}
	}
	n := uint64(0)
	for b.Loop() {
		n = (n + 7919) % 10_000
		if _, ok, err := db.Get(binary.BigEndian.AppendUint64([]byte("k"), n)); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "db")
	db := mustOpen(b, dir, Options{})
	for n := range uint64(10_000) {
		if err := commit200(db, n); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, db)
	for b.Loop() {
		mustClose(b, mustOpen(b, dir, Options{}))
	}
}
