// Package mountinfo tells what is mounted where, and detaches what a dead daemon left.
//
// It asks the kernel's mount table; only Dead asks a filesystem, which might hang, and
// bounds that.
package mountinfo

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mount is a line of the kernel's table.
type mount struct {
	dev    string // major:minor, the same for as long as it is mounted
	point  string
	fstype string // such as "ext4" or "fuse.sheaf"
}

// each calls fn with every mount of this process's namespace, in mount order.
func each(fn func(mount)) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) >= 5 {
			fstype, _, _ := strings.Cut(after, " ")
			fn(mount{fields[2], unescape(fields[4]), fstype})
		}
	}
}

// At returns the type of the uppermost filesystem mounted on path itself.
func At(path string) (fstype string, ok bool) {
	each(func(m mount) {
		if m.point == path {
			fstype, ok = m.fstype, true
		}
	})
	return fstype, ok
}

// DeviceAt names the uppermost filesystem mounted on path itself, for PointOf.
func DeviceAt(path string) (dev string, ok bool) {
	each(func(m mount) {
		if m.point == path {
			dev, ok = m.dev, true
		}
	})
	return dev, ok
}

// PointOf returns where a filesystem is mounted now: a directory above its mount point may
// have been renamed.
func PointOf(dev string) (point string, ok bool) {
	each(func(m mount) {
		if m.dev == dev && !ok {
			point, ok = m.point, true
		}
	})
	return point, ok
}

// Above returns the mount that path, which is absolute and clean, lies in.
func Above(path string) (point, fstype string, ok bool) {
	each(func(m mount) {
		if rel, err := filepath.Rel(m.point, path); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return
		}
		if len(m.point) >= len(point) {
			point, fstype, ok = m.point, m.fstype, true
		}
	})
	return point, fstype, ok
}

// unescape undoes the octal escapes of the mount table.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// deadWithin is how long a filesystem may take to say whether it lives.
const deadWithin = 3 * time.Second

// Dead reports whether the filesystem mounted on point has lost its server. One that does
// not answer in a few seconds counts as alive.
func Dead(point string) bool {
	got := make(chan error, 1)
	go func() { // ends with the call, which a hung filesystem may keep for long
		var st unix.Statfs_t
		got <- unix.Statfs(point, &st)
	}()
	select {
	case err := <-got:
		return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
	case <-time.After(deadWithin):
		return false
	}
}

// Detach unmounts the uppermost FUSE filesystem on point at once, even while programs have
// files open there. It does nothing where none is mounted.
func Detach(point string) error { return unmount(point, unix.MNT_DETACH, "-z") }

// Unmount unmounts the uppermost FUSE filesystem on point; it fails while something uses it.
// It does nothing where none is mounted.
func Unmount(point string) error { return unmount(point, 0) }

func unmount(point string, flags int, args ...string) error {
	if fstype, ok := At(point); !ok || !strings.HasPrefix(fstype, "fuse") {
		return nil
	}
	err := unix.Unmount(point, flags|unix.UMOUNT_NOFOLLOW)
	if err == unix.EPERM { // an ordinary user: the setuid program may
		for _, name := range []string{"fusermount3", "fusermount"} {
			if err = exec.Command(name, append(args, "-u", "-q", point)...).Run(); err == nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	return nil
}

// BootID names this run of the machine, in which device numbers mean something and outside of which
// what was not synced may be lost; "" where that is not known.
func BootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
