package fs

import (
	"os"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// removeAll removes a tree of a device without a mount, as rm -r does.
func (d *device) removeAll(path string) {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	if info.Kind == crdt.Dir {
		list, err := d.f.ReadDir(info.Node)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, i := range list {
			d.removeAll(path + "/" + i.Name)
		}
	}
	if err := d.f.Update(removeNode(info.Node)); err != nil {
		d.t.Fatal(err)
	}
}

// remains returns two devices: another one has removed everything, and here two
// directories go on with what is this device's.
func remains(t *testing.T) (here, far *device) {
	t.Helper()
	here, far = pair(t)
	here.run("mkdir -p d/e/.git g; echo mine > d/e/.git/config; echo x > d/e/f; echo x > d/f; echo x > g/f; ls -R d g")
	here.flush()
	exchange(t, here, far)
	far.removeAll("d")
	far.removeAll("g")
	exchange(t, here, far)
	eventually(t, "g is gone", func() bool { _, err := os.Stat(here.path("g")); return err != nil })
	eventually(t, "the shared file is gone", func() bool { _, err := os.Stat(here.path("d/e/f")); return err != nil })
	eventually(t, "this device's own files remain", func() bool { return here.run("find . | sort") == ".\n./d\n./d/e\n./d/e/.git\n./d/e/.git/config\n" })
	equal(t, "shared", here.names(), "")
	return here, far
}

func TestRemains(t *testing.T) {
	t.Run("mounted again", func(t *testing.T) {
		here, _ := remains(t)
		here.unmount()
		here.mount()
		equal(t, "file", here.read("d/e/.git/config"), "mine\n")
		here.run("rm -r d; ! ls d")
		equal(t, "shared", here.names(), "")
		here.unmount()
		here.mount()
		equal(t, "root", here.run("ls -A"), "")
	})
	t.Run("a new file brings it back", func(t *testing.T) {
		here, far := remains(t)
		here.write("d/e/new", "new\n")
		here.flush()
		exchange(t, here, far)
		equal(t, "far", far.text("d/e/new"), "new\n")
		eventually(t, "both are shown", func() bool { return here.run("ls -A d/e") == ".git\nnew\n" })
	})
	t.Run("a new directory brings it back", func(t *testing.T) {
		here, far := remains(t)
		here.run("mkdir d/e/n; mkdir d/m; mv d/e/n d/m")
		here.flush()
		exchange(t, here, far)
		if _, err := far.f.Resolve("d/m/n"); err != nil {
			t.Error(err)
		}
		equal(t, "here", here.run("ls -A d/e d/m"), "d/e:\n.git\n\nd/m:\nn\n")
	})
	t.Run("made again elsewhere", func(t *testing.T) {
		here, far := remains(t)
		err := far.f.Update(func(tx *crdt.Tx) error {
			d, err := tx.Mkdir(crdt.Root, "d", 0o755)
			if err == nil {
				_, err = tx.Mkdir(d, "e", 0o755)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, here, far)
		eventually(t, "one directory of each name", func() bool { return here.run("find . | sort") == ".\n./d\n./d/e\n./d/e/.git\n./d/e/.git/config\n" })
		eventually(t, "nothing remains", func() bool {
			here.s.fs.mu.RLock()
			defer here.s.fs.mu.RUnlock()
			return len(here.s.fs.over) == 0
		})
	})
	t.Run("a file of its name elsewhere", func(t *testing.T) {
		here, far := remains(t)
		err := far.f.Update(func(tx *crdt.Tx) error {
			_, _, err := tx.Create(crdt.Root, "d", 0o644, crdt.NewContent{Text: "file\n"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, here, far)
		eventually(t, "both are shown", func() bool { return here.run("ls -A") == "d\nd (here)\n" })
		equal(t, "file", here.read("d"), "file\n")
		equal(t, "kept", here.read("d (here)/e/.git/config"), "mine\n")
	})
}
