package integration

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

//go:embed testdata/posix.py
var posixCases string

// otherwise is what a mount answers where it is meant to differ from ext4, and why.
var otherwise = map[string]string{
	"hard_links":         "['EPERM', 'EPERM', 'ENOENT']",  // a file is one name with one history
	"fallocate_collapse": "['ENOTSUP', 'ENOTSUP', 65536]", // programs fall back to copying
}

// TestPosix: what programs get from system calls on a mount is what they get on the
// disk below, case by case, and the other device ends with the same tree.
func TestPosix(t *testing.T) {
	need(t, "python3")
	a, b := rig.Pair(t, nil, func(d *rig.Device) {
		d.Env = append(d.Env, "SHEAF_ALLOW_OTHER=1") // some cases are other users'
	})
	dir := rig.Scratch(t, "posix")
	script, disk := filepath.Join(dir, "posix.py"), filepath.Join(dir, "disk")
	if err := os.WriteFile(script, []byte(posixCases), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(disk, 0o777); err != nil {
		t.Fatal(err)
	}
	a.Shell("mkdir posix")
	openTo(t, disk, a.Point)
	want, got := results(t, script, disk), results(t, script, a.Path("posix"))
	for name, onDisk := range want {
		t.Run(name, func(t *testing.T) {
			w, differs := otherwise[name]
			if !differs {
				w = onDisk
			}
			if got[name] != w {
				t.Errorf("a mount answers\n%s\nand not\n%s", got[name], w)
			}
		})
	}
	if len(got) != len(want) {
		t.Errorf("%d cases on the mount, %d on the disk", len(got), len(want))
	}
	a.Shell("rm -r posix/special_files posix/devices; find posix -name 'db-*' -delete")
	sameTrees(t, a, b)
}

// openTo lets other users reach a path.
func openTo(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		for p = filepath.Dir(p); p != "/"; p = filepath.Dir(p) {
			st, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(p, st.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// results runs all cases in a directory.
func results(t *testing.T, script, dir string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", script, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("posix.py %s: %v\n%s", dir, err, out)
	}
	all := map[string]string{}
	for sc := bufio.NewScanner(strings.NewReader(string(out))); sc.Scan(); {
		name, result, _ := strings.Cut(sc.Text(), ": ")
		all[name] = result
	}
	if len(all) < 30 {
		t.Fatalf("only %d cases ran: %s", len(all), out)
	}
	return all
}

// TestRenamesReachOthers: what renames with flags do is what the other device shows.
func TestRenamesReachOthers(t *testing.T) {
	need(t, "python3")
	a, b := rig.Pair(t, nil)
	a.Shell(`mkdir d e; echo f > d/f; echo x > x; echo y > y; echo z > z`)
	sameTrees(t, a, b)
	a.Shell(`python3 -c '
import ctypes
r = ctypes.CDLL(None).renameat2
assert r(-100, b"d", -100, b"e", 2) == 0
assert r(-100, b"x", -100, b"y", 2) == 0
assert r(-100, b"z", -100, b"x", 1) == -1
assert r(-100, b"z", -100, b"new", 1) == 0'`)
	want := "d/\ne/\n"
	if got := sameTrees(t, a, b); !strings.HasPrefix(got, want) || strings.Contains(got, "z ") {
		t.Errorf("after exchanging: %s", got)
	}
	for rel, text := range map[string]string{"e/f": "f\n", "x": "y\n", "y": "x\n", "new": "z\n"} {
		rig.Sees(t, rel, text, a, b)
	}
}

// TestRemovedTree: rm -r says nothing of a directory that goes with its last file,
// since it lived only through what was in it.
func TestRemovedTree(t *testing.T) {
	a, b := rig.Pair(t, nil)
	for i := range 3 {
		dir := fmt.Sprintf("d%d", i)
		a.Shell(`mkdir -p $1/e; echo 1 > $1/e/f`, dir)
		sameTrees(t, a, b)
		// b writes while a's removal is on its way: the file, and with it the directory, comes back.
		a.Shell(`rm -r $1`, dir)
		b.Shell(`mkdir -p $1/e; echo 2 > $1/e/g; echo 3 >> $1/e/f`, dir)
		sameTrees(t, a, b)
		if out, err := a.TryShell("", `[ ! -e $1 ] || rm -r $1`, dir); err != nil {
			t.Errorf("rm -r: %v %s", err, out)
		}
		if out, err := b.TryShell("", `i=0; while [ -e $1 ] && [ $i -lt 100 ]; do sleep .1; i=$((i+1)); done; [ ! -e $1 ]`, dir); err != nil {
			t.Errorf("still there: %v %s", err, out)
		}
	}
}

// TestPrivateMount: other users of the machine see nothing of a mount, of the home or
// of the daemon's socket, and nothing in a mount gives them or anybody rights.
func TestPrivateMount(t *testing.T) {
	need(t, "setpriv")
	a, b := rig.Pair(t, nil)
	b.Shell(`echo '#!/bin/sh' > tool; chmod 6755 tool; mkdir d; chmod 1777 d`)
	rig.Until(t, "a has it", func() error { _, err := a.TryShell("", `[ -x tool ] && [ -d d ]`); return err })
	if os.Getuid() != 0 {
		rig.Skip(t, "only root can become another user")
	}
	openTo(t, a.Point, a.Home)
	nobody := func(what string, argv ...string) {
		t.Helper()
		cmd := a.Command(t.Context(), append([]string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"}, argv...)...)
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("another user %s: %s", what, out)
		}
	}
	nobody("lists the folder", "ls", a.Point)
	nobody("reads a file", "cat", a.Path("tool"))
	nobody("stats the folder", "stat", a.Point)
	nobody("lists the home", "ls", a.Home)
	nobody("reads the key", "cat", filepath.Join(a.Home, "key"))
	nobody("asks the daemon", "python3", "-c", `import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])`, filepath.Join(a.Home, "socket"))
	for path, want := range map[string]os.FileMode{"": 0o700, "key": 0o600, "socket": 0o600} {
		st, err := os.Stat(filepath.Join(a.Home, path))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("home/%s: %v %v, want %v", path, st.Mode(), err, want)
		}
	}
	options := mountOptions(t, a.Point)
	for _, o := range []string{"nosuid", "nodev"} {
		if !slices.Contains(options, o) {
			t.Errorf("mount options %q lack %s", options, o)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(a.Path("tool"), &st); err != nil || st.Mode&0o7777 != 0o755 || int(st.Uid) != os.Getuid() {
		t.Errorf("a peer's set-user-ID file is %o of %d here (%v)", st.Mode, st.Uid, err)
	}
}

// mountOptions are what /proc/mounts says of a mount.
func mountOptions(t *testing.T, point string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 3 && f[1] == point {
			return strings.Split(f[3], ",")
		}
	}
	t.Fatalf("%s is not mounted", point)
	return nil
}
