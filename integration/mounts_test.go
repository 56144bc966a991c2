package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// placeOf is where a device's only folder is, and whether it is mounted.
func placeOf(t *testing.T, d *rig.Device) (path string, mounted bool) {
	t.Helper()
	s, err := d.Status()
	if err != nil || len(s.Folders) != 1 {
		t.Fatalf("status: %+v, %v", s, err)
	}
	return s.Folders[0].Path, s.Folders[0].Mounted
}

// TestMountPoint: what a person does to a mount point loses nothing, is said, and sheaf up
// sets it right.
func TestMountPoint(t *testing.T) {
	rig.Seed(t)
	a := rig.NewDevice(t, "a", nil)
	above := filepath.Join(rig.Scratch(t, "place"), "above")
	a.Point = filepath.Join(above, "folder")
	a.Init()
	a.Write("f.txt", "mine\n")

	t.Run("unmounted by hand", func(t *testing.T) {
		a := a.On(t)
		a.Shell(`exec 3<f.txt; cd /; if umount "$1" 2>/dev/null; then echo "unmounted under an open file" >&2; exit 1; fi`, a.Point)
		if err := syscall.Unmount(a.Point, 0); err != nil {
			t.Fatal(err)
		}
		rig.Until(t, "it is noticed", func() error {
			if _, mounted := placeOf(t, a); mounted {
				return fmt.Errorf("status says that it is mounted")
			}
			return nil
		})
		if err := os.WriteFile(a.Path("beside"), []byte("x"), 0o644); err == nil && os.Getuid() != 0 {
			t.Error("a program could write beside the folder")
		}
		_ = os.Remove(a.Path("beside"))
		a.Sheaf("up")
		rig.Sees(t, "f.txt", "mine\n", a)
	})
	t.Run("detached under a writer", func(t *testing.T) {
		a := a.On(t)
		// The program goes on in its file, and its save is in the folder.
		a.Shell(`exec 3>>f.txt; umount -l "$1"; echo more >&3`, a.Point)
		rig.Until(t, "it is noticed", func() error {
			if _, mounted := placeOf(t, a); mounted {
				return fmt.Errorf("status says that it is mounted")
			}
			return nil
		})
		a.Sheaf("up")
		rig.Sees(t, "f.txt", "mine\nmore\n", a)
	})
	t.Run("renamed above", func(t *testing.T) {
		a := a.On(t)
		other := above + "-renamed"
		if err := os.Rename(above, other); err != nil {
			t.Fatal(err)
		}
		a.Point = filepath.Join(other, "folder") // of this copy of the device
		if got, _ := placeOf(t, a); got != a.Point {
			t.Errorf("status names %s, not %s", got, a.Point)
		}
		if out := a.Sheaf("log", a.Path("f.txt")); !strings.Contains(out, "f.txt") {
			t.Errorf("log in the renamed place: %q", out)
		}
		a.Sheaf("down")
		if rig.Mounted(a.Point) != "" {
			t.Error("still mounted after down")
		}
		if err := os.Remove(a.Point); err != nil {
			t.Fatal(err)
		}
		a.Sheaf("up") // it makes the directory anew
		rig.Sees(t, "f.txt", "mine\nmore\n", a)
		a.Sheaf("down")
		if err := os.Remove(a.Point); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(a.Point, []byte("not a directory"), 0o644); err != nil {
			t.Fatal(err)
		}
		if r := a.Try("up"); r.Code != 4 || !strings.Contains(r.Stderr, a.Point) || !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("up where a file is in the place: %v", r)
		}
		if b, err := os.ReadFile(a.Point); err != nil || string(b) != "not a directory" {
			t.Errorf("the file in the place: %q, %v", b, err)
		}
		if err := os.Remove(a.Point); err != nil {
			t.Fatal(err)
		}
		a.Sheaf("up")
		rig.Sees(t, "f.txt", "mine\nmore\n", a)
	})
	t.Run("renamed above a daemon that dies", func(t *testing.T) {
		a := a.On(t)
		at, _ := placeOf(t, a)
		other := filepath.Dir(at)
		// Nobody asks between the renaming and the death; then the guardian dies as well.
		for i, kill := range []func(pid int){a.Kill, func(int) { a.KillAll(); a.Sheaf("up") }} {
			pid := a.PID()
			before := other
			other = fmt.Sprintf("%s-%d", above, i)
			if err := os.Rename(before, other); err != nil {
				t.Fatal(err)
			}
			a.Point = filepath.Join(other, "folder")
			kill(pid)
			rig.Until(t, "it is mounted where it is now", func() error {
				s, err := a.Status()
				if err != nil {
					return err
				}
				if s.PID == pid || len(s.Folders) != 1 || s.Folders[0].Path != a.Point || !s.Folders[0].Mounted {
					return fmt.Errorf("process %d, folders %+v", s.PID, s.Folders)
				}
				return nil
			})
			rig.Sees(t, "f.txt", "mine\nmore\n", a)
			if _, err := os.Lstat(before); err == nil {
				t.Errorf("%s was made anew", before)
			}
		}
	})
}

