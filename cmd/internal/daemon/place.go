package daemon

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// originalSuffix is where init --import leaves what was there.
const originalSuffix = ".before-sheaf"

// Place says how a folder is to come to a path.
type Place struct {
	Import bool // the directory is copied into the folder, then covered by it
	Plain  bool // nothing is mounted: the directory is kept in step
	Filled bool // the directory may hold something
}

// CheckPlace says whether a folder can be put on path, without changing anything: an
// empty directory or one that can be made, on a machine that can mount. With Import,
// path is a directory that is to become the folder.
func CheckPlace(path, home string, p Place) error {
	if within(home, path) || within(path, home) {
		return control.Errorf(control.Usage, "%s and the home %s hold each other", path, home).
			WithHint("a home lies outside its folders; choose another path")
	}
	if fstype, ok := mountinfo.At(path); ok && fstype == "fuse.sheaf" {
		return control.Errorf(control.Exists, "a folder is mounted on %s already", path).
			WithHint("sheaf status lists the folders; choose another path")
	} else if ok {
		return control.Errorf(control.InUse, "%s is a mount point already (%s)", path, fstype).
			WithHint("choose another path, or unmount what is there")
	}
	if point, fstype, ok := mountinfo.Above(path); ok && fstype == "fuse.sheaf" {
		return control.Errorf(control.InUse, "%s lies inside the folder mounted on %s", path, point).
			WithHint("choose a path outside of it")
	}
	if p.Plain && p.Import {
		return control.Errorf(control.Usage, "a plain directory is not imported: what it holds is the folder's as it is").
			WithHint("leave one of --plain and --import away")
	}
	if err := CheckFUSE(); err != nil && !p.Plain {
		return err
	}
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.Import:
		return control.Errorf(control.NotFound, "%s: nothing to import: no such directory", path).
			WithHint("without --import sheaf init makes it")
	case errors.Is(err, fs.ErrNotExist):
		return checkWritable(existingParent(path))
	case err != nil:
		return err
	case !fi.IsDir():
		return control.Errorf(control.Exists, "%s is not a directory", path)
	}
	if p.Import {
		if _, err := os.Lstat(path + originalSuffix); err == nil {
			return control.Errorf(control.Exists, "%s exists, and the original is to be kept there", path+originalSuffix).
				WithHint("move it away first")
		}
		return checkWritable(filepath.Dir(path))
	}
	if p.Plain {
		if err := checkWritable(path); err != nil {
			return err
		}
	}
	empty, err := isEmpty(path)
	if err != nil {
		return err
	}
	if !empty && !p.Filled {
		return control.Errorf(control.Exists, "%s is not empty", path).
			WithHint("choose an empty directory, or make a folder of what is there with sheaf init --import")
	}
	return checkOwner(path, fi)
}

// CheckFUSE says whether this machine can mount at all.
func CheckFUSE() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
	case errors.Is(err, fs.ErrPermission):
		return control.Errorf(control.NoFUSE, "/dev/fuse: permission denied").
			WithHint("let this user open /dev/fuse; in a container, give it the device (--device /dev/fuse --cap-add SYS_ADMIN)")
	default:
		return control.Errorf(control.NoFUSE, "no FUSE on this machine (/dev/fuse: %v)", unwrapped(err)).
			WithHint("as root: modprobe fuse; in a container, give it the device (--device /dev/fuse --cap-add SYS_ADMIN)")
	}
	if os.Geteuid() == 0 {
		return nil
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin", "/bin") {
		for _, name := range []string{"fusermount3", "fusermount"} {
			if fi, err := os.Stat(filepath.Join(dir, name)); err == nil && fi.Mode()&0o111 != 0 {
				return nil
			}
		}
	}
	return control.Errorf(control.NoFUSE, "fusermount3 is missing, which an ordinary user needs to mount").
		WithHint("install the package fuse3")
}

// checkWritable says whether entries of dir can be made and renamed.
func checkWritable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return control.Errorf(kindOfErrno(err), "%s: %v", dir, err)
	}
	return nil
}

// checkOwner says whether this user may mount on the directory: fusermount3 wants it
// writable, and we make it so where it is ours.
func checkOwner(path string, fi os.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); uid == 0 || (ok && int(st.Uid) == uid) {
		return nil
	}
	if err := unix.Access(path, unix.W_OK); err != nil {
		return control.Errorf(control.Denied, "%s: %v", path, err).WithHint("mount on a directory of your own")
	}
	return nil
}

func kindOfErrno(err error) control.Kind {
	if e := explain(err); e != nil {
		return e.Kind
	}
	return control.Failure
}

func unwrapped(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// existingParent is the nearest directory above path that is there.
func existingParent(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
	}
}

// within reports whether path is dir or lies in it; both are clean and absolute.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// gatheredName is where files go that a mount point gathered while nothing was mounted.
func gatheredName(point string, now time.Time) string {
	return point + ".unmounted-" + now.Format("20060102-150405")
}
