package integration

import (
	"bufio"
	"context"
	_ "embed"
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
	a.Shell("rm -r posix/deep posix/special_files posix/devices") // too deep for find, and this device's alone
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

// TestRemovedTree: rm -r is quiet about a directory that another device removed and
// that lives only through what is in it.
func TestRemovedTree(t *testing.T) {
	a, b := rig.Pair(t, nil)
	a.Shell(`mkdir -p d/e; echo 1 > d/e/f`)
	sameTrees(t, a, b)
	// a removes the tree while b holds a file open in it: closing it brings the tree back.
	b.Shell(`exec 3> d/e/g; echo 2 >&3
		sh -c "$1"
		i=0; while [ -e d/e/f ] && [ $i -lt 300 ]; do sleep .1; i=$((i+1)); done
		echo 3 >&3`, "cd '"+a.Point+"' && rm -r d/e/f && rmdir d/e d || rm -r d")
	rig.Sees(t, "d/e/g", "2\n3\n", a, b)
	a.Shell(`rm -r d`)
	rig.Until(t, "b has nothing", func() error { _, err := b.TryShell("", `[ ! -e d ]`); return err })
	sameTrees(t, a, b)
}

// TestForeignSymlinks: a symlink that another device made is followed inside the folder;
// one that leads out of it dangles until it is trusted here.
func TestForeignSymlinks(t *testing.T) {
	a, b := rig.Pair(t, nil)
	secret := filepath.Join(rig.Scratch(t, "outside"), "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Shell(`mkdir d; echo inside > d/in; ln -s ../d/in d/good; ln -s "$1" d/absolute; ln -s ../../../../../../../../../.."$1" d/climbs
		ln -s d/../.. parent; [ "$(cat d/absolute)" = secret ]`, secret)
	sameLinks := func() error {
		_, err := a.TryShell("", `[ -L parent ] && [ -L d/climbs ] && [ -L d/absolute ] && [ -f d/in ]`)
		return err
	}
	rig.Until(t, "a has the links", sameLinks)
	a.Shell(`[ "$(cat d/good)" = inside ]
		for l in d/absolute d/climbs parent; do if [ -e $l ]; then echo "$l is followed" >&2; exit 1; fi; done
		case $(readlink d/absolute) in ../.sheaf/outside/*) ;; *) readlink d/absolute >&2; exit 1;; esac
		[ "$(readlink d/absolute | wc -c)" -eq $(($(stat -c %s d/absolute)+1)) ]
		if echo overwritten > d/absolute; then exit 1; fi`)
	a.Sheaf("trust", a.Path("d/absolute"))
	a.Shell(`[ "$(cat d/absolute)" = secret ]; [ "$(readlink d/absolute)" = "$1" ]; [ ! -e d/climbs ]`, secret)
	if r := a.Try("trust", a.Path("d/in")); r.Code != 2 {
		t.Errorf("trust of a file: %v", r)
	}
	a.Shell(`ln -s "$1" own; [ "$(cat own)" = secret ]`, secret)
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
	for path, want := range map[string]os.FileMode{"": 0o700, "key": 0o600, "socket": 0o600} {
		st, err := os.Stat(filepath.Join(a.Home, path))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("home/%s: %v %v, want %v", path, st.Mode(), err, want)
		}
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
	// Nor when somebody loosened the modes: the daemon looks at who asks.
	for _, p := range []string{a.Home, filepath.Join(a.Home, "socket")} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	nobody("is answered by the daemon", "python3", "-c", `import socket,sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"GET / HTTP/1.1\r\nHost: sheaf\r\n\r\n"); sys.exit(not s.recv(1))`, filepath.Join(a.Home, "socket"))
	for p, mode := range map[string]os.FileMode{a.Home: 0o700, filepath.Join(a.Home, "socket"): 0o600} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
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
