package rig

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Processes are the ids of the device's own processes: those whose command line
// names its home. They are its daemon, its guardian, and commands under way.
func (d *Device) Processes() []int {
	return findProcesses(func(argv [][]byte) bool {
		for _, a := range argv {
			if string(a) == d.Home || bytes.HasSuffix(a, []byte("="+d.Home)) {
				return true
			}
		}
		return false
	})
}

func findProcesses(match func(argv [][]byte) bool) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && len(b) > 0 && match(bytes.Split(b, []byte{0})) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// KillAll ends everything that runs for the device at once, as a machine does that
// stops: all are stopped first, so that none can react to the end of another.
func (d *Device) KillAll() {
	var stopped []int
	for { // until nothing new appears: one may just have started another
		more := false
		for _, pid := range d.Processes() {
			if !contains(stopped, pid) {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
				stopped = append(stopped, pid)
				more = true
			}
		}
		if !more {
			break
		}
	}
	var fds []unix.PollFd
	for _, pid := range stopped {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, fd := range fds {
		_, _ = unix.Poll([]unix.PollFd{fd}, 5000)
		_ = unix.Close(int(fd.Fd))
	}
}

func contains(l []int, n int) bool {
	for _, x := range l {
		if x == n {
			return true
		}
	}
	return false
}

// Kill ends only the daemon, and waits until it is gone; the guardian goes on.
func (d *Device) Kill(pid int) {
	d.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		d.t.Fatalf("%s: daemon %d: %v", d.Name, pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		d.t.Fatalf("%s: kill daemon %d: %v", d.Name, pid, err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10000); n != 1 {
		d.t.Fatalf("%s: daemon %d does not die: %v", d.Name, pid, err)
	}
}

// Detach unmounts whatever is mounted at point, at once.
func Detach(point string) {
	for range 4 {
		if unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) != nil {
			return
		}
	}
}

// Mounted says which filesystem type is mounted at point, "" for none. It reads the
// mount table and cannot hang.
func Mounted(point string) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	kind := ""
	for l := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(l, " - ")
		if f := strings.Fields(before); len(f) > 4 && f[4] == point {
			kind, _, _ = strings.Cut(after, " ")
		}
	}
	return kind
}

// StartRole starts this test program in another of its roles.
func StartRole(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s", roleEnv, role))
	cmd.Stderr = os.Stderr
	return cmd
}
