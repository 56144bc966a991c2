package fs

import (
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
)

// errnos is the one place where kinds of errors become errnos.
var errnos = []struct {
	kind  error
	errno syscall.Errno
}{
	{crdt.ErrNotExist, syscall.ENOENT},
	{crdt.ErrExists, syscall.EEXIST},
	{crdt.ErrNotDir, syscall.ENOTDIR},
	{crdt.ErrIsDir, syscall.EISDIR},
	{crdt.ErrNotEmpty, syscall.ENOTEMPTY},
	{crdt.ErrNameTooLong, syscall.ENAMETOOLONG},
	{crdt.ErrNoSpace, syscall.ENOSPC},
	{crdt.ErrReadOnly, syscall.EROFS},
	{crdt.ErrDenied, syscall.EACCES},
	{crdt.ErrInvalid, syscall.EINVAL},
	{crdt.ErrComing, syscall.EAGAIN},
	{crdt.ErrNotHere, syscall.EIO},
	{crdt.ErrDamaged, syscall.EIO},
}

// status gives the answer to the kernel for an error: an errno in the chain,
// else that of the error's kind, else EIO.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	for _, e := range errnos {
		if errors.Is(err, e.kind) {
			return fuse.Status(e.errno)
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fuse.Status(errno)
	}
	return fuse.EIO
}

// checkName refuses what no folder may hold. The kernel passes names of up to
// 1024 bytes.
func checkName(name string) fuse.Status {
	if len(name) > nameMax {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	return fuse.OK
}

const nameMax = 255
