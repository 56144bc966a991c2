package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs/mountinfo"
	"github.com/sheaf-fs/sheaf/fs/turns"
)

// Options for a mount.
type Options struct {
	Logger  *slog.Logger // nil: nothing is logged
	Watcher Watcher      // nil: programs that watch files hear nothing of changes from elsewhere
	Debug   bool         // log every request

	// AllowOther lets other users of this machine in, as far as owners and modes
	// allow them. Without it they see nothing.
	AllowOther bool

	// Answer, if not nil, waits until nothing more is being written into the
	// file at path by what answers questions in it, and returns what it wrote
	// last. It is what reading .sheaf/answer/PATH gives; a done ctx ends it.
	Answer func(ctx context.Context, path string) ([]byte, error)

	// Status, if not nil, is what reading .sheaf/status gives.
	Status func(ctx context.Context) ([]byte, error)
}

// The kinds of errors of Mount.
var (
	ErrNoFUSE     = errors.New("this system offers no FUSE")
	ErrNotEmpty   = errors.New("mount point is not an empty directory")
	ErrPermission = errors.New("no permission to mount")
	ErrBusy       = errors.New("mount is in use")
)

// Server is a folder that is mounted.
type Server struct {
	fs     *filesystem
	raw    *fuse.Server
	point  string                 // where it was mounted, without symlinks
	last   atomic.Pointer[string] // where it was found last
	dev    string                 // what is mounted, in the kernel's table
	served chan struct{}
	end    sync.Once
}

// filesystem answers the kernel's requests.
type filesystem struct {
	fuse.RawFileSystem // answers ENOSYS to what is not implemented

	home    *crdt.Home
	folder  *crdt.Folder
	log     *slog.Logger
	watcher Watcher
	owner   fuse.Owner  // of everything that nobody gave another
	owners  atomic.Bool // somebody did
	started time.Time
	server  *fuse.Server

	journal  *journal
	reads    *readTable
	lately   lately
	resolver *resolver
	queue    *queue
	cancel   func() // ends the subscription

	local        fuse.RawFileSystem
	localRootDir string
	pasts        *pasts
	locals       *localIndex
	rules        ruleSet
	attributes   attributeFiles
	sizes        sizes
	git          gitWork
	turns        *turns.Table
	sweeping     bool          // sweepTurns will be called; the queue's alone
	renamed      atomic.Uint64 // counts names that came, went or changed, after they did
	kept         atomic.Int64  // how many keptIn has
	relisting    atomic.Bool   // dropKept will be called

	mu         sync.RWMutex
	root       *inode
	inodes     map[uint64]*inode
	nodes      map[nodeKey]*inode
	over       map[place]*inode
	overIn     map[crdt.NodeID]map[string]*inode
	waits      map[place]*waiting
	expecting  map[place]crdt.NodeID // names that the guardian is about to make known
	departed   map[place]crdt.NodeID // names that it is about to take away
	crossed    map[uint64]struct{}   // the loopback's numbers of what went into the folder
	handles    map[uint64]*handle
	listings   []*listing          // that are half read, the oldest first
	keptIn     map[*inode]struct{} // directories that the kernel may keep a listing of
	lastID     uint64
	numbers    numbers
	times      nodeRecords[times]
	lastHandle uint64

	ripeMu   sync.Mutex
	ripening ripening

	// The constants of these names; tests of what happens before make them longer.
	dance time.Duration // under mu
	ripe  time.Duration // under ripeMu

	equal func(node crdt.NodeID, a, b crdt.Version) bool // equalTexts; tests wait in it
}

// sessionsDir is where a folder's journal and sessions are.
func sessionsDir(h *crdt.Home, f *crdt.Folder) string {
	return filepath.Join(h.Dir(), "sessions", f.ID().String())
}

// localRootDir is where names of this device alone are.
func localRootDir(h *crdt.Home, f *crdt.Folder) string {
	return filepath.Join(h.Dir(), "local", f.ID().String())
}

