package daemon

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxLog is the size in bytes at which a home's log becomes log.old.
const MaxLog = 8 << 20

// boundedLog bounds the home's log while the daemon runs. The guardian writes to the same open
// file, and so does the runtime when the daemon crashes, so the file stays and is emptied after
// it was copied; it is open for appending, and all go on at its beginning.
type boundedLog struct {
	mu    sync.Mutex
	f     *os.File
	path  string
	max   int64
	limit int64 // where it is looked after next: above max after that failed
}

// bounded gives w back unless it is the log of a home.
func bounded(w io.Writer, home string) io.Writer {
	path := filepath.Join(home, "log")
	f, ok := w.(*os.File)
	if !ok {
		return w
	}
	mine, err := f.Stat()
	there, errThere := os.Lstat(path)
	if err != nil || errThere != nil || !mine.Mode().IsRegular() || !os.SameFile(mine, there) {
		return w
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_APPEND == 0 {
		return w // a person's own redirection
	}
	return &boundedLog{f: f, path: path, max: MaxLog, limit: MaxLog}
}

// Write implements io.Writer.
func (l *boundedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.f.Write(b)
	if fi, statErr := l.f.Stat(); statErr == nil && fi.Size() > l.limit {
		l.limit = l.max
		if l.putAside() != nil { // there is no other place to say so
			l.limit = fi.Size() + l.max
		}
	}
	return n, err
}

// putAside copies the log to log.old and empties it. A line that the guardian writes between
// the two is lost.
func (l *boundedLog) putAside() (err error) {
	from, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer from.Close()
	old, err := os.OpenFile(l.path+".old", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(old, from)
	if err = errors.Join(err, old.Close()); err != nil {
		return err
	}
	return l.f.Truncate(0)
}
