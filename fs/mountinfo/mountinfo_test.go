package mountinfo

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"/plain":           "/plain",
		`/with\040space`:   "/with space",
		`/tab\011line\012`: "/tab\tline\n",
		`/back\134slash`:   `/back\slash`,
		`/cut\04`:          `/cut\04`,
		`/not\999octal`:    `/not\999octal`,
	} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAtAndAbove(t *testing.T) {
	if _, ok := At("/proc"); !ok {
		t.Error("/proc is no mount point")
	}
	if point, fstype, ok := Above("/proc/self/fd"); !ok || !strings.HasPrefix(point, "/proc") || fstype != "proc" {
		t.Errorf("above /proc/self/fd: %q, %q, %v", point, fstype, ok)
	}
	dir := filepath.Join(t.TempDir(), "a place")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, ok := At(dir); ok {
		t.Errorf("%s is a mount point", dir)
	}
	if Dead(dir) {
		t.Errorf("%s is a dead mount", dir)
	}
	if err := Detach(dir); err != nil {
		t.Errorf("detach what is not mounted: %v", err)
	}
}

// A mount whose server is gone is dead, and can be detached.
func TestDeadMount(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dead mount")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	opts := "fd=" + strconv.Itoa(fd) + ",rootmode=40000,user_id=0,group_id=0"
	if err := unix.Mount("test", dir, "fuse.test", 0, opts); err != nil {
		unix.Close(fd)
		t.Skip(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if fstype, ok := At(dir); !ok || fstype != "fuse.test" {
		t.Errorf("at %s: %q, %v", dir, fstype, ok)
	}
	unix.Close(fd)
	if !Dead(dir) {
		t.Error("a mount without a server is not dead")
	}
	if err := Detach(dir); err != nil {
		t.Fatal(err)
	}
	if _, ok := At(dir); ok {
		t.Error("still mounted")
	}
}
