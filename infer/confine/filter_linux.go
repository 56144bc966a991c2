//go:build amd64 || arm64

package confine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
	// What changes files by their names, where Landlock does not see to it. The flags of openat2
	// are where no filter can look.
	unix.SYS_OPENAT2, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_TRUNCATE, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR,
}

// opening is a system call that opens a file.
type opening struct {
	number uint32
	flags  uint32 // which argument says how
}

// toWrite are the flags of an opening that changes something.
const toWrite = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// x32 marks the calls of another ABI of amd64, which have numbers of their own.
const x32 = 0x40000000

// Where things are in the kernel's struct seccomp_data.
const offNumber, offArch, offArgs = 0, 4, 16

// assemble makes the program that the kernel asks about each system call: it gives those
// that are refused EPERM, and so openings, to read if they are to write, or all of them.
func assemble(read bool) []unix.SockFilter {
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	jump := func(test uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)}
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	refuse := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}

	program := []unix.SockFilter{
		load(offArch),
		jump(unix.BPF_JEQ, arch.audit, 1, 0), // calls of any other architecture are refused
		refuse,
		load(offNumber),
		jump(unix.BPF_JGE, x32, 0, 1),
		refuse,
	}
	for _, o := range append([]opening{{unix.SYS_OPENAT, 2}}, arch.openings...) {
		if read {
			program = append(program,
				jump(unix.BPF_JEQ, o.number, 0, 4),
				load(offArgs+8*o.flags), // the lower half, which comes first on both machines
				jump(unix.BPF_JSET, toWrite, 0, 1),
				refuse,
				allow)
		} else {
			program = append(program, jump(unix.BPF_JEQ, o.number, 0, 1), refuse)
		}
	}
	for _, list := range [][]uint32{refused, arch.refused} {
		for _, nr := range list {
			program = append(program, jump(unix.BPF_JEQ, nr, 0, 1), refuse)
		}
	}
	return append(program, allow)
}

// filter has the kernel refuse system calls with EPERM, on every thread: those that read
// files are left if read.
func filter(read bool) error {
	program := assemble(read)
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

// architecture is what differs between machines.
type architecture struct {
	audit    uint32 // its name in a filter
	openings []opening
	refused  []uint32
}
