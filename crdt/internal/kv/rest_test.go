package kv

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A large value is not in memory any more once the database has rested, and is read from disk.
func TestRest(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db"), Options{})
	defer mustClose(t, db)
	const size = 32 << 20
	inUse := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools are emptied by the second one
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := inUse()
	b := db.Batch()
	b.Set([]byte("first"), []byte("small"))
	b.Set([]byte("large"), noise(size/2, 1), noise(size/2, 2))
	b.Set([]byte("small"), []byte("s"), nil, []byte("mall"))
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
	if err := db.Rest(context.Background()); err != nil {
		t.Fatal(err)
	}
	// A compaction may be at work with it.
	for deadline := time.Now().Add(30 * time.Second); ; {
		after := inUse()
		if after <= before+size/4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes in use before, %d after a value of %d", before, after, size)
		}
	}
	want := append(noise(size/2, 1), noise(size/2, 2)...)
	for k, want := range map[string]string{"large": string(want), "small": "small", "first": "small"} {
		if v, ok, err := db.Get([]byte(k)); string(v) != want || !ok || err != nil {
			t.Errorf("%s: %d bytes, %v, %v", k, len(v), ok, err)
		}
	}
}

// It ends when it is told to, whatever the disk does, and does nothing in a database that is closed.
func TestRestEnds(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db"), Options{})
	if err := commitNumber(db, 1, 2*largeBatch); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := db.Rest(ctx); err != nil {
		t.Error(err)
	}
	mustClose(t, db)
	if err := db.Rest(context.Background()); err != nil {
		t.Error(err)
	}
}