// Mount shows a folder at point, an empty directory. The mount is the calling
// user's alone unless o says otherwise, without set-user-ID programs and devices. Recover is to be
// called first.
func Mount(f *crdt.Folder, h *crdt.Home, point string, o Options) (*Server, error) {
	if err := checkPoint(point); err != nil {
		return nil, err
	}
	point, err := filepath.Abs(point)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", point, err)
	}
	point = withoutLinks(point)
	fs, err := newFilesystem(f, h, o)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", point, err)
	}
	raw, err := fuse.NewServer(gate{fs}, point, mountOptions(f, o))
	if err != nil {
		fs.close()
		return nil, mountError(point, err)
	}
	closeOnExec()
	s := &Server{fs: fs, raw: raw, point: point, served: make(chan struct{})}
	s.last.Store(&point)
	fs.server = raw
	fs.local.Init(raw)
	fs.cancel = f.Subscribe(fs.notice)
	go func() {
		defer close(s.served)
		raw.Serve()
		s.finish()
	}()
	if err := raw.WaitMount(); err != nil {
		raw.Unmount()
		return nil, mountError(point, err)
	}
	s.dev, _ = mountinfo.DeviceAt(point)
	if err := readAhead(s.dev); err != nil {
		fs.log.Debug("read-ahead of the mount", "err", err)
	}
	return s, nil
}

func newFilesystem(f *crdt.Folder, h *crdt.Home, o Options) (*filesystem, error) {
	fs := &filesystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		home:          h, folder: f, log: o.Logger, watcher: o.Watcher,
		owner: fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}, started: time.Now(),
		inodes: map[uint64]*inode{}, nodes: map[nodeKey]*inode{}, over: map[place]*inode{},
		overIn: map[crdt.NodeID]map[string]*inode{}, waits: map[place]*waiting{}, expecting: map[place]crdt.NodeID{}, departed: map[place]crdt.NodeID{},
		handles: map[uint64]*handle{}, keptIn: map[*inode]struct{}{}, crossed: map[uint64]struct{}{},
		localRootDir: localRootDir(h, f), numbers: newNumbers(), times: newTimes(),
		dance: dance, ripe: ripe,
	}
	if fs.log == nil {
		fs.log = slog.New(slog.DiscardHandler)
	}
	fs.equal = fs.equalTexts
	fs.pasts = &pasts{folder: f}
	var err error
	if fs.local, err = newLocal(fs.localRootDir, virtual{f, fs.harvestAll, o.Answer, o.Status, fs.pasts}); err != nil {
		return nil, err
	}
	if fs.locals, err = openLocalIndex(fs.localRootDir); err != nil {
		return nil, err
	}
	fs.locals.changed = fs.relist
	fs.git.told = map[crdt.NodeID]string{}
	fs.rules.files = map[crdt.NodeID]*ruleFile{}
	for _, dir := range f.Named(ignoreName) {
		fs.rules.files[dir] = &ruleFile{}
	}
	if err := fs.loadRules(); err != nil {
		return nil, err
	}
	if fs.journal, err = openJournal(sessionsDir(h, f)); err != nil {
		return nil, err
	}
	fs.journal.ended = func() { fs.later(quiet, fs.syncJournal) }
	fs.reads, fs.resolver, fs.queue, fs.turns = newReadTable(), newResolver(), newQueue(), turns.New(time.Now)
	mark, err := f.Local(ownersMark)
	if err != nil {
		return nil, err
	}
	fs.owners.Store(mark != nil)
	fs.root = fs.add(&inode{kind: crdt.Dir, node: crdt.Root, bound: true, ino: fuse.FUSE_ROOT_ID})
	fs.loadOwner(fs.root)
	fs.nodes[key(crdt.Root, nil)] = fs.root
	if err := errors.Join(fs.numbers.load(fs), fs.times.load(fs)); err != nil {
		return nil, err
	}
	if info, err := f.Get(crdt.Root); err == nil {
		fs.recallTimes(fs.root, info)
	}
	fs.showRemains()
	fs.loadSpecial()
	return fs, fs.goOn()
}

