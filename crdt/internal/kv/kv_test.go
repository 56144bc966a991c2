package kv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

func mustOpen(t testing.TB, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustClose(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func set(t testing.TB, db *DB, kv ...string) {
	t.Helper()
	b := db.Batch()
	for i := 0; i < len(kv); i += 2 {
		b.Set([]byte(kv[i]), []byte(kv[i+1]))
	}
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func contents(t testing.TB, db *DB, prefix string) string {
	t.Helper()
	var s []string
	err := db.Scan([]byte(prefix), func(k, v []byte) error {
		s = append(s, string(k)+"="+string(v))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(s, " ")
}

func TestReadsAndWrites(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db"), Options{})
	defer mustClose(t, db)
	set(t, db, "a1", "x", "a2", "y", "b", "z", "a\xff", "last")
	if got := contents(t, db, "a"); got != "a1=x a2=y a\xff=last" {
		t.Error(got)
	}
	if got := contents(t, db, ""); got != "a1=x a2=y a\xff=last b=z" {
		t.Error(got)
	}
	b := db.Batch()
	b.Delete([]byte("a1"))
	b.DeleteRange([]byte("a2"), []byte("a3"))
	b.Set([]byte("a4"), nil)
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, db, "a"); got != "a4= a\xff=last" {
		t.Error(got)
	}
	v, ok, err := db.Get([]byte("a4"))
	if err != nil || !ok || len(v) != 0 {
		t.Error(v, ok, err)
	}
	if _, ok, err := db.Get([]byte("a1")); ok || err != nil {
		t.Error(ok, err)
	}
	b = db.Batch()
	b.DeletePrefix([]byte("a"))
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, db, ""); got != "b=z" {
		t.Error(got)
	}
	b = db.Batch()
	b.DeletePrefix([]byte{0xff})
	if err := db.Commit(b); err == nil {
		t.Error("a prefix without an end was taken")
	}
}

func TestScanSeesOneMoment(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db"), Options{})
	defer mustClose(t, db)
	set(t, db, "a", "", "b", "", "c", "")
	n := 0
	if err := db.Scan(nil, func(_, _ []byte) error { n++; set(t, db, "z", ""); return nil }); n != 3 || err != nil {
		t.Error(n, err)
	}
	boom := errors.New("boom")
	if err := db.Scan(nil, func(_, _ []byte) error { n++; return boom }); n != 4 || !errors.Is(err, boom) {
		t.Error(n, err)
	}
}

// Nobody sees, sets or deletes what the database notes for itself.
func TestReservedKeys(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db"), Options{})
	defer mustClose(t, db)
	set(t, db, "\x00\x00", "first", "\xff\xff", "last")
	if got := contents(t, db, ""); got != "\x00\x00=first \xff\xff=last" {
		t.Errorf("%q", got)
	}
	if got := contents(t, db, "\x00"); got != "\x00\x00=first" {
		t.Errorf("%q", got)
	}
	for _, k := range []string{"", "\x00"} {
		b := db.Batch()
		b.Set([]byte(k), nil)
		if err := db.Commit(b); err == nil {
			t.Errorf("set %q", k)
		}
		if _, ok, err := db.Get([]byte(k)); ok || err != nil {
			t.Errorf("got %q: %v", k, err)
		}
	}
	b := db.Batch()
	b.DeleteRange([]byte{}, []byte{0xff})
	b.Delete([]byte{0})
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
	if n, err := count(db.p); n != 2 || err != nil {
		t.Error(n, err)
	}
	if got := contents(t, db, ""); got != "\xff\xff=last" {
		t.Errorf("%q", got)
	}
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "\xff\xff": "", "": ""} {
		if got := prefixEnd([]byte(prefix)); string(got) != want {
			t.Errorf("prefixEnd(%q) = %q", prefix, got)
		}
	}
}

// A database is a map: any sequence of batches, syncs and reopenings behaves like one.
func TestIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		open := func() *DB {
			db, err := Open("/home/db", Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			return db
		}
		db := open()
		want := map[string]string{}
		key := rapid.StringMatching(`[a-c]{1,3}`)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = open()
			case 1:
				if err := db.Sync(); err != nil {
					t.Fatal(err)
				}
			default:
				b := db.Batch()
				for range rapid.IntRange(0, 4).Draw(t, "changes") {
					k, v := key.Draw(t, "k"), rapid.StringN(0, 3, -1).Draw(t, "v")
					switch rapid.IntRange(0, 3).Draw(t, "change") {
					case 0:
						b.Delete([]byte(k))
						delete(want, k)
					case 1:
						b.DeletePrefix([]byte(k))
						for w := range want {
							if strings.HasPrefix(w, k) {
								delete(want, w)
							}
						}
					default:
						b.Set([]byte(k), []byte(v))
						want[k] = v
					}
				}
				if err := db.Commit(b); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]string{}
			err := db.Scan(nil, func(k, v []byte) error { got[string(k)] = string(v); return nil })
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%v is not %v (%v)", got, want, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClosed(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db"), Options{})
	set(t, db, "a", "")
	b := db.Batch()
	mustClose(t, db)
	_, _, getErr := db.Get([]byte("a"))
	for _, err := range []error{db.Commit(b), db.Sync(), getErr, db.Scan(nil, nil), db.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

// Close lets a call that runs come to its end.
func TestCloseWaits(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db"), Options{})
	set(t, db, "a", "", "b", "")
	scanning, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	scanned := make(chan error)
	go func() {
		scanned <- db.Scan(nil, func(_, _ []byte) error {
			once.Do(func() { close(scanning); <-goOn })
			return nil
		})
	}()
	<-scanning
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	close(goOn)
	if err := <-scanned; err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestConcurrentCommitsAndSyncs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db := mustOpen(t, dir, Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				b := db.Batch()
				b.Set(fmt.Appendf(nil, "%d/%03d", g, i), bytes.Repeat([]byte{byte(i)}, 20_000))
				if err := db.Commit(b); err != nil {
					t.Error(err)
					return
				}
				if i%10 == 0 {
					if err := db.Sync(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	mustClose(t, db)
	db = mustOpen(t, dir, Options{MustExist: true})
	defer mustClose(t, db)
	n := 0
	if err := db.Scan(nil, func(_, v []byte) error { n++; return nil }); err != nil || n != 400 {
		t.Error(n, err)
	}
}

// A batch larger than Pebble's memory takes another way through it.
func TestLargeBatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db := mustOpen(t, dir, Options{})
	big := bytes.Repeat([]byte("sheaf"), 3*memTableSize/5)
	b := db.Batch()
	b.Set([]byte("big"), big)
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
	if err := db.Sync(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	db = mustOpen(t, dir, Options{})
	defer mustClose(t, db)
	if v, ok, err := db.Get([]byte("big")); !ok || err != nil || !bytes.Equal(v, big) {
		t.Error(len(v), ok, err)
	}
}

func TestInUseInThisProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db := mustOpen(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	mustClose(t, db)
	mustClose(t, mustOpen(t, dir, Options{}))
}

func TestNeverReplacesWhatIsThere(t *testing.T) {
	base := t.TempDir()
	if _, err := Open(filepath.Join(base, "none"), Options{MustExist: true}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	full := filepath.Join(base, "other")
	if err := os.MkdirAll(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(full, Options{})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), full) {
		t.Error(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); err == nil {
		t.Error("a file was opened as a database")
	}
	empty := filepath.Join(base, "empty")
	if err := os.MkdirAll(filepath.Join(base, "empty"+newSuffix+"left", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, empty, Options{}))
	mustClose(t, mustOpen(t, empty, Options{MustExist: true}))
	if left, _ := filepath.Glob(filepath.Join(base, "*"+newSuffix+"*")); len(left) > 0 {
		t.Error("left behind:", left)
	}
}
