package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Device is one sheaf home with the mount point of one folder.
type Device struct {
	Name  string
	Home  string
	Point string // mount point
	Env   []string

	t    testing.TB
	bin  string
	ns   *Namespace          // nil: the network of the tests
	cred *syscall.Credential // nil: the user of the tests
}

// Result is what a command said.
type Result struct {
	Stdout, Stderr string
	Code           int
}

func (r Result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.Code, clip(r.Stdout), clip(r.Stderr))
}

// NewDevice makes a device with an empty home and an empty mount point; nothing runs
// yet. In the end its processes are ended and its mount is detached. ns may be nil.
func NewDevice(t testing.TB, name string, ns *Namespace) *Device {
	t.Helper()
	dir := Scratch(t, name)
	d := &Device{Name: name, Home: filepath.Join(dir, "home"), Point: filepath.Join(dir, "folder"),
		t: t, bin: os.Getenv(binEnv), ns: ns}
	if err := os.Mkdir(d.Point, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if b, err := os.ReadFile(filepath.Join(d.Home, "log")); err == nil {
				t.Logf("log of %s:\n%s", name, tail(string(b), 20000))
			}
		}
		d.KillAll()
		Detach(d.Point)
	})
	return d
}

// Faulty makes the device use the binary with fault injection, with these faults on.
func (d *Device) Faulty(names ...string) *Device {
	d.bin = os.Getenv(faultEnv)
	d.Env = append(d.Env, "SHEAF_FAULT="+strings.Join(names, ","))
	return d
}

// As makes another user run the device, with a binary that this one can execute; home
// and mount point are to be that user's.
func (d *Device) As(cred *syscall.Credential, bin string) { d.cred, d.bin = cred, bin }

// Behaves makes the device use the shipped binary again.
func (d *Device) Behaves() *Device {
	d.bin, d.Env = os.Getenv(binEnv), nil
	return d
}

// Command prepares a program on this device: in its network, with its home.
func (d *Device) Command(ctx context.Context, argv ...string) *exec.Cmd {
	argv = d.ns.wrap(argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "SHEAF_HOME="+d.Home)
	cmd.Env = append(cmd.Env, d.Env...)
	if d.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.cred}
	}
	return cmd
}

// Try runs sheaf with this device's home and gives what it said.
func (d *Device) Try(args ...string) Result { return d.TryIn(Deadline()+30*time.Second, "", args...) }

// TryIn is Try with a limit of its own and something on stdin.
func (d *Device) TryIn(limit time.Duration, stdin string, args ...string) Result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := d.Command(ctx, append([]string{d.bin, "--home", d.Home}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	cmd.WaitDelay = time.Second // a daemon may have inherited the pipes
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	r := Result{Stdout: out.String(), Stderr: talk.String()}
	if err != nil {
		if r.Code = cmd.ProcessState.ExitCode(); r.Code <= 0 {
			r.Code = -1
		}
		if ctx.Err() != nil {
			r.Stderr += fmt.Sprintf("\n(sheaf %s ended by the rig after %v)", strings.Join(args, " "), limit)
		}
	}
	return r
}

// Sheaf runs sheaf and fails the test if it fails.
func (d *Device) Sheaf(args ...string) string {
	d.t.Helper()
	r := d.Try(args...)
	if r.Code != 0 {
		d.t.Fatalf("%s: sheaf %s: %v", d.Name, strings.Join(args, " "), r)
	}
	return r.Stdout
}

// Status is the part of sheaf status --json that the suites look at.
type Status struct {
	Running bool `json:"running"`
	PID     int  `json:"pid"`
	Device  struct {
		ID, Name string
	}
	Listen  []string
	Folders []struct {
		ID, Name, Path string
		Mounted        bool
		Entries        int
		Bytes          int64
		Devices        []struct {
			ID, Name, Address string
			Connected         bool
			EntriesToSend     int    `json:"entries_to_send"`
			EntriesToGet      int    `json:"entries_to_get"`
			BytesToSend       int64  `json:"bytes_to_send"`
			BytesToGet        int64  `json:"bytes_to_get"`
			LastError         string `json:"last_error"`
			Diverged          string
		}
		First *struct{ Maker string }
		Notes []Note
		Local []struct {
			Path  string
			Files int
			Bytes int64
		}
		Beside []string
		Heads  []struct{ Path, Device, Head string }
	}
}

// Note is something that status names.
type Note struct{ Kind, Path, Text string }

// Notes are the notes of all folders.
func (s Status) Notes() (all []Note) {
	for _, f := range s.Folders {
		all = append(all, f.Notes...)
	}
	return all
}

// Status asks the device how it is.
func (d *Device) Status() (Status, error) {
	d.t.Helper()
	var s Status
	r := d.Try("status", "--json")
	if r.Code != 0 {
		return s, fmt.Errorf("%s: status: %v", d.Name, r)
	}
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
		return s, fmt.Errorf("%s: status: %w", d.Name, err)
	}
	return s, nil
}

