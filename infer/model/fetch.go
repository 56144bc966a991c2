package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Step is what a fetch is doing.
type Step string

const (
	Downloading Step = "downloading"
	Checking    Step = "checking"
	Unpacking   Step = "unpacking"
)

// Progress is how far a fetch is, in bytes.
type Progress struct {
	ID    string
	Step  Step
	Done  int64
	Total int64
}

// Fetch brings an item of the list here and checks it. What is here and whole
// already is not fetched again. progress, which may be nil, is called from
// several goroutines, one at a time.
func (s *Store) Fetch(ctx context.Context, id string, progress func(Progress)) error {
	i, ok := s.find(id)
	if !ok {
		return &Error{Op: "fetch", Name: id, Kind: ErrUnknown, Hint: "sheaf model list shows what can be fetched"}
	}
	if !i.runsHere() {
		return &Error{Op: "fetch", Name: id, Kind: ErrPlatform, Err: fmt.Errorf("it runs on %s", i.platform)}
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	unlock, err := s.lock(id)
	if err != nil {
		return err
	}
	defer unlock()
	if s.Check(id) == nil {
		return nil
	}
	f := &fetch{s: s, item: i, dir: filepath.Join(s.dir, partialName, i.source.sha256[:16]), progress: progress}
	if err := f.run(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if errors.As(err, new(*Error)) {
			return err
		}
		return fmt.Errorf("fetch %s: %w", id, err)
	}
	return nil
}

// lock keeps other processes from fetching and removing.
func (s *Store) lock(id string) (func(), error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &Error{Op: "fetch", Name: id, Kind: ErrInUse}
	}
	return func() { f.Close() }, nil
}

// fetch is one fetch. dir keeps what must survive an interruption: the package, or
// what there is of it.
type fetch struct {
	s        *Store
	item     item
	dir      string
	progress func(Progress)
}

func (f *fetch) tell(step Step, done, total int64) {
	f.progress(Progress{ID: f.item.id, Step: step, Done: min(done, total), Total: total})
}

func (f *fetch) run(ctx context.Context) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	pkg := filepath.Join(f.dir, f.item.source.file)
	if _, err := os.Stat(pkg); errors.Is(err, fs.ErrNotExist) {
		if err := f.download(ctx, pkg); err != nil {
			return err
		}
	}
	f.tell(Checking, 0, f.item.source.size)
	sum, err := hashFile(pkg)
	if err != nil {
		return err
	}
	if sum != f.item.source.sha256 {
		// Not to be met again at the next try.
		if err := os.RemoveAll(f.dir); err != nil {
			return err
		}
		return &Error{Op: "fetch", Name: f.item.id, Kind: ErrHash,
			Err: fmt.Errorf("the package has SHA-256 %s, expected %s", sum, f.item.source.sha256)}
	}
	f.tell(Checking, f.item.source.size, f.item.source.size)
	return f.install(pkg)
}

// download fetches what is missing of the package, or has the client put it into a
// directory of its own, and moves it to path when it is complete.
func (f *fetch) download(ctx context.Context, path string) error {
	work := filepath.Join(f.dir, "download")
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(work, "tmp"), 0o700); err != nil {
		return err
	}
	f.tell(Downloading, 0, f.item.source.size)
	if addr := f.s.address(ctx, f.item, work); addr != "" {
		part := path + ".part"
		err := f.resume(ctx, addr, part)
		if err == nil {
			return errors.Join(os.Rename(part, path), os.RemoveAll(work))
		}
		if ctx.Err() != nil {
			return err
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				f.tell(Downloading, treeSize(work), f.item.source.size)
			}
		}
	}()
	err := f.s.runClient(ctx, f.item, work)
	close(stop)
	<-stopped
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(work, f.item.source.file), path); err != nil {
		return &Error{Op: "fetch", Name: f.item.id, Kind: ErrClient, Err: err}
	}
	return os.RemoveAll(work)
}

// install unpacks a checked package beside its place and moves it there.
func (f *fetch) install(pkg string) error {
	out := filepath.Join(f.dir, "unpacked")
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	f.tell(Unpacking, 0, f.item.size)
	files, err := unpack(pkg, out, f.item, func(done int64) { f.tell(Unpacking, done, f.item.size) })
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(manifest{Package: f.item.source.sha256, Files: files}, "", "\t")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(out, manifestName), append(b, '\n')); err != nil {
		return err
	}
	home := f.s.home(f.item)
	if err := os.RemoveAll(home); err != nil { // damaged, or it would have been used
		return err
	}
	if err := os.Rename(out, home); err != nil {
		return err
	}
	if err := syncDir(f.s.dir); err != nil {
		return err
	}
	return os.RemoveAll(f.dir)
}

func treeSize(dir string) int64 {
	sum := int64(0)
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}
