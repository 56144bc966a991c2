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

// each calls fn with every mount point of this process's namespace and the type of the
// filesystem there, such as "ext4" or "fuse.sheaf", in mount order.
func each(fn func(point, fstype string)) {
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
			fn(unescape(fields[4]), fstype)
		}
	}
}

// At returns the type of the uppermost filesystem mounted on path itself.
func At(path string) (fstype string, ok bool) {
	each(func(p, t string) {
		if p == path {
			fstype, ok = t, true
		}
	})
	return fstype, ok
}

// Above returns the mount that path, which is absolute and clean, lies in.
func Above(path string) (point, fstype string, ok bool) {
	each(func(p, t string) {
		if rel, err := filepath.Rel(p, path); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return
		}
		if len(p) >= len(point) {
			point, fstype, ok = p, t, true
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
func Detach(point string) error {
	if fstype, ok := At(point); !ok || !strings.HasPrefix(fstype, "fuse") {
		return nil
	}
	err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == unix.EPERM { // an ordinary user: the setuid program may
		for _, name := range []string{"fusermount3", "fusermount"} {
			if err = exec.Command(name, "-u", "-z", "-q", point).Run(); err == nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	return nil
}
