package crdt

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
)

// Options for making and opening a home.
type Options struct {
	DeviceName string       // of a new home; what others see this device as
	Logger     *slog.Logger // nil: nothing is logged

	db     kv.Options // of the database: tests give it a disk of theirs
	speaks *language  // nil: today's
}

// Home is one device: its key, its database and its objects, in one directory.
// One process at a time may have it open.
type Home struct {
	dir     string
	lock    *os.File // the directory, locked
	name    string
	key     ed25519.PrivateKey
	device  Device
	log     *slog.Logger
	db      *kv.DB
	objects *blob.Store
	flush   *flusher
	speaks  *language
	fresh   bool // feeds go on in new runs: this may be a copy, or have lost its tail

	mu      sync.Mutex
	folders map[FolderID]*Folder
	closed  bool
}

const (
	keyFile   = "key"
	keyPrefix = "sheaf-device-key-1 "
	maxName   = 64 // bytes of a device's or a folder's name
)

// Init makes a new home in dir, with a key of its own. It fails with ErrExists
// when dir holds one.
func Init(dir string, o Options) (*Home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fail("init", dir, kindOf(err), err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	h, err := initLocked(dir, lock, o)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return h, nil
}

func initLocked(dir string, lock *os.File, o Options) (*Home, error) {
	path := filepath.Join(dir, keyFile)
	if _, err := os.Lstat(path); err == nil {
		return nil, fail("init", dir, ErrExists, nil)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "db")); err == nil && len(entries) > 0 {
		return nil, &Error{Op: "init", Path: dir, Kind: ErrDamaged, Err: errors.New("there is a database but no key"),
			Hint: "restore the file " + path + ", or choose another --home"}
	}
	name := o.DeviceName
	if name == "" {
		name, _ = os.Hostname()
	}
	if !validName(name) {
		return nil, &Error{Op: "init", Path: name, Kind: ErrInvalid, Err: errors.New("not a device name"),
			Hint: fmt.Sprintf("a name has 1 to %d bytes of UTF-8 and no slash or control character", maxName)}
	}
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fail("init", dir, ErrInvalid, err)
	}
	if err := writeKey(path, priv.Seed()); err != nil {
		return nil, fail("init", dir, kindOf(err), err)
	}
	h, err := openLocked(dir, lock, o)
	if err != nil {
		return nil, err
	}
	b := h.db.Batch()
	b.Set([]byte(deviceNameKey), []byte(name))
	if err := errors.Join(h.db.Commit(b), h.db.Sync()); err != nil {
		return nil, storage("init", dir, errors.Join(err, h.Close()))
	}
	h.name = name
	return h, nil
}

// Open opens the home in dir. It fails with ErrNoHome, with ErrInUse when
// another process has it open, and with ErrDamaged; it never starts empty over
// something that it cannot read.
func Open(dir string, o Options) (*Home, error) {
	lock, err := lockDir(dir)
	if errors.Is(err, ErrNotExist) {
		return nil, noHome(dir)
	} else if err != nil {
		return nil, err
	}
	h, err := openLocked(dir, lock, o)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return h, nil
}

func noHome(dir string) error {
	return &Error{Op: "open", Path: dir, Kind: ErrNoHome, Hint: "run sheaf init or sheaf join"}
}

// lockDir keeps every other process out of the home in dir until the file is closed. What
// is locked is the directory, so that there is something to lock before there is a home:
// two that make one at once would each clear the other's database away.
func lockDir(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fail("open", dir, kindOf(err), err)
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		d.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fail("open", dir, ErrInUse, nil)
		}
		return nil, fail("open", dir, kindOf(err), err)
	}
	return d, nil
}

