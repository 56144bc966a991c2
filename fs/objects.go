package fs

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// objectReader is an object's file, open for as long as anybody reads it: its bytes do not
// change, so they are read without the lock under which it was found, and requests for one
// file are answered side by side.
type objectReader struct {
	fd   int
	size int64
	held atomic.Int32

	mu     sync.Mutex
	next   int64   // where the last request ended
	window *window // what was read last, while it is read from one place on
}

// newObjectReader makes one of a descriptor, which the last release closes.
func newObjectReader(fd int, size int64) *objectReader {
	r := &objectReader{fd: fd, size: size}
	r.held.Store(1)
	return r
}

// hold is for who goes on with it after the lock is let go.
func (r *objectReader) hold() *objectReader {
	r.held.Add(1)
	return r
}

// release is for who has done with it, which may be nil.
func (r *objectReader) release() {
	if r != nil && r.held.Add(-1) == 0 {
		r.window.release()
		syscall.Close(r.fd)
	}
}

// read answers a request for up to len(buf) bytes.
func (r *objectReader) read(buf []byte, off int64) (fuse.ReadResult, error) {
	if p := r.part(off, int(min(int64(len(buf)), r.size-off))); p != nil {
		return p, nil
	}
	n, err := preadFull(r.fd, buf, off)
	if err != nil && n == 0 {
		return nil, err
	}
	return fuse.ReadResultData(buf[:n]), nil
}

// window is a part of a file in our memory. The kernel takes bytes from there that it would
// else copy into our memory first, without our touching them: what the disk cannot give is
// then an error of the kernel's (it asks again, page by page), not a signal that ends us.
type window struct {
	from  int64
	bytes []byte
	held  atomic.Int32
}

const (
	windowSize  = 8 << 20
	windowAlign = 2 << 20  // what the processor can map at once; smaller objects have no window
	windowRead  = 64 << 10 // nor have smaller requests
)

// part is what was asked for, in a window, or nil if it is better copied: the disk is read far
// ahead in a window.
func (r *objectReader) part(off int64, n int) *part {
	if r.size < windowAlign || n < windowRead {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	onward := off >= r.next-windowAlign && off <= r.next+windowAlign
	if r.next = off + int64(n); !onward {
		return nil
	}
	if w := r.window; w == nil || off < w.from || off+int64(n) > w.from+int64(len(w.bytes)) {
		w.release()
		if r.window = r.open(off &^ (windowAlign - 1)); r.window == nil {
			return nil
		}
	}
	// Faults alone would have the disk read when we come to what is missing; a read has it go on
	// reading before.
	if _, err := preadFull(r.fd, make([]byte, 1), off); err != nil {
		return nil
	}
	w := r.window
	w.held.Add(1)
	return &part{w, [1][]byte{w.bytes[off-w.from:][:n]}}
}

// open makes a window, or returns nil where files cannot be mapped.
func (r *objectReader) open(from int64) *window {
	b, err := unix.Mmap(r.fd, from, int(min(windowSize, r.size-from)), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	_ = unix.Madvise(b, unix.MADV_SEQUENTIAL) // advice
	w := &window{from: from, bytes: b}
	w.held.Store(1)
	return w
}

func (w *window) release() {
	if w != nil && w.held.Add(-1) == 0 {
		_ = unix.Munmap(w.bytes)
	}
}

// part is a fuse.ReadResult of bytes in a window.
type part struct {
	*window
	bytes [1][]byte
}

// Slices has go-fuse write the bytes from where they are, and call Done after that.
func (p *part) Slices() ([][]byte, fuse.Status) { return p.bytes[:], fuse.OK }

// Size implements fuse.ReadResult.
func (p *part) Size() int { return len(p.bytes[0]) }

// Bytes implements fuse.ReadResult.
func (p *part) Bytes([]byte) ([]byte, fuse.Status) { return p.bytes[0], fuse.OK }

// Done implements fuse.ReadResult.
func (p *part) Done() { p.release() }
