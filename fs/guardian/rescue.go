package guardian

import (
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

	"github.com/sheaf-fs/sheaf/fs/mountinfo"
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
	fmt.Fprintf(os.Stderr, "guardian: the daemon (process %d) has not answered for %v and is ended\n", r.hello.Daemon, r.silence.silent)
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

// rescue starts the daemon again, and detaches what is then still dead of its mounts. Up
// to then they stay: a program that meets them is told so, while it would write into a
// bare directory unaware. A daemon that comes up replaces them itself.
func (r *runner) rescue() error {
	r.awaitEnd(5 * time.Second) // its pipe can be closed a little before it has let go of the rest
	if len(r.hello.Restart) == 0 {
		return r.detach()
	}
	deaths, _ := strconv.Atoi(os.Getenv(deathsEnv))
	if time.Since(r.born) > settled {
		deaths = 0
	}
	var err error
	for try := range maxTries {
		time.Sleep(delay(deaths + try))
		if err = restart(r.hello.Restart, deaths+try+1); err == nil {
			break
		}
		fmt.Fprintf(os.Stderr, "guardian: the daemon does not come up: %v\n", err)
		if err := r.detach(); err != nil {
			fmt.Fprintf(os.Stderr, "guardian: %v\n", err)
		}
	}
	return errors.Join(err, r.detach())
}

// detach unmounts the dead ones among the mounts; where a daemon came up meanwhile there
// may be living ones.
func (r *runner) detach() error {
	var errs []error
	for _, p := range r.mounts {
		if point := p.place(); mountinfo.Dead(point) {
			errs = append(errs, mountinfo.Detach(point))
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