// openLocked opens a home whose lock is held; the home's Close gives it up.
func openLocked(dir string, lock *os.File, o Options) (*Home, error) {
	key, err := readKey(filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noHome(dir)
	} else if err != nil {
		return nil, &Error{Op: "open", Path: filepath.Join(dir, keyFile), Kind: ErrDamaged, Err: err,
			Hint: "restore the key file from a backup"}
	}
	h := &Home{
		dir: dir, lock: lock, key: key, device: feed.DeviceOf(key), log: o.Logger,
		speaks: cmp.Or(o.speaks, &today), folders: map[FolderID]*Folder{},
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	// A home that has objects has had a database: where that is gone, it is not made anew.
	_, statErr := os.Stat(filepath.Join(dir, "objects"))
	o.db.Logger, o.db.MustExist = h.log, statErr == nil
	if h.db, err = kv.Open(filepath.Join(dir, "db"), o.db); err != nil {
		return nil, storage("open", filepath.Join(dir, "db"), err)
	}
	if h.objects, err = blob.Open(dir); err != nil {
		h.db.Close()
		return nil, storage("open", dir, err)
	}
	if err := h.load(); err != nil {
		h.db.Close()
		return nil, err
	}
	if err := h.writeSpare(); err != nil && !errors.Is(err, ErrNoSpace) {
		h.db.Close()
		return nil, err
	}
	h.flush = startFlusher(h)
	return h, nil
}

// load reads what the database says of the home and its folders.
func (h *Home) load() error { return h.loadAs(false) }

// loadAs is load; newRuns has the feeds go on in new runs, though the home was closed in order.
func (h *Home) loadAs(newRuns bool) error {
	if err := errors.Join(h.checkKey(), h.checkRules()); err != nil {
		return err
	}
	name, _, err := h.db.Get([]byte(deviceNameKey))
	if err != nil {
		return storage("open", h.dir, err)
	}
	if h.name = string(name); h.name == "" {
		h.name, _ = os.Hostname() // the process that made the home was killed before it had named it
	}
	clean, ok, err := h.db.Get([]byte(cleanKey))
	if err != nil {
		return storage("open", h.dir, err)
	}
	h.fresh = newRuns || !ok || string(clean) != h.place()
	b := h.db.Batch()
	b.Delete([]byte(cleanKey))
	b.Set([]byte(deviceKey), h.device[:])
	b.Set([]byte(rulesKey), be64(h.speaks.rules))
	if err := h.db.Commit(b); err != nil {
		return storage("open", h.dir, err)
	}
	if err := h.db.Sync(); err != nil {
		return storage("open", h.dir, err)
	}
	var grants []Grant
	err = h.db.Scan([]byte(grantPrefix), func(_, v []byte) error {
		g, err := DecodeGrant(v)
		if err == nil {
			grants = append(grants, g)
		}
		return err
	})
	if err != nil {
		return storage("open", h.dir, err)
	}
	for _, g := range grants {
		f, err := openFolder(h, g)
		if err != nil {
			for _, f := range h.folders {
				f.stop()
			}
			return err
		}
		h.folders[g.Folder] = f
	}
	return nil
}

// checkKey fails if the key is another device's than the database: whatever it is, it is well formed.
func (h *Home) checkKey() error {
	was, ok, err := h.db.Get([]byte(deviceKey))
	if err != nil {
		return storage("open", h.dir, err)
	}
	if ok && string(was) != string(h.device[:]) && !fault.On("crdt-any-key") {
		return &Error{Op: "open", Path: filepath.Join(h.dir, keyFile), Kind: ErrDamaged,
			Err: errors.New("it is not the key that this home was made with"), Hint: "sheaf doctor --repair, or restore the key file from a backup"}
	}
	return nil
}

// place tells one copy of a home from another: a restored or copied home is
// other files on disk, and must not go on in the feeds of the one it was. The time of birth is
// part of it because the number of an inode that was freed is given out again.
func (h *Home) place() string {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, filepath.Join(h.dir, keyFile), 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return ""
	}
	var born unix.StatxTimestamp
	if st.Mask&unix.STATX_BTIME != 0 {
		born = st.Btime
	}
	return fmt.Sprintf("%d:%d %d %d.%09d", st.Dev_major, st.Dev_minor, st.Ino, born.Sec, born.Nsec)
}

// Dir is the home's directory.
func (h *Home) Dir() string { return h.dir }

// Device is this device's public key.
func (h *Home) Device() Device { return h.device }

// DeviceName is what this device calls itself.
func (h *Home) DeviceName() string { return h.name }

// PrivateKey is the device's key, for the connections' certificates.
func (h *Home) PrivateKey() ed25519.PrivateKey { return h.key }

// Objects is where whole contents are kept.
func (h *Home) Objects() *blob.Store { return h.objects }

// Room fails with ErrNoSpace if too little room is left on the home's disk for any change
// to be published.
func (h *Home) Room() error { return storage("write", h.dir, h.db.Room()) }

// Folders lists the folders, in the order of their names.
func (h *Home) Folders() []*Folder {
	h.mu.Lock()
	defer h.mu.Unlock()
	fs := make([]*Folder, 0, len(h.folders))
	for _, f := range h.folders {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b *Folder) int {
		return strings.Compare(a.Name()+a.ID().String(), b.Name()+b.ID().String())
	})
	return fs
}

