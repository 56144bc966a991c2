package cli

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

// homeDir is the absolute path of the device's home: flag, else SHEAF_HOME, else XDG's
// state directory.
func homeDir(flag string) (string, error) {
	dir := flag
	if dir == "" {
		dir = os.Getenv("SHEAF_HOME")
	}
	if dir == "" {
		return defaultHome()
	}
	return filepath.Abs(dir)
}

// defaultHome is the home where none is named.
func defaultHome() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		user, err := os.UserHomeDir()
		if err != nil {
			return "", control.Errorf(control.Usage, "no home directory to keep this device in").
				WithHint("name one with --home DIR or SHEAF_HOME")
		}
		state = filepath.Join(user, ".local", "state")
	}
	return filepath.Abs(filepath.Join(state, "sheaf"))
}

// target is the absolute path a command line means: the argument at i, else the current
// directory. Symlinks on the way to it are followed, so that it compares with a mount
// point; a last component that is a symlink is the thing itself.
func target(args []string, i int) (string, error) {
	arg := "."
	if i < len(args) {
		arg = args[i]
	}
	if arg == "" {
		return "", control.Errorf(control.Usage, "an empty path names nothing")
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return "", control.Errorf(control.NotFound, "the current directory: %v", errors.Unwrap(err))
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		if fi, err := os.Lstat(abs); err == nil && fi.Mode()&os.ModeSymlink == 0 {
			return real, nil
		}
	}
	// The last component is a symlink or not there yet, or the mount is down: what is
	// above it still may be followed.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		return filepath.Join(dir, filepath.Base(abs)), nil
	}
	return abs, nil
}

// place is target for a directory: there a symlink means what it points to.
func place(args []string, i int) (string, error) {
	path, err := target(args, i)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	return path, nil
}
