package guardian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxDelay = 3 * time.Second
	// settled is how long a daemon must have lived for its death not to count as one of a row.
	settled = 10 * time.Second
	// maxTries is how often a daemon that does not come up is started.
	maxTries = 10
	// deathsEnv carries the number of deaths in a row to the next guardian.
	deathsEnv = "SHEAF_DEATHS"
)

// delay is the wait before a restart, given how many deaths in a row came before.
func delay(deaths int) time.Duration {
	if deaths <= 0 {
		return 0
	}
	return min(100*time.Millisecond<<min(deaths-1, 10), maxDelay)
}

// kill ends a daemon that does not answer, and waits until it is gone: it holds the
// lock of the home and the connections of the mounts.
func (r *runner) kill() {
	fmt.Fprintf(os.Stderr, "guardian: the daemon (process %d) has not answered for %v and is ended\n", r.hello.Daemon, r.hello.Silence)
	if r.daemonFD < 0 {
		return
	}
	_ = unix.PidfdSendSignal(r.daemonFD, unix.SIGKILL, nil, 0)
	r.awaitEnd(5 * time.Second)
}

// awaitEnd waits until the daemon is gone.
func (r *runner) awaitEnd(d time.Duration) {
	if r.daemonFD < 0 {
		return
	}
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.daemonFD), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 || (err != nil && err != unix.EINTR) {
			return
		}
	}
}

// rescue detaches the daemon's mounts and starts the daemon again.
func (r *runner) rescue() error {
	r.awaitEnd(5 * time.Second) // its pipe can be closed a little before it has let go of the rest
	var errs []error
	for _, p := range r.mounts {
		if err := detach(p.point); err != nil {
			errs = append(errs, err)
		}
	}
	if len(r.hello.Restart) == 0 {
		return errors.Join(errs...)
	}
	deaths, _ := strconv.Atoi(os.Getenv(deathsEnv))
	if time.Since(r.born) > settled {
		deaths = 0
	}
	for try := range maxTries {
		time.Sleep(delay(deaths + try))
		err := restart(r.hello.Restart, deaths+try+1)
		if err == nil {
			return errors.Join(errs...)
		}
		fmt.Fprintf(os.Stderr, "guardian: the daemon does not come up: %v\n", err)
		if try == maxTries-1 {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func restart(argv []string, deaths int) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), deathsEnv+"="+strconv.Itoa(deaths))
	var said bytes.Buffer
	cmd.Stderr = &said
	// The daemon outlives the command and may inherit its stderr: do not wait for that to close.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// detach unmounts a point at once, even while programs have files open there. It does
// nothing where no FUSE filesystem is mounted.
func detach(point string) error {
	if !mountedFUSE(point) {
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

// mountedFUSE tells whether the uppermost mount at point is a FUSE filesystem. It
// reads the mount table, since asking the filesystem itself may hang.
func mountedFUSE(point string) bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer f.Close()
	fuse := false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || unescape(fields[4]) != point {
			continue
		}
		fuse = strings.HasPrefix(after, "fuse")
	}
	return fuse
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

// traced tells whether a debugger holds the process.
func traced(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, "TracerPid:"); ok {
			return strings.TrimSpace(v) != "0"
		}
	}
	return false
}