// Folder returns one folder, or ErrNotExist.
func (h *Home) Folder(id FolderID) (*Folder, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.folders[id]; f != nil {
		return f, nil
	}
	return nil, fail("folder", id.Short(), ErrNotExist, nil)
}

// CreateFolder makes a new, empty folder whose founder is this device.
func (h *Home) CreateFolder(name string) (*Folder, error) {
	if !validName(name) {
		return nil, &Error{Op: "create folder", Path: name, Kind: ErrInvalid, Err: errors.New("not a folder name")}
	}
	g := Grant{Name: name, Creator: h.device}
	rand.Read(g.Nonce[:])
	rand.Read(g.Key[:])
	g.Folder = folderID(g.Creator, g.Nonce)
	f, err := h.addFolder(g)
	if err != nil {
		return nil, err
	}
	return f, f.found()
}

// JoinFolder takes a folder up that another device granted. Its content comes
// with the entries, from peers. Joining what is here already changes nothing.
func (h *Home) JoinFolder(g Grant) (*Folder, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	if f, err := h.Folder(g.Folder); err == nil {
		return f, nil
	}
	return h.addFolder(g)
}

func (h *Home) addFolder(g Grant) (*Folder, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fail("create folder", g.Name, ErrClosed, nil)
	}
	b := h.db.Batch()
	b.Set(append([]byte(grantPrefix), g.Folder[:]...), g.Encode())
	if err := h.db.Commit(b); err != nil {
		return nil, storage("create folder", g.Name, err)
	}
	if err := h.db.Sync(); err != nil {
		return nil, storage("create folder", g.Name, err)
	}
	f, err := openFolder(h, g)
	if err != nil {
		return nil, err
	}
	h.folders[g.Folder] = f
	return f, h.writeSpare()
}

// Setting reads a local setting, which is shared with nobody; nil if unset.
func (h *Home) Setting(key string) ([]byte, error) {
	v, _, err := h.db.Get([]byte(settingPrefix + key))
	return v, storage("setting", key, err)
}

// SetSetting writes a local setting durably; nil removes it.
func (h *Home) SetSetting(key string, value []byte) error {
	b := h.db.Batch()
	if value == nil {
		b.Delete([]byte(settingPrefix + key))
	} else {
		b.Set([]byte(settingPrefix+key), value)
	}
	if err := h.db.Commit(b); err != nil {
		return storage("setting", key, err)
	}
	return storage("setting", key, h.db.Sync())
}

// Sync returns when everything that returned before it is durable.
func (h *Home) Sync() error {
	if err := h.objects.Sync(); err != nil {
		return storage("sync", h.dir, err)
	}
	return storage("sync", h.dir, h.db.Sync())
}

// Rest lets go of memory that only who goes on at once would be glad of. It is for when nothing
// has been done for a while; it may write a little to disk. It ends with ctx.
func (h *Home) Rest(ctx context.Context) error {
	for _, f := range h.Folders() {
		f.lenders.reset()
	}
	return storage("rest", h.dir, h.db.Rest(ctx))
}

// Close seals and syncs what is pending, and closes the home.
func (h *Home) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	folders := h.folders
	h.mu.Unlock()
	var errs []error
	for _, f := range folders {
		errs = append(errs, f.close())
	}
	h.flush.stop()
	errs = append(errs, h.Sync())
	if errors.Join(errs...) == nil {
		// Only a home that lost nothing may go on in the same runs.
		b := h.db.Batch()
		b.Set([]byte(cleanKey), []byte(h.place()))
		errs = append(errs, h.db.Commit(b), h.db.Sync(), h.writeSpare())
	}
	return errors.Join(append(errs, h.db.Close(), h.lock.Close())...)
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '/' || r == 0x7f })
}

func writeKey(path string, seed []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s%x\n", keyPrefix, seed); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// The key's name in the home, and the home's own.
	dir := filepath.Dir(path)
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func readKey(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), keyPrefix)
	var seed []byte
	if _, err := fmt.Sscanf(text, "%x", &seed); !ok || err != nil || len(seed) != ed25519.SeedSize {
		return nil, errors.New("not a device key")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// kindOf gives an error of the operating system its kind.
func kindOf(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return ErrDenied
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotExist
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case errors.Is(err, syscall.ENOSPC):
		return ErrNoSpace
	case errors.Is(err, syscall.ENOTDIR):
		return ErrNotDir
	}
	return ErrInvalid
}
