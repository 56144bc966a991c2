package kv

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// walFS is the filesystem that Pebble sees: the one below, except that its write-ahead log
// is synced when we say so. Pebble writes a commit to the kernel only when it is asked to
// sync it (otherwise it keeps it in a buffer of its own), so every commit asks, and the
// answer comes without waiting for the disk.
type walFS struct {
	vfs.FS
	fail *failure
	// manifestSynced is told that the first n bytes of a manifest are durable.
	manifestSynced func(number, n uint64)

	syncing sync.Mutex // one sync at a time; who waits for it often finds the work done
	mu      sync.Mutex
	open    map[*walFile]struct{}
	done    chan struct{} // closed when the database closes: nobody sleeps any more
	once    sync.Once
}

func newWALFS(below vfs.FS, fail *failure) *walFS {
	return &walFS{FS: below, fail: fail, open: map[*walFile]struct{}{}, done: make(chan struct{})}
}

const (
	logSuffix      = ".log"
	manifestPrefix = "MANIFEST-"
)

func isWAL(name string) bool { return strings.HasSuffix(name, logSuffix) }

func (w *walFS) Unwrap() vfs.FS { return w.FS }

func (w *walFS) close() { w.once.Do(func() { close(w.done) }) }

// Create makes a file. A log that cannot be made is made of nothing: Pebble would panic with
// its locks held.
func (w *walFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if isWAL(name) {
		return w.newLog(func() (vfs.File, error) { return w.FS.Create(name, c) }), nil
	}
	f, err := w.other(w.FS.Create(name, c))
	if number, ok := strings.CutPrefix(w.PathBase(name), manifestPrefix); ok && err == nil {
		n, err := strconv.ParseUint(number, 10, 64)
		if err == nil {
			return &manifestFile{File: f, fs: w, dir: w.PathDir(name), number: n}, nil
		}
	}
	return f, err
}

// ReuseForWrite gives an old log a new name.
func (w *walFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if isWAL(name) {
		return w.newLog(func() (vfs.File, error) { return w.FS.ReuseForWrite(old, name, c) }), nil
	}
	return w.other(w.FS.ReuseForWrite(old, name, c))
}

// OpenDir opens a directory to sync it. Where that fails, Pebble would panic.
func (w *walFS) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, fail: w.fail}, nil
}

// newLog makes a log, of nothing after a failure: the one before it may end in the middle of
// a commit, and Pebble forgives that only to the newest log.
func (w *walFS) newLog(create func() (vfs.File, error)) vfs.File {
	wf := &walFile{fs: w}
	if w.fail.get() != nil {
		return wf
	}
	f, err := create()
	if err != nil {
		w.fail.set(err)
		return wf
	}
	wf.File = f
	w.mu.Lock()
	w.open[wf] = struct{}{}
	w.mu.Unlock()
	return wf
}

func (w *walFS) other(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		w.slowDown(err)
		return nil, err
	}
	return &otherFile{File: f, fs: w}, nil
}

// slowDown waits a little where there is no space: Pebble tries again at once, for ever.
func (w *walFS) slowDown(err error) {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		select {
		case <-w.done:
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// sync makes durable what was written to any log before it was called. Failures are in fail.
//
// Holding syncing while looking is what makes sharing safe: a file counts as clean only
// when the sync that cleaned it has ended.
func (w *walFS) sync() {
	if fault.On("kv-skip-sync") {
		return
	}
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.mu.Lock()
	files := make([]*walFile, 0, len(w.open))
	for f := range w.open {
		files = append(files, f)
	}
	w.mu.Unlock()
	for _, f := range files {
		f.sync()
	}
}

// walFile is one log. Without a File in it, it is a log that could not be made.
type walFile struct {
	vfs.File
	fs      *walFS
	written atomic.Int64 // bytes ever written

	mu     sync.Mutex // held while syncing and closing
	synced int64      // of written
	closed bool
}

// Write never fails, as far as Pebble knows. After a failure it writes nothing: what
// follows a hole would be lost anyway, and a log that ends there opens well.
func (f *walFile) Write(p []byte) (int, error) {
	if f.File == nil || f.fs.fail.get() != nil {
		return len(p), nil
	}
	n, err := f.File.Write(p)
	f.written.Add(int64(n))
	if err != nil {
		f.fs.fail.set(err)
	}
	return len(p), nil
}

// Sync and SyncData are Pebble's: it is enough that the bytes reached the kernel.
func (f *walFile) Sync() error     { return nil }
func (f *walFile) SyncData() error { return nil }

// SyncTo starts nothing: the log is synced as a whole.
func (f *walFile) SyncTo(int64) (bool, error) { return false, nil }

// Preallocate makes room where it can; where it cannot, writing will tell.
func (f *walFile) Preallocate(offset, length int64) error {
	if f.File != nil {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

func (f *walFile) Stat() (vfs.FileInfo, error) {
	if f.File == nil {
		return nil, syscall.EBADF
	}
	return f.File.Stat()
}

func (f *walFile) Fd() uintptr {
	if f.File == nil {
		return vfs.InvalidFd
	}
	return f.File.Fd()
}

func (f *walFile) sync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncLocked()
}

func (f *walFile) syncLocked() {
	written := f.written.Load()
	if f.File == nil || f.closed || written == f.synced {
		return
	}
	if err := f.File.SyncData(); err != nil {
		// Once: after a failed sync the kernel may call the same bytes clean.
		f.fs.fail.set(err)
		return
	}
	f.synced = written
}

// Close syncs what a log still has to sync: a log that is not the newest must be whole.
func (f *walFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.File == nil || f.closed {
		return nil
	}
	f.syncLocked()
	f.closed = true
	if err := f.File.Close(); err != nil {
		f.fs.fail.set(err)
	}
	f.fs.mu.Lock()
	delete(f.fs.open, f)
	f.fs.mu.Unlock()
	return nil
}

// dirFile is a directory, for syncing.
type dirFile struct {
	vfs.File
	fail *failure
}

func (d *dirFile) Sync() error {
	if err := d.File.Sync(); err != nil {
		d.fail.set(err)
	}
	return nil
}

// otherFile is any other file that Pebble writes.
type otherFile struct {
	vfs.File
	fs *walFS
}

func (f *otherFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.fs.slowDown(err)
	return n, err
}

// manifestFile is the list of the files that make up the database, or what changed in it.
type manifestFile struct {
	vfs.File
	fs     *walFS
	dir    string
	number uint64
	n      uint64
	named  bool // its name is durable
}

func (f *manifestFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.n += uint64(n)
	return n, err
}

// Sync also makes the name durable: Pebble leaves that to the sync of the marker that names
// this file as the newest, and a power loss could keep the marker and not the file.
func (f *manifestFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	if !f.named {
		d, err := f.fs.FS.OpenDir(f.dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
		f.named = true
	}
	f.fs.manifestSynced(f.number, f.n)
	return nil
}
