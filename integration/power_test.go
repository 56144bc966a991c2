package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// disk is a filesystem that loses what was not synced.
type disk struct {
	t   *testing.T
	dir string
	fs  *rig.Talk
}

func newDisk(t *testing.T, capacity int64) *disk {
	t.Helper()
	d := &disk{t: t, dir: rig.Scratch(t, "disk")}
	d.fs = rig.StartTalk(t, rig.StartRole("lossyfs", d.dir, fmt.Sprint(capacity)))
	t.Cleanup(func() { rig.Detach(d.dir) })
	if _, err := d.fs.Hear(); err != nil {
		t.Fatal("lossyfs does not mount: ", err)
	}
	return d
}

// do sends a command to the disk: "lose SEED", "lie".
func (d *disk) do(format string, a ...any) {
	d.t.Helper()
	if _, err := d.fs.Ask(fmt.Sprintf(format, a...)); err != nil {
		d.t.Fatal("lossyfs: ", err)
	}
}

// crash stops the device's machine: all its processes end, and its disk keeps what it kept.
func (d *disk) crash(dev *rig.Device, seed int64) {
	d.t.Helper()
	dev.KillAll()
	rig.Detach(dev.Point)
	d.do("lose %d", seed)
}

// TestPowerLoss: the machine stops while a program writes and syncs. What was synced is
// there, the device comes up, and it has not told another device what it no longer knows.
func TestPowerLoss(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		rig.Skip(t, "no /dev/fuse")
	}
	seed := rig.Seed(t)
	disk := newDisk(t, 0)
	a, b := rig.NewDevice(t, "a", nil), rig.NewDevice(t, "b", nil)
	a.Home = filepath.Join(disk.dir, "home")
	a.Init()
	b.Join(a.Invite())
	rounds := 8
	if rig.Small() {
		rounds = 3
	}
	var told []string
	for r := range rounds {
		w := startLoad(t, a, fmt.Sprintf("w%d", r), true)
		w.more(40)
		if r == 0 {
			disk.crash(a, 0)
		} else {
			disk.crash(a, seed*100+int64(r))
		}
		told = append(told, w.stop()...)
		a.Sheaf("up")
		if err := kept(a, told); err != nil {
			t.Fatalf("round %d: %v", r, err)
		}
	}
	sameTrees(t, a, b)
	if err := kept(b, told); err != nil {
		t.Fatal(err)
	}
}

// TestLostTail: a device's disk lied about what it had synced. It told another device of
// entries that it has lost itself; both go on, and nothing is lost on either.
func TestLostTail(t *testing.T) {
	net := rig.NewNet(t)
	disk := newDisk(t, 0)
	a, b := rig.NewDevice(t, "a", net.Namespace()), rig.NewDevice(t, "b", net.Namespace())
	a.Home = filepath.Join(disk.dir, "home")
	a.Init()
	b.Join(a.Invite())
	lines := []string{"kept"}
	a.Write("f.txt", "kept\n")
	rig.Sees(t, "f.txt", "kept\n", b)
	a.Shell(`sync f.txt`)
	for r := range 3 {
		disk.do("lie")
		line := fmt.Sprintf("lost by a, round %d", r)
		lines = append(lines, line)
		a.ShellIn(line+"\n", `cat >> f.txt`)
		rig.Until(t, "b has the line", func() error {
			got, err := b.Read("f.txt")
			if err != nil {
				return err
			}
			return everyLine(got, lines...)
		})
		b.Cut()
		disk.crash(a, 0) // all of the tail: a part of it would be damage, and refused
		a.Sheaf("up")
		// Both go on before they meet.
		mine, theirs := fmt.Sprintf("a goes on, round %d", r), fmt.Sprintf("b goes on, round %d", r)
		lines = append(lines, mine, theirs)
		a.ShellIn(mine+"\n", `cat >> f.txt; sync f.txt`)
		b.ShellIn(theirs+"\n", `cat >> f.txt`)
		b.Mend()
		for _, d := range []*rig.Device{a, b} {
			rig.Until(t, "every line on "+d.Name, func() error {
				got, err := d.Read("f.txt")
				if err != nil {
					return err
				}
				return everyLine(got, lines...)
			})
		}
		a.Shell(`sync f.txt`)
	}
	sameTrees(t, a, b)
}

// TestRestoredHome: a home is put back from an older copy, with the other device near or
// cut off, and goes on. Nobody's edit is lost.
func TestRestoredHome(t *testing.T) {
	rig.Seed(t)
	a, b := rig.Pair(t, rig.NewNet(t))
	a.Write("f.txt", "first\n")
	rig.Sees(t, "f.txt", "first\n", b)
	lines := []string{"first"}
	add := func(d *rig.Device, line string) {
		t.Helper()
		lines = append(lines, line)
		d.ShellIn(line+"\n", `cat >> f.txt`)
	}
	all := func(what string, ds ...*rig.Device) {
		t.Helper()
		for _, d := range ds {
			rig.Until(t, what+": every line on "+d.Name, func() error {
				got, err := d.Read("f.txt")
				if err != nil {
					return err
				}
				return everyLine(got, lines...)
			})
		}
	}
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut=%v", cut), func(t *testing.T) {
			a, b := a.On(t), b.On(t)
			a.Sheaf("down")
			backup := filepath.Join(rig.Scratch(t, "backup"), "home")
			rig.CopyTree(t, a.Home, backup)
			a.Sheaf("up")
			for i := range 3 {
				add(a, fmt.Sprintf("a after the copy, cut=%v, %d", cut, i))
			}
			a.Write(fmt.Sprintf("new-%v.txt", cut), "made after the copy\n")
			all("before", b)
			rig.Sees(t, fmt.Sprintf("new-%v.txt", cut), "made after the copy\n", b)
			a.Sheaf("down")
			if err := os.RemoveAll(a.Home); err != nil {
				t.Fatal(err)
			}
			rig.CopyTree(t, backup, a.Home)
			if cut {
				b.Cut()
			}
			a.Sheaf("up")
			add(a, fmt.Sprintf("a restored, cut=%v", cut))
			add(b, fmt.Sprintf("b meanwhile, cut=%v", cut))
			if cut {
				b.Mend()
			}
			all("after", a, b)
			rig.Sees(t, fmt.Sprintf("new-%v.txt", cut), "made after the copy\n", a)
			add(b, fmt.Sprintf("b later, cut=%v", cut))
			add(a, fmt.Sprintf("a later, cut=%v", cut))
			all("later", a, b)
			sameTrees(t, a, b)
		})
	}
}
