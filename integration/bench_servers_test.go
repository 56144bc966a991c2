package integration

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/integration/lossyfs"
	"github.com/sheaf-fs/sheaf/integration/rig"
)

// What a mount is measured against: FUSE servers that do less.

// null is a FUSE server that only answers, from memory: opens are its only requests
// for what the kernel has seen before.
func null(args []string) int {
	s, err := lossyfs.New(0).Cached().Mount(args[0])
	return untilStdinEnds(s, err)
}

// loopback is go-fuse's example: a FUSE server that hands everything to a directory.
func loopback(args []string) int {
	root, err := fs.NewLoopbackRoot(args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	second := time.Second
	s, err := fs.Mount(args[0], root, &fs.Options{EntryTimeout: &second, AttrTimeout: &second, NullPermissions: true,
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: args[1], Name: "loopback"}})
	return untilStdinEnds(s, err)
}

func untilStdinEnds(s *fuse.Server, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = s.Unmount()
	return 0
}

// account is whose programs and servers run.
type account struct {
	name string
	cred *syscall.Credential // nil: those of the tests
	self string              // this program, where the account may run it
	env  []string

	cache string // where its builds keep what they made
}

// nobody is the user whom fusermount3 mounts for.
const nobody = 65534

// asRoot is the account of the tests themselves.
func asRoot(b *testing.B) *account {
	return &account{name: "root", self: "/proc/self/exe", cache: filepath.Join(rig.Scratch(b, "root"), "cache")}
}

// asUser is an ordinary user's account, who mounts through fusermount3, and why
// there can be none.
func asUser(b *testing.B) (*account, string) {
	b.Helper()
	if os.Getuid() != 0 {
		return nil, "not started by root"
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return nil, "fusermount3 is not installed"
	}
	// The device may be root's alone here; in this namespace another node stands for it.
	dev := filepath.Join(rig.Scratch(b, "dev"), "fuse")
	if err := unix.Mknod(dev, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))); err != nil {
		return nil, "make a device node: " + err.Error()
	}
	if err := os.Chmod(dev, 0o666); err != nil {
		b.Fatal(err)
	}
	if err := unix.Mount(dev, "/dev/fuse", "", unix.MS_BIND, ""); err != nil {
		return nil, "bind a device node: " + err.Error()
	}
	dir := rig.Scratch(b, "user")
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		b.Fatal(err)
	}
	a := &account{name: "user", cred: &syscall.Credential{Uid: nobody, Gid: nobody}, self: filepath.Join(dir, "self"),
		env: []string{"HOME=" + dir, "TMPDIR=" + dir}, cache: filepath.Join(dir, "cache")}
	a.give(b, dir)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for from, to := range map[string]string{self: a.self, os.Getenv("SHEAF_BIN"): filepath.Join(dir, "sheaf")} {
		if out, err := exec.Command("install", "-m", "0755", "--", from, to).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	return a, ""
}

// give makes a directory the account's own.
func (a *account) give(b *testing.B, dir string) string {
	b.Helper()
	if a.cred != nil {
		if err := os.Chown(dir, int(a.cred.Uid), int(a.cred.Gid)); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// command prepares a program of the account.
func (a *account) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), a.env...)
	if a.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.cred}
	}
	return cmd
}

// role prepares this program in another role.
func (a *account) role(role string, args ...string) *exec.Cmd {
	cmd := rig.StartRole(role, args...)
	cmd.Env = append(cmd.Env, a.env...)
	if a.cred != nil {
		cmd.Path, cmd.SysProcAttr = a.self, &syscall.SysProcAttr{Credential: a.cred}
	}
	return cmd
}

// serve starts a role that mounts something at a new directory.
func (a *account) serve(b *testing.B, role string, args ...string) place {
	b.Helper()
	point := a.give(b, rig.Scratch(b, role))
	cmd := a.role(role, append([]string{point}, args...)...)
	b.Cleanup(func() { rig.Detach(point) })
	if _, err := io.ReadFull(rig.StartTalk(b, cmd).Out, make([]byte, len("ready"))); err != nil {
		b.Fatal(err)
	}
	return place{account: a, name: role, dir: point, pid: cmd.Process.Pid}
}

// folder makes and mounts a folder, and returns its mount point and its daemon.
func (a *account) folder(b *testing.B) (point string, pid int) {
	b.Helper()
	d := rig.NewDevice(b, "sheaf-"+a.name, nil)
	if a.cred != nil {
		d.As(a.cred, filepath.Join(filepath.Dir(a.self), "sheaf"))
		d.Env = append(d.Env, a.env...)
		a.give(b, filepath.Dir(d.Home))
		a.give(b, d.Point)
	}
	d.Init()
	return d.Point, d.PID()
}
