package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
)

// HomeExists reports whether dir holds a home. What cannot be looked at counts as one:
// opening it tells why.
func HomeExists(dir string) bool {
	for _, name := range []string{"key", "db"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// downFile in a home says that a person took it down: a daemon that starts for another
// reason than sheaf up mounts nothing. It is a file since the command reads it while no
// daemon runs.
const downFile = "down"

// IsDown reports whether a person took the home down.
func IsDown(home string) bool {
	_, err := os.Lstat(filepath.Join(home, downFile))
	return err == nil
}

// SetDown remembers whether the home is down.
func SetDown(home string, down bool) error {
	path := filepath.Join(home, downFile)
	if !down {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// CheckNewHome says whether a home can be made in dir: it is not there, or holds nothing
// but what a home's commands leave before there is a home.
func CheckNewHome(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "log", "log.old", downFile, "socket", modelsName:
		default:
			return control.Errorf(control.Exists, "%s is not empty and no home of sheaf (there is %s)", dir, e.Name()).
				WithHint("name an empty or a new directory with --home")
		}
	}
	return nil
}

// openHome opens the home, or makes it where that was asked for.
func openHome(o Options, co crdt.Options) (*crdt.Home, error) {
	if o.Create && !HomeExists(o.Home) {
		if err := CheckNewHome(o.Home); err != nil {
			return nil, err
		}
		h, err := crdt.Init(o.Home, co)
		if err != nil {
			return nil, err
		}
		// The directory may have been there, open to others.
		if err := os.Chmod(o.Home, 0o700); err != nil {
			return nil, errors.Join(err, h.Close())
		}
		return h, nil
	}
	return crdt.Open(o.Home, co)
}

// The local settings of the daemon.
const (
	settingListen = "listen"  // the address that a person asked for
	settingMount  = "mount/"  // + folder id: mountRecord
	settingMaking = "making/" // + folder id: the place of a folder that is being made
)

// setting reads a local setting into v, which stays as it is where there is none.
func setting(h *crdt.Home, key string, v any) error {
	b, err := h.Setting(key)
	if err != nil || b == nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("local setting %q: %w", key, err)
	}
	return nil
}

func setSetting(h *crdt.Home, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return h.SetSetting(key, b)
}

// CheckHome opens a home that no daemon holds and closes it again.
func CheckHome(dir string) error {
	h, err := crdt.Open(dir, crdt.Options{})
	if err != nil {
		return err
	}
	return h.Close()
}

// RemoveHome deletes a home that no daemon holds and that has no folder. Files in its
// directory that are none of a home's stay, and the directory with them.
func RemoveHome(dir string) error {
	h, err := crdt.Open(dir, crdt.Options{})
	if err != nil {
		return err
	}
	n := len(h.Folders())
	if err := h.Close(); err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("home %s has folders", dir)
	}
	for _, name := range []string{"db", "objects", "partial", "trees", "sessions", "local", "check", "damaged", "db.remade", "folders", "socket", "log", downFile, "key"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}
