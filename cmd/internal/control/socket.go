package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what fits into a sockaddr_un with its final NUL.
const maxSocketPath = 107

// SocketPath is where the daemon of a home answers.
func SocketPath(home string) string { return filepath.Join(home, "socket") }

// withShortPath calls fn with a name of the home's socket that fits a socket address.
// A longer one goes through a descriptor of the directory: the kernel resolves
// /proc/self/fd/N/socket like any path, and it is short whatever the home's path is.
func withShortPath(home string, fn func(path string) error) error {
	path := SocketPath(home)
	if len(path) <= maxSocketPath {
		return fn(path)
	}
	fd, err := unix.Open(home, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: home, Err: err}
	}
	defer unix.Close(fd)
	return fn(fmt.Sprintf("/proc/self/fd/%d/socket", fd))
}

// Listen makes the home's socket, readable by its owner alone. The caller holds the
// home's lock, so a socket that is already there is a dead daemon's and is replaced.
func Listen(home string) (net.Listener, error) {
	path := SocketPath(home)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var l net.Listener
	err := withShortPath(home, func(p string) error {
		// The directory is 0700, so nobody can connect before the chmod.
		ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
		if err != nil {
			return err
		}
		// The short name means nothing once its descriptor is closed.
		ul.SetUnlinkOnClose(false)
		l = ul
		return os.Chmod(p, 0o600)
	})
	if err != nil {
		if l != nil {
			l.Close()
		}
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return ownerListener{l}, nil
}

// ownerListener accepts nobody but the daemon's user and root. The socket's mode says
// so already; this holds if somebody loosens it.
type ownerListener struct{ net.Listener }

func (l ownerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(c); err == nil && allowed(uid, os.Geteuid()) {
			return c, nil
		}
		c.Close()
	}
}

// allowed tells whether a daemon of user owner answers to user uid.
func allowed(uid uint32, owner int) bool { return uid == 0 || int64(uid) == int64(owner) }

// peerUID is the user who connected.
func peerUID(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// dial connects to the home's socket. The error is not a *Error: only the caller knows
// whether a daemon that does not answer is a failure.
func dial(ctx context.Context, home string) (net.Conn, error) {
	var c net.Conn
	err := withShortPath(home, func(p string) error {
		d := net.Dialer{Timeout: 5 * time.Second}
		var err error
		c, err = d.DialContext(ctx, "unix", p)
		return err
	})
	return c, err
}

// Answers reports whether a daemon accepts connections on the home's socket.
func Answers(ctx context.Context, home string) bool {
	c, err := dial(ctx, home)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// oneLine keeps an error a single line, whatever was wrapped into it.
func oneLine(s string) string { return strings.Join(strings.FieldsFunc(s, isNewline), " ") }

func isNewline(r rune) bool { return r == '\n' || r == '\r' }
