package fs

import (
	"os"
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
