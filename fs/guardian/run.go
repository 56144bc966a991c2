package guardian

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// Run is the guardian process: it carries out what comes in on in, answers on out,
// and returns when the daemon asked it to leave, or after it rescued the mounts of a
// daemon that died or hung.
func Run(in io.Reader, out io.Writer) error {
	// A terminal's signals are for the daemon; the guardian goes when the daemon goes.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	closeFUSE()
	r := &runner{out: newLine(out), mounts: map[int]*poker{}, daemonFD: -1}
	defer r.release()
	r.born = time.Now()
	return r.loop(in)
}

// closeFUSE closes connections to the kernel that came along when this process was
// forked: one that stays open would keep a dead daemon's mount alive.
func closeFUSE() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil || fd <= 2 {
			continue
		}
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to == "/dev/fuse" {
			_ = syscall.Close(fd)
		}
	}
}

type runner struct {
	out      *line
	hello    message
	born     time.Time
	daemonFD int // pidfd of the daemon, -1 if there is none
	mounts   map[int]*poker
	silence  silence
}

func (r *runner) release() {
	for _, p := range r.mounts {
		close(p.work)
	}
	if r.daemonFD >= 0 {
		_ = unix.Close(r.daemonFD)
	}
}

func (r *runner) loop(in io.Reader) error {
	said := make(chan message)
	go func() { // ends with the pipe, or with the process
		defer close(said)
		dec := json.NewDecoder(in)
		for {
			var m message
			if dec.Decode(&m) != nil {
				return
			}
			said <- m
		}
	}()
	looks := time.NewTicker(lookEvery)
	defer looks.Stop()
	last := time.Now()
	for {
		select {
		case m, ok := <-said:
			if !ok {
				return r.rescue()
			}
			if m.Do == "quit" {
				return nil
			}
			r.handle(m)
			r.silence.heard()
		case now := <-looks.C:
			passed := now.Sub(last)
			last = now
			if r.look(passed) {
				return r.rescue()
			}
		}
	}
}

func (r *runner) handle(m message) {
	switch m.Do {
	case "hello":
		r.hello = m
		r.silence = silence{limit: m.Silence, idle: m.Idle}
		if fd, err := unix.PidfdOpen(m.Daemon, 0); err == nil {
			r.daemonFD = fd
		}
	case "mount":
		p := &poker{point: string(m.Point), id: m.Mount, out: r.out, work: make(chan message, 64)}
		p.device.Store(m.Device)
		r.mounts[m.Mount] = p
		go p.loop()
	case "device":
		if p := r.mounts[m.Mount]; p != nil {
			p.device.Store(m.Device)
		}
	case "forget":
		if p := r.mounts[m.Mount]; p != nil {
			close(p.work)
			delete(r.mounts, m.Mount)
		}
	case "poke":
		p := r.mounts[m.Mount]
		if p == nil {
			_ = r.out.send(message{Do: "done", Mount: m.Mount, Seq: m.Seq, Errno: syscall.ENOENT})
			return
		}
		select {
		case p.work <- m:
		default: // its thread is stuck in a handler: this loop must not be
			_ = r.out.send(message{Do: "done", Mount: m.Mount, Seq: m.Seq, Errno: syscall.EAGAIN})
		}
	}
}

// poker makes the pokes of one mount, all of them from one thread, so that the
// handler can tell them from the calls of programs. It uses raw system calls: Go's
// poller on a file of a FUSE mount can block the whole process.
type poker struct {
	point   string
	device  atomic.Value // string: what is mounted there, "" while that is not known
	id      int
	out     *line
	work    chan message
	anyRoot bool // tests: the point need not be a mount
}

func (p *poker) loop() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	_ = p.out.send(message{Do: "mounted", Mount: p.id, TID: unix.Gettid()})
	for m := range p.work {
		err := p.poke(m)
		_ = p.out.send(message{Do: "done", Mount: p.id, Seq: m.Seq, Errno: errnoOf(err)})
	}
}

// root opens the mount.
func (p *poker) root() (int, error) {
	root, err := p.open(p.point)
	if err == nil {
		return root, nil
	}
	if point := p.place(); point != p.point {
		return p.open(point)
	}
	return -1, err
}

// open opens point. Where nothing is mounted (any more), the calls would change the directory
// below, and where something else is, that.
func (p *poker) open(point string) (int, error) {
	root, err := retry(func() (int, error) { return unix.Open(point, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return -1, err
	}
	device, ok := mountRoot(root)
	if want, _ := p.device.Load().(string); !p.anyRoot && (!ok || want != "" && device != want) {
		_ = unix.Close(root)
		return -1, unix.ENOTCONN
	}
	return root, nil
}

// place is where the mount is now: a directory above it may have been renamed.
func (p *poker) place() string {
	device, _ := p.device.Load().(string)
	if device == "" {
		return p.point
	}
	if now, ok := mountinfo.DeviceAt(p.point); ok && now == device {
		return p.point
	}
	if point, ok := mountinfo.PointOf(device); ok {
		return point
	}
	return p.point
}

func (p *poker) poke(m message) error {
	root, err := p.root()
	if err != nil {
		return err
	}
	defer unix.Close(root)
	dir, name, err := parent(root, string(m.Path))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	switch m.Op {
	case Touch:
		return touch(dir, name, m)
	case Attr: // with both times set the kernel reports ATTRIB, not MODIFY
		times := []unix.Timespec{unix.NsecToTimespec(m.Mtime), unix.NsecToTimespec(m.Mtime)}
		return unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW)
	case Create:
		switch m.Kind {
		case Dir:
			return unix.Mkdirat(dir, name, m.Mode&07777)
		case Symlink:
			return unix.Symlinkat(string(m.To), dir, name)
		}
		if err := unix.Mknodat(dir, name, unix.S_IFREG|m.Mode&07777, 0); err != nil {
			return err
		}
		return touch(dir, name, m)
	case Remove:
		flags := 0
		if m.Kind == Dir {
			flags = unix.AT_REMOVEDIR
		}
		return unix.Unlinkat(dir, name, flags)
	case Rename:
		toDir, toName, err := parent(root, string(m.To))
		if err != nil {
			return err
		}
		defer unix.Close(toDir)
		return unix.Renameat(dir, name, toDir, toName)
	}
	return unix.EINVAL
}

// touch makes the kernel report MODIFY (an mtime set without an atime), then, by an
// open for writing, OPEN and CLOSE_WRITE, which many watchers wait for.
func touch(dir int, name string, m message) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(m.Mtime)}
	if err := unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if m.NoOpen || m.Kind != File {
		return nil
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// parent opens the directory of a path below root without following a link or
// crossing into another mount, and gives the last name.
func parent(root int, rel string) (dir int, name string, err error) {
	rel = path.Clean(rel)
	if rel == "." || rel == ".." || path.IsAbs(rel) {
		return -1, "", unix.EINVAL
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV}
	dir, err = retry(func() (int, error) { return unix.Openat2(root, path.Dir(rel), how) })
	return dir, path.Base(rel), err
}

func retry(f func() (int, error)) (int, error) {
	for {
		fd, err := f()
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// mountRoot tells whether fd is the root of a mount, and of what; it asks the kernel only,
// never the filesystem.
func mountRoot(fd int) (device string, ok bool) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	if err != nil || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return "", false
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor), true
}
