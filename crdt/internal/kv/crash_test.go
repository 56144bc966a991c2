package kv

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// commitNumber commits n the way the tests of crashes count on: a key of its own and, in the
// same batch, a key that says how many there are.
func commitNumber(db *DB, n, size int) error {
	b := db.Batch()
	b.Set(fmt.Appendf(nil, "n/%08d", n), noise(size, n))
	b.Set([]byte("count"), binary.BigEndian.AppendUint64(nil, uint64(n)))
	return db.Commit(b)
}

// numbers returns how many numbers db holds, and fails unless they are the first ones, and
// their batches whole.
func numbers(db *DB) (int, error) {
	n := 0
	err := db.Scan([]byte("n/"), func(k, _ []byte) error {
		if n++; string(k) != fmt.Sprintf("n/%08d", n) {
			return fmt.Errorf("number %d is %s", n, k)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	v, ok, err := db.Get([]byte("count"))
	if err != nil || ok != (n > 0) || ok && binary.BigEndian.Uint64(v) != uint64(n) {
		return 0, fmt.Errorf("%d numbers, but count is %x, %v, %v", n, v, ok, err)
	}
	return n, nil
}

// newHome returns memory that can crash, with an empty durable home in it.
func newHome(t rapid.TB) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewCrashableMem()
	err := mem.MkdirAll("/home", 0o700)
	if err == nil {
		var d vfs.File
		if d, err = mem.OpenDir("/"); err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

// After a power loss at any moment the database opens, and holds what was synced and a
// prefix of the rest.
func TestPowerLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := newHome(t)
		db, err := Open("/home/db", Options{FS: mem})
		if err != nil {
			t.Fatal(err)
		}
		// Pebble looks for the bit that went bad in what is torn, which takes a second for 32 KiB:
		// where much is written, nothing is torn in the middle.
		sizes, percents := []int{0, 100, 600}, []int{0, 50, 100}
		if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
			sizes, percents = []int{10, 40_000, 900_000}, []int{0, 100}
		}
		committed, synced := 0, 0
		for range rapid.IntRange(0, 15).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "step") == 0 {
				if err := db.Sync(); err != nil {
					t.Fatal(err)
				}
				synced = committed
				continue
			}
			committed++
			if err := commitNumber(db, committed, rapid.SampledFrom(sizes).Draw(t, "size")); err != nil {
				t.Fatal(err)
			}
		}
		for _, percent := range percents {
			crashed := mem.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: percent,
				RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)),
			})
			after, err := Open("/home/db", Options{FS: crashed, MustExist: true})
			if err != nil {
				t.Fatalf("%d %%: %v", percent, err)
			}
			n, err := numbers(after)
			if err != nil || n < synced || n > committed || percent == 100 && n != committed {
				t.Fatalf("%d %%: %d numbers of %d, %d synced: %v", percent, n, committed, synced, err)
			}
			// It goes on, and what was found is durable by now.
			if err := commitNumber(after, n+1, 10); err != nil {
				t.Fatal(err)
			}
			twice, err := Open("/home/db", Options{FS: crashed.CrashClone(vfs.CrashCloneCfg{}), MustExist: true})
			if err != nil {
				t.Fatal(err)
			}
			if m, err := numbers(twice); m != n && m != n+1 || err != nil {
				t.Fatalf("%d numbers, then %d: %v", n, m, err)
			}
			if err := errors.Join(twice.Close(), after.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if closed, err := Open("/home/db", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{}), MustExist: true}); err != nil {
			t.Fatal(err)
		} else if n, err := numbers(closed); n != committed || err != nil {
			t.Fatalf("%d numbers of %d after Close: %v", n, committed, err)
		} else if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A power loss while the database is made leaves none, or one.
func TestPowerLossWhileCreating(t *testing.T) {
	for stop := int64(1); ; stop++ {
		mem := newHome(t)
		var clones []*vfs.MemFS
		fs := &countingFS{FS: mem, at: stop, do: func() {
			for seed := range uint64(8) {
				clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(stop), seed))}))
			}
		}}
		db, err := Open("/home/db", Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
		if clones == nil {
			break // every operation has been the last one
		}
		for _, clone := range clones {
			after, err := Open("/home/db", Options{FS: clone})
			if err != nil {
				t.Fatalf("after %d operations: %v", stop, err)
			}
			mustClose(t, after)
		}
	}
}

