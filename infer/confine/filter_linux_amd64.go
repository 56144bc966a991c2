package confine

import "golang.org/x/sys/unix"

// arch has the older calls, too, which others never had.
var arch = architecture{
	audit:    unix.AUDIT_ARCH_X86_64,
	openings: []opening{{unix.SYS_OPEN, 1}},
	refused: []uint32{
		unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_MKNOD,
		unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT, unix.SYS_IOPL, unix.SYS_IOPERM,
	},
}
