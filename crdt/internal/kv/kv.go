// Package kv is the one database of a home: ordered keys and values in Pebble, with the two
// kinds of durability that sheaf needs.
//
// It promises that
//   - a batch is applied wholly or not at all, and is visible to readers once Commit returns;
//   - what Commit returned for survives the death of the process (SIGKILL);
//   - what Commit returned for before Sync was called survives the death of the machine once
//     Sync returns, and after such a death the database opens at some batch boundary at or
//     after the last Sync;
//   - damage is an error, ErrDamaged, that names the path: it is never an empty or shortened
//     database, and a directory that holds something else is never made into one;
//   - one process has the database open, another one gets ErrInUse;
//   - after a failure to write or sync, nothing is acknowledged any more until the database is
//     opened again, because the kernel may have dropped what it could not write.
//
// It never knows what its keys mean.
package kv

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// Kinds of errors; test for them with errors.Is.
var (
	ErrInUse   = errors.New("in use by another process")
	ErrDamaged = errors.New("database damaged")
	ErrFull    = errors.New("no space left on device") // comes with syscall.ENOSPC
	ErrClosed  = errors.New("database closed")
)

// What Pebble may use. The working set of a home is small: state lives in memory above us.
const (
	memTableSize   = 4 << 20
	cacheSize      = 4 << 20
	defaultReserve = 16 << 20
)

// Texts lie by their nodes, at random: whatever is compacted from level 0 rewrites all of the
// level below it, so it goes there in larger pieces than Pebble's usual four memtables.
const l0Compaction = 10