// countingFS calls do before the operation number at that changes names.
type countingFS struct {
	vfs.FS
	n, at int64
	do    func()
}

func (c *countingFS) count() {
	if atomic.AddInt64(&c.n, 1) == c.at {
		c.do()
	}
}

func (c *countingFS) Create(name string, w vfs.DiskWriteCategory) (vfs.File, error) {
	c.count()
	return c.FS.Create(name, w)
}

func (c *countingFS) OpenDir(name string) (vfs.File, error) {
	c.count()
	return c.FS.OpenDir(name)
}

func (c *countingFS) Rename(a, b string) error {
	c.count()
	return c.FS.Rename(a, b)
}

func (c *countingFS) Remove(a string) error {
	c.count()
	return c.FS.Remove(a)
}

func (c *countingFS) MkdirAll(a string, m os.FileMode) error {
	c.count()
	return c.FS.MkdirAll(a, m)
}

// hookFS calls hook before a log is really synced.
type hookFS struct {
	vfs.FS
	hook func() error
}

func (h *hookFS) Create(name string, w vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.Create(name, w)
	if err == nil && isWAL(name) {
		f = &hookFile{f, h}
	}
	return f, err
}

type hookFile struct {
	vfs.File
	fs *hookFS
}

func (h *hookFile) SyncData() error {
	if err := h.fs.hook(); err != nil {
		return err
	}
	return h.File.SyncData()
}

// A Sync that finds nothing to do, because another one is doing it, waits until it is done.
func TestSyncWaitsForARunningSync(t *testing.T) {
	var slow atomic.Bool
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	mem := newHome(t)
	fs := &hookFS{FS: mem, hook: func() error {
		if slow.Load() {
			begun <- struct{}{}
			<-goOn
		}
		return nil
	}}
	db := mustOpen(t, "/home/db", Options{FS: fs})
	if err := commitNumber(db, 1, 10); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- db.Sync() }()
	<-begun
	go func() { second <- db.Sync() }()
	select {
	case <-second:
		t.Fatal("Sync returned before the commit was durable")
	case <-time.After(20 * time.Millisecond): // it may be slow to begin; it must not be quick to end
	}
	// A commit does not wait for the disk.
	if err := commitNumber(db, 2, 10); err != nil {
		t.Fatal(err)
	}
	slow.Store(false)
	close(goOn)
	for _, c := range []chan error{first, second} {
		if err := <-c; err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, db)
}

// After a sync that failed nothing is acknowledged, and what was synced before is there.
func TestSyncFails(t *testing.T) {
	boom := errors.New("boom")
	var broken atomic.Bool
	mem := newHome(t)
	fs := &hookFS{FS: mem, hook: func() error {
		if broken.Load() {
			return boom
		}
		return nil
	}}
	db := mustOpen(t, "/home/db", Options{FS: fs})
	if err := errors.Join(commitNumber(db, 1, 10), db.Sync(), commitNumber(db, 2, 10)); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if err := db.Sync(); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	broken.Store(false)
	if err := db.Sync(); !errors.Is(err, boom) {
		t.Error("a second sync claims what the first could not do:", err)
	}
	for n := range 10 { // and no memory that fills up, or log that ends, changes that
		if err := commitNumber(db, 3+n, 900_000); !errors.Is(err, boom) {
			t.Error(err)
		}
	}
	if err := db.Err(); !errors.Is(err, boom) {
		t.Error(err)
	}
	if err := db.Close(); !errors.Is(err, boom) {
		t.Error(err)
	}
	after := mustOpen(t, "/home/db", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{}), MustExist: true})
	defer mustClose(t, after)
	if n, err := numbers(after); n < 1 || err != nil {
		t.Error(n, err)
	}
}

const childEnv = "SHEAF_KV_TEST_CHILD"

// A process that commits in a loop is killed: everything it said it had committed is there.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	said := 0
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChildCommits$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			if _, err := fmt.Sscanf(lines.Text(), "committed %d", &said); err != nil {
				t.Fatal(lines.Text())
			}
			if i == 0 {
				if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
					t.Errorf("opened while another process has it open: %v", err)
				}
			}
			if i == 50+round*200 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the child ended by itself: %v", err)
		}
		db := mustOpen(t, dir, Options{MustExist: true})
		n, err := numbers(db)
		if err != nil || n < said || n > said+1 {
			t.Errorf("%d numbers, %d acknowledged: %v", n, said, err)
		}
		mustClose(t, db)
	}
}

