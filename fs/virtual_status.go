package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// told is a file that is made up when it is opened. Its size is not known before: it is 0, as
// in /proc.
type told struct {
	fixed
	tell func(context.Context) ([]byte, error)
}

func (f *told) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return virtualAttr(fuse.S_IFREG|0o444, out)
}

func (f *told) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0 {
		return nil, 0, syscall.EROFS
	}
	b, err := f.tell(ctx)
	if err != nil {
		return nil, 0, syscall.Errno(status(err))
	}
	return madeUp(b), fuse.FOPEN_DIRECT_IO, 0
}
