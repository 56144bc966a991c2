package guardian

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"
)

// message is what the two processes say to each other, one JSON value after the
// other. Both ends are the same binary, so the form may change freely. Paths are
// byte slices because a file name need not be valid UTF-8.
type message struct {
	Do string `json:"do"` // hello, beat, mount, device, forget, poke, quit; answers: mounted, done

	// hello
	Daemon  int           `json:"daemon,omitempty"`  // process id of the daemon
	Restart []string      `json:"restart,omitempty"` // command that starts it again
	Silence time.Duration `json:"silence,omitempty"` // time without a beat that counts as a hang
	Idle    time.Duration `json:"idle,omitempty"`    // the same while the daemon does nothing

	// mount, device, forget, mounted, poke, done
	Mount  int    `json:"mount,omitempty"` // number of the mount, chosen by the daemon
	Point  []byte `json:"point,omitempty"`
	Device string `json:"device,omitempty"` // what is mounted there
	TID    int    `json:"tid,omitempty"`    // thread that makes the mount's pokes

	// poke, done
	Seq    uint64        `json:"seq,omitempty"`
	Op     Op            `json:"op,omitempty"`
	Kind   Kind          `json:"kind,omitempty"`
	Path   []byte        `json:"path,omitempty"`
	To     []byte        `json:"to,omitempty"` // new path of a rename, target of a symlink
	Mode   uint32        `json:"mode,omitempty"`
	Mtime  int64         `json:"mtime,omitempty"` // nanoseconds since 1970
	NoOpen bool          `json:"noopen,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`
}

// line is one direction of a conversation; send may be called from any goroutine.
type line struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func newLine(w io.Writer) *line { return &line{enc: json.NewEncoder(w)} }

func (l *line) send(m message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enc.Encode(m)
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return n
	}
	return syscall.EIO
}