// TestChildCommits is the process that TestKill kills.
func TestChildCommits(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		t.Skip("runs as a child of TestKill only")
	}
	db := mustOpen(t, dir, Options{})
	n, err := numbers(db)
	if err != nil {
		t.Fatal(err)
	}
	for {
		n++
		if err := commitNumber(db, n, n%50*400); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("committed %d\n", n)
	}
}

// snapshot reads the files of a database. Pebble removes old ones in the background.
func snapshot(t testing.TB, fs *vfs.MemFS) map[string][]byte {
	t.Helper()
	names, err := fs.List("/home/db")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if b := readMem(t, fs, name); b != nil {
			files[name] = b
		}
	}
	return files
}

// restore makes a memory with a database of these files.
func restore(t testing.TB, files map[string][]byte) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/home/db", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		writeMem(t, fs, name, b)
	}
	return fs
}

// readMem returns nil for a file that is not there.
func readMem(t testing.TB, fs *vfs.MemFS, name string) []byte {
	t.Helper()
	f, err := fs.Open("/home/db/" + name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeMem(t testing.TB, fs *vfs.MemFS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create("/home/db/"+name, "test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append([]byte(nil), b...))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A log that is torn anywhere behind what was synced, whatever is left there, opens with a
// prefix; torn before, it is damage, unless loss is accepted.
func TestTornLog(t *testing.T) {
	mem := newHome(t)
	db := mustOpen(t, "/home/db", Options{FS: mem})
	defer mustClose(t, db)
	log := newestLog(t, mem)
	var ends []int // of the log, after each commit
	for n := 1; n <= 12; n++ {
		// Together more than a block of the log, whose end one of them lies across.
		if err := commitNumber(db, n, 2850); err != nil {
			t.Fatal(err)
		}
		if n == 6 {
			if err := db.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		ends = append(ends, len(readMem(t, mem, log)))
	}
	files := snapshot(t, mem)
	whole := files[log]
	long := os.Getenv("SHEAF_TEST_LONG") != ""
	var cuts []int
	for cut := range len(whole) {
		// In the middle of long values a sample is enough: Pebble is slow there.
		if near(cut, ends) && (long || cut%31 == 0) || cut%3999 == 0 {
			cuts = append(cuts, cut)
		}
	}
	for _, cut := range cuts {
		rest := map[string][]byte{
			"nothing": nil,
			"zeros":   make([]byte, len(whole)-cut),
			"noise":   noise(len(whole)-cut, cut),
			"a hole":  append(make([]byte, min(4096, len(whole)-cut)), whole[min(len(whole), cut+4096):]...),
		}
		for name, tail := range rest {
			torn := restore(t, files)
			writeMem(t, torn, log, append(append([]byte(nil), whole[:cut]...), tail...))
			after, err := Open("/home/db", Options{FS: torn, MustExist: true})
			if cut < ends[5] && errors.Is(err, ErrDamaged) {
				after, err = Open("/home/db", Options{FS: torn, MustExist: true, AcceptLoss: true})
			} else if cut < ends[5] && err == nil {
				// Zeros may be what was there, too.
				if n, _ := numbers(after); n < 6 {
					t.Fatalf("cut at %d, then %s: %d numbers, and nothing said", cut, name, n)
				}
			}
			if err != nil {
				t.Fatalf("cut at %d, then %s: %v", cut, name, err)
			}
			n, err := numbers(after)
			if err != nil {
				t.Fatalf("cut at %d, then %s: %v", cut, name, err)
			}
			if n < 12 && ends[n] <= cut {
				t.Fatalf("cut at %d, then %s: %d numbers, %d were whole", cut, name, n, n+1)
			}
			mustClose(t, after)
		}
	}
}

func near(cut int, ends []int) bool {
	for _, e := range append(ends, 0, 32<<10) {
		if cut >= e-14 && cut <= e+14 {
			return true
		}
	}
	return false
}

func noise(n, seed int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func newestLog(t testing.TB, fs *vfs.MemFS) (log string) {
	t.Helper()
	names, err := fs.List("/home/db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if isWAL(name) && name > log {
			log = name
		}
	}
	return log
}

// Whichever byte of a database goes bad: it is damage, or it does no harm.
func TestFlippedBytes(t *testing.T) {
	mem := vfs.NewMem()
	db := mustOpen(t, "/home/db", Options{FS: mem})
	for n := 1; n <= 40; n++ {
		if err := commitNumber(db, n, 300); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, db)
	db = mustOpen(t, "/home/db", Options{FS: mem}) // flushes: now there is a table, too
	for n := 41; n <= 60; n++ {
		if err := commitNumber(db, n, 300); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Sync(); err != nil {
		t.Fatal(err)
	}
	files := snapshot(t, mem)
	outcomes := map[string]int{}
	for name, whole := range files {
		step := max(1, len(whole)/70)
		for at := 0; at < len(whole); at += step {
			fs := restore(t, files)
			b := append([]byte(nil), whole...)
			b[at] ^= 1 << (at % 8)
			writeMem(t, fs, name, b)
			what := "harmless"
			bad, err := Open("/home/db", Options{FS: fs, MustExist: true})
			if err == nil {
				var n int
				if n, err = numbers(bad); err == nil && n != 60 {
					t.Errorf("%s, byte %d: %d numbers, and nothing said", name, at, n)
				}
				_ = bad.Close()
			}
			if err != nil {
				what = "damage"
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "/home/db") {
					t.Errorf("%s, byte %d: %v", name, at, err)
				}
			}
			outcomes[filepath.Ext(name)+" "+what]++
		}
	}
	t.Log(outcomes)
	mustClose(t, db)
}

// Damage that Pebble meets by itself, while it moves things around, is damage for everyone.
func TestDamageInTheBackground(t *testing.T) {
	mem := vfs.NewMem()
	db := mustOpen(t, "/home/db", Options{FS: mem})
	for n := 1; n <= 40; n++ {
		if err := commitNumber(db, n, 300); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, db)
	mustClose(t, mustOpen(t, "/home/db", Options{FS: mem})) // flushes
	for name, b := range snapshot(t, mem) {
		if strings.HasSuffix(name, ".sst") {
			b[len(b)/3] ^= 1
			writeMem(t, mem, name, b)
		}
	}
	db = mustOpen(t, "/home/db", Options{FS: mem})
	if err := commitNumber(db, 1, 10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	compacted := make(chan error)
	// Pebble tries what was asked for by hand again for ever, and its own compactions later.
	go func() { compacted <- db.p.Compact(ctx, []byte{0}, []byte{0xff}, false) }()
	for db.Err() == nil {
		runtime.Gosched()
	}
	cancel()
	if err := <-compacted; err == nil {
		t.Error("the table is not damaged")
	}
	for _, err := range []error{db.Err(), commitNumber(db, 2, 10), db.Sync(), db.Close()} {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), ".sst") {
			t.Error(err)
		}
	}
}

// A file that is gone is damage.
func TestMissingFiles(t *testing.T) {
	mem := vfs.NewMem()
	db := mustOpen(t, "/home/db", Options{FS: mem})
	if err := commitNumber(db, 1, 300); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	db = mustOpen(t, "/home/db", Options{FS: mem})
	if err := errors.Join(commitNumber(db, 2, 300), db.Sync()); err != nil {
		t.Fatal(err)
	}
	files := snapshot(t, mem)
	for name := range files {
		fs := restore(t, files)
		if err := fs.Remove("/home/db/" + name); err != nil {
			t.Fatal(err)
		}
		bad, err := Open("/home/db", Options{FS: fs})
		if err == nil {
			var n int
			if n, err = numbers(bad); err == nil && n != 2 {
				t.Errorf("without %s: %d numbers, and nothing said", name, n)
			}
			_ = bad.Close()
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	mustClose(t, db)
}

func TestClaim(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := claim{rapid.Uint64().Draw(t, "commit"), rapid.Uint64().Draw(t, "manifest"), rapid.Uint64Min(1).Draw(t, "len")}
		b := c.encode()
		if decodeClaim(b) != c {
			t.Fatal("does not read back")
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1
		if decodeClaim(b) != (claim{}) {
			t.Fatal("reads back though it is damaged")
		}
	})
	if decodeClaim(nil) != (claim{}) {
		t.Error("nothing claims something")
	}
}

func FuzzDecodeClaim(f *testing.F) {
	f.Add([]byte{})
	f.Add(claim{1, 2, 3}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := decodeClaim(b); c != (claim{}) && string(c.encode()) != string(b) {
			t.Fatal("two encodings of one claim")
		}
	})
}
