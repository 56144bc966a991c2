package llama

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// takeOutput keeps out for us alone and lets the file descriptor that native
// code knows as its standard output lead to the standard error.
func takeOutput(out *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(out.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup3(int(os.Stderr.Fd()), int(out.Fd()), 0); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), out.Name()), nil
}

// lowerPriority lets everything else of the machine go first: the mounts when
// cores are short, everybody when memory is. It is best effort.
func lowerPriority(nice int) {
	// Higher means that the kernel ends this process before others.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("800"), 0)
	// On Linux a priority belongs to a thread; new ones inherit it.
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil || nice <= 0 {
			continue
		}
		if was, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, min(20-was+nice, 19))
		}
	}
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
