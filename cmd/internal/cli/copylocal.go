package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

// copyLocal copies what stays on this device (repositories) from an imported directory
// into its folder's mount. The daemon cannot: it would wait for its own mount.
func copyLocal(original, point string, rels []string) error {
	for _, rel := range rels {
		if err := copyTree(filepath.Join(original, rel), filepath.Join(point, rel)); err != nil {
			return control.Errorf(control.Failure, "the folder is mounted on %s, but %s was not copied: %v", point, rel, err).
				WithHint("the original is whole: cp -a %s %s", filepath.Join(original, rel), filepath.Join(point, rel))
		}
	}
	return nil
}

// copyTree copies files, directories and symlinks with their modes and times, and compares
// the files. Nothing that is there is replaced.
func copyTree(from, to string) error {
	type made struct {
		path string
		fi   fs.FileInfo
	}
	var dirs []made
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		fi, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case fi.IsDir():
			dirs = append(dirs, made{dst, fi})
			return os.Mkdir(dst, 0o700)
		case fi.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, dst)
		case fi.Mode().IsRegular():
			return copyFile(path, dst, fi)
		}
		return nil // a socket or pipe means nothing without its program
	})
	if err != nil {
		return err
	}
	// Only now, from the bottom up: what is made in a directory changes it, or is refused.
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := attributes(dirs[i].path, dirs[i].fi); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, fi fs.FileInfo) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	if err := same(src, dst); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	if err := dst.Close(); err != nil {
		return err
	}
	return attributes(to, fi)
}

func attributes(path string, fi fs.FileInfo) error {
	if err := os.Chmod(path, fi.Mode()); err != nil {
		return err
	}
	t := unix.NsecToTimespec(fi.ModTime().UnixNano())
	if fi.ModTime().Before(time.Unix(0, 0)) {
		return nil // not every filesystem can say it; nothing rests on it
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, t}, unix.AT_SYMLINK_NOFOLLOW)
}

// same reads both from the start and compares them.
func same(a, b *os.File) error {
	for _, f := range []*os.File{a, b} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	x, y := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return errors.New("the copy differs")
		}
		if errA != nil || errB != nil {
			if end(errA) && end(errB) {
				return nil
			}
			return errors.Join(errA, errB)
		}
	}
}

func end(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