// PID is the process id of the device's daemon.
func (d *Device) PID() int {
	d.t.Helper()
	s, err := d.Status()
	if err != nil {
		d.t.Fatal(err)
	}
	return s.PID
}

// Init makes a folder, mounted at the device's point.
func (d *Device) Init(flags ...string) {
	d.t.Helper()
	d.Sheaf(append(append([]string{"init", "--device", d.Name, d.Point}, d.how()...), flags...)...)
}

// Invite gives a ticket for the folder.
func (d *Device) Invite() string {
	d.t.Helper()
	return strings.TrimSpace(d.Sheaf("invite", d.Point))
}

// Join joins the folder of a ticket at the device's point.
func (d *Device) Join(ticket string) {
	d.t.Helper()
	d.Sheaf(append([]string{"join", "--device", d.Name, ticket, d.Point}, d.how()...)...)
}

// how is how devices come to their folder: mounted, or with SHEAF_RIG_PLAIN as a
// directory that is kept in step.
func (d *Device) how() []string {
	if Plain() {
		return []string{"--plain"}
	}
	return nil
}

// Plain reports whether the suites run without mounts.
func Plain() bool { return os.Getenv("SHEAF_RIG_PLAIN") != "" }

// Path is the path of a file in the folder.
func (d *Device) Path(rel string) string { return filepath.Join(d.Point, rel) }

// Read reads a file in the folder with an ordinary program.
func (d *Device) Read(rel string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline())
	defer cancel()
	cmd := exec.CommandContext(ctx, "cat", "--", d.Path(rel))
	var talk bytes.Buffer
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: cat %s: %w: %s", d.Name, rel, err, bytes.TrimSpace(talk.Bytes()))
	}
	return string(out), nil
}

// Write writes a file in the folder the way a shell does.
func (d *Device) Write(rel, content string) {
	d.t.Helper()
	d.ShellIn(content, `cat > "$1"`, rel)
}

// Shell runs a shell script in the folder; args are $1 and so on.
func (d *Device) Shell(script string, args ...string) string {
	d.t.Helper()
	return d.ShellIn("", script, args...)
}

// ShellIn is Shell with something on stdin.
func (d *Device) ShellIn(stdin, script string, args ...string) string {
	d.t.Helper()
	out, err := d.TryShell(stdin, script, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// TryShell is ShellIn for a script that may fail.
func (d *Device) TryShell(stdin, script string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline()+30*time.Second)
	defer cancel()
	cmd := d.Command(ctx, append([]string{"sh", "-ec", script, "sh"}, args...)...)
	cmd.Dir = d.Point
	cmd.Stdin = strings.NewReader(stdin)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %s %q: %w: %s", d.Name, script, args, err, bytes.TrimSpace(talk.Bytes()))
	}
	return out.String(), nil
}

// Sees waits until a file has exactly this content on every device.
func Sees(t testing.TB, rel, want string, on ...*Device) {
	t.Helper()
	for _, d := range on {
		Until(t, d.Name+" sees "+rel, func() error {
			got, err := d.Read(rel)
			if err != nil {
				return err
			}
			return SameText(got, want)
		})
	}
}

// Pair is two devices that share a folder, mounted on both and connected.
func Pair(t testing.TB, net *Net, setup ...func(*Device)) (a, b *Device) {
	t.Helper()
	a, b = NewDevice(t, "a", net.Namespace()), NewDevice(t, "b", net.Namespace())
	for _, f := range setup {
		f(a)
		f(b)
	}
	a.Init()
	b.Join(a.Invite())
	return a, b
}

// CopyTree copies a directory with everything in it, while nothing uses it.
func CopyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := run("cp", "-a", "--", from, to); err != nil {
		t.Fatal(err)
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// Logged reads the daemon's log from an offset on.
func (d *Device) Logged(from int64) string {
	f, err := os.Open(filepath.Join(d.Home, "log"))
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return ""
	}
	b, _ := io.ReadAll(f)
	return string(b)
}

// On is the device with another test to report to: what it starts for the test ends
// with it.
func (d *Device) On(t testing.TB) *Device {
	c := *d
	c.t = t
	return &c
}
