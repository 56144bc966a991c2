package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

func to(paths []string) error {
	var rules []landlock.Rule
	for _, p := range paths {
		switch info, err := os.Stat(p); {
		case err != nil:
		case info.IsDir():
			rules = append(rules, landlock.RODirs(p).IgnoreIfMissing())
		default:
			rules = append(rules, landlock.ROFiles(p).IgnoreIfMissing())
		}
	}
	// Before version 8 of Landlock each thread shuts itself in, which a program that was built
	// without a C compiler, and uses purego, cannot have its threads do.
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("confine: %w", err)
	}
	calls := refused
	if len(paths) == 0 {
		calls = slices.Concat(refused, openings, arches[runtime.GOARCH].openings)
	}
	return filter(calls)
}

// refused are the system calls that lead out of the process past the files that it may
// open. Nothing that this program does after it was confined needs one.
var refused = []uint32{
	unix.SYS_SOCKET, unix.SYS_IO_URING_SETUP,
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	// Memory, messages and keys that other processes have, too.
	unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_MSGGET, unix.SYS_MQ_OPEN,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	// What root could do to the machine.
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS, unix.SYS_UNSHARE,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_SETHOSTNAME,
}

// openings open files. Who is left none needs none of them, with Landlock or without.
var openings = []uint32{unix.SYS_OPENAT, unix.SYS_OPENAT2}

// arches are the architectures as a filter sees them, and their older openings.
var arches = map[string]struct {
	audit    uint32
	openings []uint32
}{
	"amd64": {unix.AUDIT_ARCH_X86_64, []uint32{2, 85}}, // open, creat
	"arm64": {unix.AUDIT_ARCH_AARCH64, nil},
}

// x32 marks the calls of another ABI of amd64, which have numbers of their own.
const x32 = 0x40000000

// filter has the kernel refuse system calls with EPERM, on every thread.
func filter(refused []uint32) error {
	arch, ok := arches[runtime.GOARCH]
	if !ok {
		return nil
	}
	const offNumber, offArch = 0, 4 // in struct seccomp_data
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	jump := func(test uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)}
	}
	n := len(refused)
	program := []unix.SockFilter{
		load(offArch),
		jump(unix.BPF_JEQ, arch.audit, 0, n+3), // calls of any other architecture are refused
		load(offNumber),
		jump(unix.BPF_JGE, x32, n+1, 0),
	}
	for i, nr := range refused {
		program = append(program, jump(unix.BPF_JEQ, nr, n-i, 0))
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})

	runtime.LockOSThread() // the kernel asks it of the thread that sets the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	switch {
	case errno == unix.ENOSYS || errno == unix.EINVAL: // the kernel was built without
		return nil
	case errno != 0:
		return fmt.Errorf("confine: filter system calls: %w", errno)
	case thread != 0:
		return errors.New("confine: a thread has a filter of its own")
	}
	return nil
}