// levels compresses what stays. Below the last level everything is written anew soon.
func levels() (ls [numLevels]pebble.LevelOptions) {
	for i := range ls {
		ls[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	ls[len(ls)-1].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	return ls
}

// numLevels is how many levels Pebble has.
const numLevels = len(pebble.Options{}.Levels)

// Options are the ways to open a database; the zero value is a good one.
type Options struct {
	// Logger gets Pebble's messages at debug level, and failures at error level. Nil: none.
	Logger *slog.Logger
	// MustExist makes Open fail with ErrDamaged where there is no database, instead of
	// making one: for a home that had one.
	MustExist bool
	// AcceptLoss opens a database that has lost commits that were synced, with what is left
	// of it, and drops the rest for good: for repair, once a person has agreed.
	AcceptLoss bool
	// Reserve is how many bytes must be free on the filesystem for Commit to begin: room
	// for Pebble to write what was acknowledged in its final place. 0: 16 MiB; less: none.
	Reserve int64
	// FS replaces the filesystem, for tests.
	FS vfs.FS
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dir     string
	fs      vfs.FS
	log     *slog.Logger
	reserve int64
	fail    *failure
	wal     *walFS
	lock    *pebble.Lock
	mark    *mark
	p       *pebble.DB

	committing sync.Mutex    // keeps commits in the order of their numbers
	count      uint64        // the number of the newest commit
	returned   atomic.Uint64 // the newest commit that is in the kernel, with all before it
	large      atomic.Bool   // a large batch was committed since Rest

	mu     sync.Mutex
	idle   sync.Cond // no call is running
	calls  int
	closed bool
}

// Open opens the database in dir, or makes a new one where dir is absent or empty. It fails
// with ErrInUse, ErrDamaged or ErrFull, or with the error of the filesystem.
func Open(dir string, o Options) (*DB, error) {
	db := &DB{dir: dir, fs: o.FS, log: o.Logger, reserve: o.Reserve}
	db.idle.L = &db.mu
	if db.fs == nil {
		db.fs = vfs.Default
		// The lock is known by its path inside a process.
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("database %s: %w", dir, err)
		}
		db.dir = abs
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.reserve == 0 {
		db.reserve = defaultReserve
	}
	db.fail = &failure{log: db.log, dir: db.dir}
	db.wal = newWALFS(db.fs, db.fail)

	exists, err := db.exists()
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", db.dir, err)
	}
	if !exists {
		if o.MustExist {
			return nil, fmt.Errorf("database %s: %w: it is not there", db.dir, ErrDamaged)
		}
		if err := db.create(); err != nil {
			return nil, fmt.Errorf("database %s: making it: %w", db.dir, kind(err, false))
		}
	}
	err = db.open(o.AcceptLoss)
	if fault.On("kv-start-empty") && errors.Is(err, ErrDamaged) {
		err = errors.Join(db.fs.RemoveAll(db.dir), db.create(), db.open(o.AcceptLoss))
	}
	if err != nil {
		db.wal.close()
		return nil, fmt.Errorf("database %s: %w", db.dir, err)
	}
	return db, nil
}

// exists reports whether there is anything in dir. Whatever is there is opened, never
// replaced.
func (db *DB) exists() (bool, error) {
	names, err := db.fs.List(db.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(names) > 0, err
}

// open takes the lock and everything that is held until Close.
func (db *DB) open(acceptLoss bool) error {
	lock, err := pebble.LockDirectory(db.dir, db.fs)
	if err != nil {
		// Held by this process, which is not a system call's error, or by another one.
		var errno syscall.Errno
		if !errors.As(err, &errno) || errno == syscall.EAGAIN {
			return fmt.Errorf("%w: %w", ErrInUse, err)
		}
		return kind(err, false)
	}
	db.lock = lock
	if err := db.openLocked(acceptLoss); err != nil {
		if db.p != nil {
			db.p.Close()
		}
		if db.mark != nil {
			db.mark.close()
		}
		lock.Close()
		return kind(err, true)
	}
	return nil
}

func (db *DB) openLocked(acceptLoss bool) (err error) {
	if err := db.checkSpaceToOpen(); err != nil {
		return err
	}
	if db.mark, err = openMark(db.fs, db.dir); err != nil {
		return err
	}
	if c := db.mark.claim; c != (claim{}) && !acceptLoss {
		if err := db.checkMark(c); err != nil {
			return err
		}
	}
	o := db.options()
	o.FS = db.wal
	o.Lock = db.lock
	o.ErrorIfNotExists = true
	db.wal.manifestSynced = db.noteManifest
	if db.p, err = openPebble(db.dir, o); err != nil {
		return err
	}
	if db.count, err = count(db.p); err != nil {
		return err
	}
	// Opening replayed the log and wrote what it held in its final place.
	db.returned.Store(db.count)
	if err := db.mark.reset(db.count); err != nil {
		return err
	}
	return db.fail.get()
}

// openPebble makes an error of a panic: Pebble checks some invariants of what it reads from
// disk by panicking.
func openPebble(dir string, o *pebble.Options) (p *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return pebble.Open(dir, o)
}

func (db *DB) options() *pebble.Options {
	return &pebble.Options{
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       l0Compaction,
		L0StopWritesThreshold:       3 * l0Compaction,
		Levels:                      levels(),
		CacheSize:                   cacheSize,
		MaxOpenFiles:                128,
		// The newest format whose log does not note what was synced: that note would be
		// wrong, because commits reach the log without a sync, and a power loss that tore
		// the unsynced tail would then look like damage.
		FormatMajorVersion: pebble.FormatColumnarBlocks,
		Logger:             logger{db.fail},
		EventListener: &pebble.EventListener{
			BackgroundError: db.fail.background,
			FlushEnd:        db.fail.flushed,
			DataCorruption:  db.fail.damaged,
		},
	}
}

// Close waits for running calls, makes everything durable and closes the database. Calls
// that begin after it fail with ErrClosed; so does a second Close.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return ErrClosed
	}
	db.closed = true
	for db.calls > 0 {
		db.idle.Wait()
	}
	db.mu.Unlock()

	db.wal.close()
	err := errors.Join(db.p.Close(), db.fail.get())
	if err == nil {
		err = db.mark.committed(db.count)
	}
	if err = errors.Join(err, db.mark.close(), db.lock.Close()); err != nil {
		return fmt.Errorf("database %s: closing: %w", db.dir, kind(err, false))
	}
	return nil
}

// Err returns the failure that made the database refuse to acknowledge anything, or nil.
func (db *DB) Err() error { return db.fail.get() }

// Sync makes everything durable whose Commit returned before Sync was called. Concurrent
// calls share one sync of the disk.
func (db *DB) Sync() error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	if err := db.fail.get(); err != nil {
		return err
	}
	n := db.returned.Load()
	db.wal.sync()
	if err := db.fail.get(); err != nil {
		return err
	}
	if err := db.mark.committed(n); err != nil {
		// The mark only has to be true, not new.
		db.log.Warn("database: noting what is synced", "path", db.dir, "error", err)
	}
	return nil
}

// noteManifest is told what is durable of the manifest.
func (db *DB) noteManifest(number, n uint64) {
	if err := db.mark.manifest(number, n); err != nil {
		db.log.Warn("database: noting what is synced", "path", db.dir, "error", err)
	}
}

// enter begins a call. Every call that it lets in must leave.
func (db *DB) enter() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return fmt.Errorf("database %s: %w", db.dir, ErrClosed)
	}
	db.calls++
	return nil
}

func (db *DB) leave() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.calls--; db.calls == 0 {
		db.idle.Broadcast()
	}
}