func mountOptions(f *crdt.Folder, o Options) *fuse.MountOptions {
	m := &fuse.MountOptions{
		Name: "sheaf", FsName: "sheaf",
		Options:           []string{"default_permissions", "nosuid", "nodev"},
		DirectMountStrict: os.Geteuid() == 0, // else fusermount3
		MaxWrite:          ahead,
		MaxReadAhead:      ahead,
		MaxBackground:     64,
		DisableSplice:     true, // pipes are smaller than our requests
		Debug:             o.Debug,
		AllowOther:        o.AllowOther,
		// READDIRPLUS_AUTO: who only lists a large directory has no inode made for each name.
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_READDIRPLUS_AUTO,
	}
	return m
}

// ahead is how many bytes the kernel reads ahead, and at most asks for or hands over at once.
const ahead = 1 << 20

// readAhead sets how far the kernel reads ahead in a mount, which it bounds to 128 KiB
// whatever is agreed on when mounting. Only root may; others go on with that.
func readAhead(dev string) error {
	if dev == "" {
		return nil // unmounted by others already
	}
	return os.WriteFile("/sys/class/bdi/"+dev+"/read_ahead_kb", strconv.AppendInt(nil, ahead>>10, 10), 0)
}

// checkPoint makes sure that nothing is hidden by the mount.
func checkPoint(point string) error {
	entries, err := os.ReadDir(point)
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return &crdt.Error{Op: "mount", Path: point, Kind: ErrNotEmpty, Err: err, Hint: "a dead mount is there: run umount -l " + point}
	case errors.Is(err, os.ErrNotExist):
		return &crdt.Error{Op: "mount", Path: point, Kind: crdt.ErrNotExist, Hint: "make the directory first"}
	case errors.Is(err, os.ErrPermission):
		return &crdt.Error{Op: "mount", Path: point, Kind: ErrPermission, Err: err, Hint: "choose a directory of your own"}
	case err != nil:
		return &crdt.Error{Op: "mount", Path: point, Kind: ErrNotEmpty, Err: err, Hint: "choose an empty directory"}
	case len(entries) > 0:
		return &crdt.Error{Op: "mount", Path: point, Kind: ErrNotEmpty, Hint: "choose an empty directory, or move what is in it away"}
	}
	return nil
}

func mountError(point string, err error) error {
	e := &crdt.Error{Op: "mount", Path: point, Kind: ErrPermission, Err: err}
	switch _, fuseErr := os.Stat("/dev/fuse"); {
	case fuseErr != nil, errors.Is(err, syscall.ENODEV):
		e.Kind, e.Hint = ErrNoFUSE, "load the fuse kernel module; in a container, pass the device /dev/fuse in"
	case strings.Contains(err.Error(), "executable file not found"):
		e.Kind, e.Hint = ErrNoFUSE, "install the package fuse3, which has fusermount3"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		e.Hint = "mounting needs fusermount3 (package fuse3), or the capability CAP_SYS_ADMIN"
	}
	return e
}

// closeOnExec keeps /dev/fuse from our children: one that held it would keep
// the connection alive, and every program in the mount hanging, after we died.
func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == "/dev/fuse" {
			var fd int
			if _, err := fmt.Sscan(e.Name(), &fd); err == nil {
				syscall.CloseOnExec(fd)
			}
		}
	}
}

// String names the filesystem in logs.
func (fs *filesystem) String() string { return "sheaf" }

