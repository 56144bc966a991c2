package fs

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs/guardian"
)

// daemonEnv makes the test binary a daemon that mounts a home, to be killed.
const daemonEnv = "SHEAF_FS_TEST_DAEMON"

// guardianArg makes it a guardian.
const guardianArg = "guardian"

func TestMain(m *testing.M) {
	if spec := os.Getenv(daemonEnv); spec != "" {
		daemon(spec)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == guardianArg {
		if err := guardian.Run(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func daemon(spec string) {
	home, point, _ := strings.Cut(spec, "|")
	h, err := crdt.Open(home, crdt.Options{})
	if err == nil {
		_, err = Mount(h.Folders()[0], h, point, Options{})
	}
	fmt.Println("mounted", err)
	io.Copy(io.Discard, os.Stdin)
}

// killed is a device whose daemon is another process.
type killed struct {
	*device
	cmd *exec.Cmd
}

// inDaemon hands a device's folder to a daemon.
func inDaemon(t *testing.T, d *device) *killed {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no /dev/fuse here")
	}
	if err := d.home.Close(); err != nil {
		t.Fatal(err)
	}
	d.point = t.TempDir()
	k := &killed{d, exec.Command(os.Args[0])}
	k.cmd.Env = append(os.Environ(), daemonEnv+"="+d.home.Dir()+"|"+d.point)
	k.cmd.Stderr = os.Stderr
	if _, err := k.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.cmd.Process.Kill()
		k.cmd.Wait()
		unix.Unmount(d.point, unix.MNT_DETACH)
	})
	sc := bufio.NewScanner(out)
	if !sc.Scan() || sc.Text() != "mounted <nil>" {
		t.Skip("cannot mount: ", sc.Text())
	}
	return k
}

// kill ends the daemon as a crash does, and recovers its home.
func (k *killed) kill() {
	k.t.Helper()
	k.cmd.Process.Kill()
	k.cmd.Wait()
	unix.Unmount(k.point, unix.MNT_DETACH)
	h, err := crdt.Open(k.home.Dir(), crdt.Options{})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { h.Close() })
	k.home, k.f = h, h.Folders()[0]
	for range 2 { // a second recovery changes nothing
		if err := Recover(k.home, k.f); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *killed) open(name string, flags int) *os.File {
	k.t.Helper()
	f, err := os.OpenFile(k.path(name), flags, 0o644)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *os.File, s string) {
	t.Helper()
	if _, err := f.WriteString(s); err != nil {
		t.Fatal(err)
	}
}

func unmounted(t *testing.T, files map[string]string) *device {
	t.Helper()
	d := newDevice(t, "here")
	f, err := d.home.CreateFolder("notes")
	if err != nil {
		t.Fatal(err)
	}
	d.f = f
	for name, text := range files {
		err := f.Update(func(tx *crdt.Tx) error {
			_, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Text: text})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestKill(t *testing.T) {
	d := unmounted(t, map[string]string{"place": "0123456789\n", "trunc": poem, "sync": poem, "log": "a\n", "log2": "a\n", "gone": "x\n", "old": "y\n"})
	k := inDaemon(t, d)
	inPlace := k.open("place", os.O_RDWR)
	inPlace.WriteAt([]byte("XX"), 3)
	cut := k.open("trunc", os.O_WRONLY|os.O_TRUNC)
	write(t, cut, "half of")
	synced := k.open("sync", os.O_WRONLY|os.O_TRUNC)
	write(t, synced, "all of it\n")
	if err := synced.Sync(); err != nil {
		t.Fatal(err)
	}
	log := k.open("log", os.O_WRONLY|os.O_APPEND)
	write(t, log, "b\n")
	write(t, log, "c\n")
	closed := k.open("log2", os.O_WRONLY|os.O_APPEND)
	write(t, closed, "b\n")
	closed.Close() // published
	fresh := k.open("new", os.O_WRONLY|os.O_CREATE)
	write(t, fresh, "new\n")
	os.Mkdir(k.path("dir"), 0o755)
	os.WriteFile(k.path("dir/blob"), []byte("\x00\x01"), 0o600)
	os.Remove(k.path("gone"))
	os.Rename(k.path("old"), k.path("moved"))
	k.kill()

	for name, want := range map[string]string{
		"place": "012XX56789\n", "trunc": poem, "sync": "all of it\n", "log": "a\nb\nc\n", "log2": "a\nb\n",
		"new": "new\n", "dir/blob": "\x00\x01", "gone": "-", "old": "-", "moved": "y\n",
	} {
		equal(t, name, k.text(name), want)
	}
	notes := k.f.Status().Notes
	if len(notes) != 1 || notes[0].Path != "trunc" || notes[0].Kind != "set-aside" {
		t.Fatalf("notes: %+v", notes)
	}
	_, path, _ := strings.Cut(notes[0].Text, "kept in ")
	if b, err := os.ReadFile(path); err != nil || string(b) != "half of" {
		t.Errorf("set aside: %q, %v", b, err)
	}
	if list, _ := filepath.Glob(filepath.Join(sessionsDir(k.home, k.f), "[0-9]*")); len(list) > 0 {
		t.Errorf("sessions are left: %v", list)
	}
}

// TestAppendOnce: a process that died between the publication of an append and
// the end of its session does not append twice, nor drop what came after.
func TestAppendOnce(t *testing.T) {
	d := unmounted(t, map[string]string{"log": "a\n"})
	info, err := d.f.Resolve("log")
	if err != nil {
		t.Fatal(err)
	}
	mark := rand.Uint64()
	if _, err := appendOnce(d.f, nil, info.Node, mark, []byte("b\n")); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(sessionsDir(d.home, d.f))
	if err != nil {
		t.Fatal(err)
	}
	r := record{ID: j.number(), Kind: sessionRecord, Node: info.Node, Appended: true, Mark: mark, Path: "log"}
	if err := os.WriteFile(j.path(r.ID), []byte("b\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.put(r); err != nil {
		t.Fatal(err)
	}
	j.close()
	for range 2 {
		if err := Recover(d.home, d.f); err != nil {
			t.Fatal(err)
		}
		equal(t, "log", d.text("log"), "a\nb\nc\n")
	}
}

func TestRecoverUnderRemovedDirectory(t *testing.T) {
	d := unmounted(t, nil)
	j, err := openJournal(sessionsDir(d.home, d.f))
	if err != nil {
		t.Fatal(err)
	}
	r := record{ID: j.number(), Kind: sessionRecord, Parent: crdt.NodeID{1}, Name: "f", Path: "dir/f"}
	if err := os.WriteFile(j.path(r.ID), []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.put(r); err != nil {
		t.Fatal(err)
	}
	j.close()
	if err := Recover(d.home, d.f); err != nil {
		t.Fatal(err)
	}
	if n := d.f.Status().Notes; len(n) != 1 || n[0].Kind != "set-aside" {
		t.Errorf("notes: %+v", n)
	}
}

// TestRecoverTruncated: a file that was emptied, and of which nothing more is in the journal,
// is emptied if its writer synced that, and otherwise left as it is, with a note.
func TestRecoverTruncated(t *testing.T) {
	for _, synced := range []bool{true, false} {
		t.Run(fmt.Sprint("synced ", synced), func(t *testing.T) {
			d := unmounted(t, map[string]string{"f": "text\n"})
			info, err := d.f.Resolve("f")
			if err != nil {
				t.Fatal(err)
			}
			j, err := openJournal(sessionsDir(d.home, d.f))
			if err != nil {
				t.Fatal(err)
			}
			r := record{ID: j.number(), Kind: sessionRecord, Node: info.Node, Base: info.Version, Path: "f", Truncated: true, Synced: synced}
			if err := j.put(r); err != nil {
				t.Fatal(err)
			}
			if ok, err := j.pack(piece{ID: r.ID}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if err := j.compact(); err != nil {
				t.Fatal(err)
			}
			j.close()
			if err := Recover(d.home, d.f); err != nil {
				t.Fatal(err)
			}
			want := "text\n"
			if synced {
				want = ""
			}
			equal(t, "f", d.text("f"), want)
			aside := slices.ContainsFunc(d.f.Status().Notes, func(n crdt.Note) bool { return n.Kind == "set-aside" })
			if aside == synced {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}
