package fs

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// What stat shows is the same after a restart, and git's index stays as it is.
func TestTimesAfterRestart(t *testing.T) {
	d := mounted(t)
	d.run(`mkdir dir box; for i in 1 2 3 4 5; do echo $i > $i; done; echo x > dir/x; head -c 9000 /dev/urandom > bin; ln -s 1 link`)
	d.flush()
	d.run(`chmod 600 1; mv 2 two; touch -d 2020-01-01 3; echo saved > 4; echo new > tmp; mv tmp 5; touch -d 2021-01-01 dir; touch -d 2040-01-01 ahead; mv dir/x box`)
	stat := func() string { return d.run(`find . -printf '%p %i %s %m %T@ %C@\n' | sort`) }
	first := stat()
	for range 2 {
		d.unmount()
		d.mount()
		equal(t, "after a restart", stat(), first)
	}
	// Even where nobody looked in between.
	d.unmount()
	d.mount()
	d.unmount()
	d.mount()
	equal(t, "after two restarts", stat(), first)
}

// What changed while nothing was mounted shows other times than before.
func TestTimesOfWhatChanged(t *testing.T) {
	d := mounted(t)
	d.run(`mkdir dir; echo 1 > f; echo 2 > dir/g`)
	d.flush()
	mtime := func(rel string) time.Time {
		fi, err := os.Stat(d.path(rel))
		if err != nil {
			t.Fatal(err)
		}
		return fi.ModTime()
	}
	f, dir := mtime("f"), mtime("dir")
	changed, err := d.f.Resolve("f")
	if err != nil {
		t.Fatal(err)
	}
	removed, err := d.f.Resolve("dir/g")
	if err != nil {
		t.Fatal(err)
	}
	d.unmount()
	err = d.f.Update(func(tx *crdt.Tx) error {
		if _, err := tx.Write(changed.Node, changed.Version, crdt.NewContent{Text: "other\n"}); err != nil {
			return err
		}
		return tx.Remove(removed.Node)
	})
	if err != nil {
		t.Fatal(err)
	}
	d.mount()
	if now := mtime("f"); !now.After(f) {
		t.Errorf("a file that changed has the time %v, and had %v", now, f)
	}
	if now := mtime("dir"); now.Equal(dir) {
		t.Errorf("a directory that lost a name still has the time %v", now)
	}
}

// Files whose times were kept and that nothing else happened to take no more memory than others
// (TestViewsAreLetGo), and show what happens to them.
func TestRecalledTimes(t *testing.T) {
	d := mounted(t)
	d.run(`mkdir dir; ln -s f link; for i in f written dated moved; do echo $i > $i; done; sleep 0.01; chmod 600 f written dated moved; mv moved was; mv was moved`)
	d.flush()
	d.unmount()
	d.mount()
	nodes := map[string]crdt.Info{}
	for _, name := range []string{"f", "written", "dated", "moved", "dir", "link"} {
		info, err := d.f.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		nodes[name] = info
	}
	stat := func(name string) string { return d.run("stat -c '%.Y %.Z' " + name) }
	was := map[string]string{}
	for name, info := range nodes {
		was[name] = stat(name)
		in := d.s.fs.node(info.Node)
		in.lock.Lock()
		if in.view != nil || !in.recalled {
			t.Errorf("%s: recalled: %v, with a view of its own: %v", name, in.recalled, in.view != nil)
		}
		in.lock.Unlock()
	}
	day := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	err := d.f.Update(func(tx *crdt.Tx) error {
		if _, err := tx.Write(nodes["written"].Node, nodes["written"].Version, crdt.NewContent{Text: "other\n"}); err != nil {
			return err
		}
		if err := tx.Move(nodes["moved"].Node, crdt.Root, "there"); err != nil {
			return err
		}
		return tx.SetMtime(nodes["dated"].Node, day)
	})
	if err != nil {
		t.Fatal(err)
	}
	mtime := func(name string) time.Time {
		fi, err := os.Stat(d.path(name))
		if err != nil {
			return time.Time{}
		}
		return fi.ModTime()
	}
	eventually(t, "a time that was set elsewhere is shown", func() bool { return mtime("dated").Equal(day) })
	eventually(t, "what was moved elsewhere has its time", func() bool { return mtime("there").Equal(timeOfStat(t, was["moved"])) })
	eventually(t, "what was written elsewhere has a newer time", func() bool { return mtime("written").After(timeOfStat(t, was["written"])) })
	for _, name := range []string{"f", "dir", "link"} {
		equal(t, name, stat(name), was[name])
	}
	d.run("chmod 644 f dir")
	for _, name := range []string{"f", "dir"} {
		now := stat(name)
		if !timeOfStat(t, now).Equal(timeOfStat(t, was[name])) || now == was[name] {
			t.Errorf("%s has the times %s after chmod, and had %s", name, now, was[name])
		}
	}
}

// timeOfStat is the first time, in seconds since 1970, of what stat said.
func timeOfStat(t *testing.T, s string) time.Time {
	t.Helper()
	var sec, nsec int64
	if _, err := fmt.Sscanf(s, "%d.%09d", &sec, &nsec); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return time.Unix(sec, nsec)
}

// TestTimesOfARemoteMode: a mode from elsewhere moves the time of the last change, and the one
// of access with it, which nobody's reading moves here, but not that of the content.
func TestTimesOfARemoteMode(t *testing.T) {
	t.Run("of a text that came", func(t *testing.T) { timesOfARemoteMode(t, false) })
	t.Run("of a text that was saved here", func(t *testing.T) { timesOfARemoteMode(t, true) })
}

func timesOfARemoteMode(t *testing.T, saved bool) {
	here, far := pair(t)
	here.write("f", poem)
	here.flush()
	exchange(t, here, far)
	if !saved {
		here.arrives(far, prepend("far\n"))
		eventually(t, "the text is here", func() bool { return here.read("f") == "far\n"+poem })
	}
	info, err := far.f.Resolve("f")
	if err != nil {
		t.Fatal(err)
	}
	stat := func() (st syscall.Stat_t) {
		t.Helper()
		if err := syscall.Stat(here.path("f"), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	was := stat()
	if err := far.f.Update(func(tx *crdt.Tx) error { return tx.SetMode(info.Node, 0o750) }); err != nil {
		t.Fatal(err)
	}
	far.send(here)
	eventually(t, "the mode is here, and its time", func() bool {
		st := stat()
		return st.Mode&0o777 == 0o750 && st.Ctim.Nano() > was.Ctim.Nano()
	})
	now := stat()
	if now.Mtim != was.Mtim {
		t.Errorf("the content's time was %v, is %v", was.Mtim, now.Mtim)
	}
	if now.Atim != now.Ctim {
		t.Errorf("changed at %v, accessed at %v", now.Ctim, now.Atim)
	}
}
