package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// refused wants a command to fail with this exit code, to say something of this, and to
// give a hint unless hint is false.
func refused(t *testing.T, r rig.Result, code int, says string) {
	t.Helper()
	if r.Code != code || !strings.Contains(r.Stderr, says) {
		t.Errorf("%v\nwant code %d and %q", r, code, says)
	}
	if !strings.HasPrefix(r.Stderr, "sheaf: ") || r.Stdout != "" {
		t.Errorf("not an error as they should be: %v", r)
	}
}

// TestBadInput: bad input gets a clear error and changes nothing.
func TestBadInput(t *testing.T) {
	rig.Seed(t)
	a := rig.NewDevice(t, "a", nil)
	a.Init()
	a.Write("f.txt", "mine\n")
	try := func(d *rig.Device, args ...string) rig.Result {
		return d.TryIn(30*time.Second, "", args...)
	}

	t.Run("wrong ticket", func(t *testing.T) {
		b := rig.NewDevice(t, "b", nil)
		refused(t, try(b, "join", "sheaf1nonsense", b.Point), 10, "ticket")
		refused(t, try(b, "join", "hello", b.Point), 10, "ticket")
		if _, err := os.Stat(b.Home); err == nil {
			t.Error("a wrong ticket made a home")
		}
	})
	t.Run("not empty", func(t *testing.T) {
		b := rig.NewDevice(t, "b", nil)
		if err := os.WriteFile(b.Path("mine.txt"), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		refused(t, try(b, "init", b.Point), 4, "not empty")
		refused(t, try(b, "join", a.On(t).Invite(), b.Point), 4, "not empty")
		if got, _ := os.ReadFile(b.Path("mine.txt")); string(got) != "mine" {
			t.Error("the file that was there is gone")
		}
	})
	t.Run("no FUSE", func(t *testing.T) {
		b := rig.NewDevice(t, "b", nil)
		cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec",
			`mkdir "$1"; for f in null urandom random; do touch "$1/$f"; mount --bind /dev/$f "$1/$f"; done
			mount --rbind "$1" /dev; exec "$2" --home "$3" init "$4"`,
			"sh", filepath.Join(rig.Scratch(t, "dev"), "dev"), os.Getenv("SHEAF_BIN"), b.Home, b.Point)
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 6 || !strings.Contains(string(out), "FUSE") || !strings.Contains(string(out), "hint:") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("no permission", func(t *testing.T) {
		need(t, "setpriv")
		b := rig.NewDevice(t, "b", nil)
		locked := rig.Scratch(t, "locked")
		if err := os.Chmod(filepath.Dir(locked), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(locked, 0o555); err != nil {
			t.Fatal(err)
		}
		cmd := b.Command(context.Background(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
			os.Getenv("SHEAF_BIN"), "--home", filepath.Join(locked, "home"), "init", filepath.Join(locked, "folder"))
		cmd.Env = append(cmd.Env, "HOME="+locked, "XDG_STATE_HOME=")
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 5 && code != 6 || !strings.Contains(string(out), "permission denied") {
			t.Errorf("%v: %s", err, out)
		}
		if e, _ := os.ReadDir(locked); len(e) > 0 {
			t.Errorf("something was made: %v", e)
		}
	})
	t.Run("in use", func(t *testing.T) {
		pid := a.PID()
		r := try(a, "daemon")
		if r.Code != 9 {
			t.Errorf("a second daemon: %v", r)
		}
		if a.PID() != pid {
			t.Error("the first daemon is gone")
		}
		rig.Sees(t, "f.txt", "mine\n", a)
	})
	t.Run("disk full", func(t *testing.T) { diskFull(t) })
	t.Run("damaged", func(t *testing.T) {
		b := rig.NewDevice(t, "b", nil)
		b.Init()
		for i := range 50 {
			b.Write(fmt.Sprintf("f%d.txt", i), strings.Repeat("text of some length ", 100))
		}
		b.Sheaf("down")
		damaged := 0
		before := map[string]string{}
		err := filepath.WalkDir(filepath.Join(b.Home, "db"), func(p string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			c, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if strings.Contains(e.Name(), "MANIFEST") && len(c) > 16 {
				for i := len(c) / 4; i < len(c)*3/4; i++ {
					c[i] ^= 0x55
				}
				damaged++
				if err := os.WriteFile(p, c, 0o600); err != nil {
					return err
				}
			}
			before[p] = string(c)
			return nil
		})
		if err != nil || damaged == 0 {
			t.Fatal("nothing to damage", err)
		}
		r := try(b, "up")
		if r.Code != 8 || !strings.Contains(r.Stderr, "damaged") || !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("up over a damaged database: %v", r)
		}
		if rig.Mounted(b.Point) != "" {
			t.Error("a damaged home was mounted")
		}
		for p, c := range before {
			if now, err := os.ReadFile(p); err != nil || string(now) != c {
				if strings.HasSuffix(p, ".log") || strings.Contains(p, "MANIFEST") || strings.HasSuffix(p, ".sst") {
					t.Errorf("%s was changed: %v", p, err)
				}
			}
		}
	})
}

// diskFull fills the small filesystem that the home is on, from inside the folder.
func diskFull(t *testing.T) {
	disk := newDisk(t, 24<<20)
	b := rig.NewDevice(t, "b", nil)
	b.Home = filepath.Join(disk.dir, "home")
	b.Init()
	b.Write("kept.txt", "kept\n")
	out, err := b.TryShell("", `head -c 64000000 /dev/urandom > big.bin`)
	if err == nil || !strings.Contains(err.Error(), "space") {
		t.Errorf("64 MB on a disk of 24: %q, %v", out, err)
	}
	pid := b.PID()
	rig.Sees(t, "kept.txt", "kept\n", b)
	if err := rmAll(b, "big.bin"); err != nil {
		t.Error(err)
	}
	// With room again, all goes on.
	rig.Until(t, "room again", func() error {
		_, err := b.TryShell("after\n", `cat > after.txt; sync after.txt`)
		return err
	})
	rig.Sees(t, "after.txt", "after\n", b)
	if now := b.PID(); now != pid {
		t.Errorf("the daemon died of a full disk: process %d, now %d", pid, now)
	}
	b.Sheaf("down")
	b.Sheaf("up")
	rig.Sees(t, "kept.txt", "kept\n", b)
	rig.Sees(t, "after.txt", "after\n", b)
}

func rmAll(d *rig.Device, name string) error {
	_, err := d.TryShell("", `rm -f "$1"`, name)
	return err
}