// TestManyFolders: one device has fifty folders; they come back after down and after a kill.
func TestManyFolders(t *testing.T) {
	const folders = 50
	rig.Seed(t)
	a := rig.NewDevice(t, "a", nil)
	var all []*rig.Device
	for i := range folders {
		d := a.On(t)
		d.Point = filepath.Join(a.Point, fmt.Sprint(i))
		t.Cleanup(func() { rig.Detach(d.Point) })
		d.Init()
		d.Write("f.txt", fmt.Sprintf("of folder %d\n", i))
		all = append(all, d)
	}
	here := func() {
		t.Helper()
		for i, d := range all {
			rig.Sees(t, "f.txt", fmt.Sprintf("of folder %d\n", i), d)
		}
	}
	here()
	a.Sheaf("down")
	for _, d := range all {
		if what := rig.Mounted(d.Point); what != "" {
			t.Fatalf("%s is mounted after down: %s", d.Point, what)
		}
	}
	a.Sheaf("up")
	here()
	pid := a.PID()
	a.Kill(pid)
	rig.Until(t, "all folders are mounted again", func() error {
		s, err := a.Status()
		if err != nil {
			return err
		}
		if s.PID == pid || len(s.Folders) != folders {
			return fmt.Errorf("process %d with %d folders", s.PID, len(s.Folders))
		}
		for _, f := range s.Folders {
			if !f.Mounted {
				return fmt.Errorf("%s is not mounted", f.Path)
			}
		}
		return nil
	})
	here()
}

// TestOtherVersion: a daemon of another version than the command goes on working for it, is
// named, and is replaced by up.
func TestOtherVersion(t *testing.T) {
	rig.Seed(t)
	a := rig.NewDevice(t, "a", nil).Faulty() // built without a version of its own
	a.Init()
	a.Write("f.txt", "mine\n")
	old := a.PID()
	a = a.Behaves()
	if r := a.Try("doctor"); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "version") {
		t.Errorf("doctor with a daemon of another version: %v", r)
	}
	if r := a.Try("log", a.Path("f.txt")); r.Code != 0 || !strings.Contains(r.Stdout, "f.txt") {
		t.Errorf("log by a daemon of another version: %v", r)
	}
	if now := a.PID(); now != old {
		t.Errorf("a command that only asks replaced the daemon %d by %d", old, now)
	}
	// While a program writes it is left alone.
	a.Shell(`exec 3>>f.txt; echo more >&3; if "$1" --home "$2" up; then echo "replaced under a writer" >&2; exit 1; fi`, os.Getenv("SHEAF_BIN"), a.Home)
	a.Sheaf("up")
	if now := a.PID(); now == old {
		t.Error("up left a daemon of another version")
	}
	rig.Sees(t, "f.txt", "mine\nmore\n", a)
	if r := a.Try("doctor"); strings.Contains(r.Stdout+r.Stderr, "another version") {
		t.Errorf("doctor after up: %v", r)
	}
}
