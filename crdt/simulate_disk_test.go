package crdt_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is what the database of a simulated home is on: memory that remembers what was synced,
// and can lose power just before any operation that changes it.
type disk struct {
	vfs.FS
	mem *vfs.MemFS

	mu    gosync.Mutex
	left  int // operations until power is lost; 0: it is not to be
	cfg   vfs.CrashCloneCfg
	after *vfs.MemFS // what is left
}

func newDisk(mem *vfs.MemFS) *disk { return &disk{FS: mem, mem: mem} }

// emptyDisk has a durable directory and nothing else.
func emptyDisk(dir string) (*disk, error) {
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for {
		d, err := mem.OpenDir(dir)
		if err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
		if err != nil || dir == "/" {
			return newDisk(mem), err
		}
		dir = filepath.Dir(dir)
	}
}

// arm has power lost before the n-th operation from now. cfg says what becomes of what was
// written and not synced.
func (d *disk) arm(n int, cfg vfs.CrashCloneCfg) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.cfg, d.after = n, cfg, nil
}

// lost is what the power loss left; if it did not come yet, it comes now.
func (d *disk) lost() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.after == nil {
		d.after = d.mem.CrashClone(d.cfg)
	}
	d.left = 0
	return newDisk(d.after)
}

// killed is what a process that is killed now leaves: all that the kernel has.
func (d *disk) killed() *disk {
	return newDisk(d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))}))
}

func (d *disk) count() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return
	}
	if d.left--; d.left == 0 {
		d.after = d.mem.CrashClone(d.cfg)
	}
}

func (d *disk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d}, nil
}

func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	d.count()
	return d.file(d.FS.Create(name, c))
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return d.file(d.FS.OpenReadWrite(name, c, o...))
}

func (d *disk) OpenDir(name string) (vfs.File, error) { return d.file(d.FS.OpenDir(name)) }

func (d *disk) ReuseForWrite(a, b string, c vfs.DiskWriteCategory) (vfs.File, error) {
	d.count()
	return d.file(d.FS.ReuseForWrite(a, b, c))
}

func (d *disk) Rename(a, b string) error {
	d.count()
	return d.FS.Rename(a, b)
}

func (d *disk) Remove(a string) error {
	d.count()
	return d.FS.Remove(a)
}

func (d *disk) MkdirAll(a string, m os.FileMode) error {
	d.count()
	return d.FS.MkdirAll(a, m)
}

type diskFile struct {
	vfs.File
	d *disk
}

func (f *diskFile) Write(p []byte) (int, error) {
	f.d.count()
	return f.File.Write(p)
}

func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	f.d.count()
	return f.File.WriteAt(p, at)
}

func (f *diskFile) Sync() error {
	f.d.count()
	return f.File.Sync()
}

func (f *diskFile) SyncData() error {
	f.d.count()
	return f.File.SyncData()
}

// loseObjects removes objects as a power loss would that came before they were synced.
func loseObjects(home string, hashes []string, rnd *rand.Rand) {
	for _, h := range hashes {
		if rnd.IntN(2) == 0 {
			os.Remove(filepath.Join(home, "objects", h[:2], strings.TrimPrefix(h, h[:2])))
		}
	}
}