// Point is where the folder is mounted, absolute and without symlinks, or was when that was
// last known. It follows renames of the directories above it, and asks the kernel's table alone:
// a filesystem on the way may hang.
func (s *Server) Point() string {
	last := *s.last.Load()
	select {
	case <-s.served: // another mount may have been given the number
		return last
	default:
	}
	if dev, ok := mountinfo.DeviceAt(last); !ok || dev != s.dev {
		if point, ok := mountinfo.PointOf(s.dev); ok {
			s.last.Store(&point)
			return point
		}
	}
	return last
}

// Device names what is mounted, as mountinfo.DeviceAt does; "" where that is not known.
func (s *Server) Device() string { return s.dev }

// Flush publishes what is written but not published yet, files being written
// included, but for those that were only truncated so far.
func (s *Server) Flush() error { return s.fs.flush() }

// Settle is Flush for who waits for other devices to have what was written: what git has done
// goes to them now, and not with what it may be about to do.
func (s *Server) Settle() error {
	err := s.fs.flush()
	s.fs.gitSettle()
	return err
}

func (fs *filesystem) flush() error {
	fs.mu.Lock()
	errs := []error{fs.settleLocked()}
	list := make([]*inode, 0, len(fs.inodes))
	for _, in := range fs.inodes {
		if in.kind == crdt.File {
			list = append(list, in)
		}
	}
	fs.mu.Unlock()
	var drafts []*inode
	for _, in := range list {
		in.mu.Lock()
		switch {
		case in.gone:
		case !in.bound && in.parent != nil:
			drafts = append(drafts, in)
		case in.sess != nil && in.sess.dirty && (in.sess.wrote || in.writers == 0):
			errs = append(errs, fs.publish(in))
		}
		in.mu.Unlock()
	}
	for in, err := range fs.publishNew(drafts) {
		errs = append(errs, fmt.Errorf("publish %s: %w", in.label(), err))
	}
	return errors.Join(errs...)
}

// Wait returns when the folder is unmounted, by us or by others, and everything
// written is published or kept for the next start.
func (s *Server) Wait() { <-s.served }

// Unmount publishes what is written and unmounts. While programs have files
// open or stand in the folder it fails with ErrBusy; ctx bounds how long it
// tries.
func (s *Server) Unmount(ctx context.Context) error {
	if err := s.fs.flush(); err != nil {
		s.fs.log.Error("publish before unmounting", "err", err)
	}
	if s.fs.watcher != nil {
		s.fs.watcher.Stop()
	}
	for {
		err := s.unmount()
		if err == nil {
			s.Wait()
			return nil
		}
		select {
		case <-s.served:
			return nil
		case <-ctx.Done():
			return &crdt.Error{Op: "unmount", Path: s.Point(), Kind: ErrBusy, Err: err, Hint: "close the programs that use it: fuser -vm " + s.Point()}
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// withoutLinks resolves the symlinks in point, as the kernel's table names it.
func withoutLinks(point string) string {
	if real, err := filepath.EvalSymlinks(point); err == nil {
		return real
	}
	return point
}

func (s *Server) unmount() error {
	if point := s.Point(); point != s.point {
		return mountinfo.Unmount(point)
	}
	return s.raw.Unmount()
}

// finish publishes and lets go of everything, once nobody asks any more.
func (s *Server) finish() { s.end.Do(s.fs.close) }

func (fs *filesystem) close() {
	if fs.server != nil {
		if err := fs.flush(); err != nil {
			fs.log.Error("publish at the end", "err", err)
		}
	}
	if fs.cancel != nil {
		fs.cancel()
	}
	fs.queue.close()
	fs.pasts.close()
	fs.resolver.close()
	fs.mu.Lock()
	for _, in := range fs.inodes {
		in.mu.Lock()
		fs.keepTimes(in)
		in.unload()
		if in.sess != nil {
			in.sess.closeFiles()
			in.sess = nil
		}
		in.mu.Unlock()
	}
	fs.mu.Unlock()
	fs.saveKept()
	if err := fs.journal.close(); err != nil {
		fs.log.Error("close the journal", "err", err)
	}
	fs.local.OnUnmount()
}
